"""The kinds of edit: one class each, with its settings, what it asks of a pack, and its stages."""

from vidhair.edits.attribute import Attribute
from vidhair.edits.bald import Bald
from vidhair.edits.direction import Direction
from vidhair.edits.edit import Edit
from vidhair.edits.hair_color import HairColor
from vidhair.edits.hair_color_latent import HairColorLatent
from vidhair.edits.hair_length import HairLength
from vidhair.edits.hair_reference import HairReference
from vidhair.edits.mix import Mix
from vidhair.edits.reconstruct import Reconstruct
from vidhair.edits.toonify import Toonify

__all__ = [
    "EDITS",
    "Attribute",
    "Bald",
    "Direction",
    "Edit",
    "HairColor",
    "HairColorLatent",
    "HairLength",
    "HairReference",
    "Mix",
    "Reconstruct",
    "Toonify",
]

EDITS: dict[str, type[Edit]] = {
    cls.kind: cls
    for cls in (
        HairColor,
        HairColorLatent,
        HairLength,
        HairReference,
        Bald,
        Attribute,
        Direction,
        Mix,
        Reconstruct,
        Toonify,
    )
}
