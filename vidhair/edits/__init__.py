"""The kinds of edit: one class each, with its settings, what it asks of a pack, and its stages."""

from vidhair.edits.attribute import Attribute
from vidhair.edits.bald import Bald
from vidhair.edits.channels import Channels
from vidhair.edits.component import Component
from vidhair.edits.direction import Direction
from vidhair.edits.edit import Edit
from vidhair.edits.hair_attribute import Fringe, HairLength, Volume, Wave
from vidhair.edits.hair_color import HairColor
from vidhair.edits.hair_color_latent import HairColorLatent
from vidhair.edits.hair_proxy import HairMask, HairReferenceLatent
from vidhair.edits.hair_reference import HairReference
from vidhair.edits.hair_sketch import HairSketch
from vidhair.edits.hair_text import HairText
from vidhair.edits.invert_frame import InvertFrame
from vidhair.edits.labels_to_face import MaskToFace, SketchToFace
from vidhair.edits.mapper import Mapper
from vidhair.edits.mix import Mix
from vidhair.edits.reconstruct import Reconstruct
from vidhair.edits.sefa import Sefa
from vidhair.edits.text_direction import TextDirection
from vidhair.edits.toonify import Toonify
from vidhair.edits.wide import FaceAttribute, Restore, ToonifyNetwork

__all__ = [
    "EDITS",
    "Attribute",
    "Bald",
    "Channels",
    "Component",
    "Direction",
    "Edit",
    "FaceAttribute",
    "Fringe",
    "HairColor",
    "HairColorLatent",
    "HairLength",
    "HairMask",
    "HairReference",
    "HairReferenceLatent",
    "HairSketch",
    "HairText",
    "InvertFrame",
    "Mapper",
    "MaskToFace",
    "Mix",
    "Reconstruct",
    "Restore",
    "Sefa",
    "SketchToFace",
    "TextDirection",
    "Toonify",
    "ToonifyNetwork",
    "Volume",
    "Wave",
]

EDITS: dict[str, type[Edit]] = {
    cls.kind: cls
    for cls in (
        HairColor,
        HairColorLatent,
        HairLength,
        Fringe,
        Wave,
        Volume,
        Bald,
        HairReference,
        HairReferenceLatent,
        HairMask,
        HairSketch,
        HairText,
        Attribute,
        Direction,
        Component,
        Sefa,
        Channels,
        TextDirection,
        Mapper,
        Mix,
        Reconstruct,
        Toonify,
        ToonifyNetwork,
        Restore,
        SketchToFace,
        MaskToFace,
        FaceAttribute,
        InvertFrame,
    )
}
