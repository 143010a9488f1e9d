"""A pack without files, for what is decided before any network runs."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from tests import small
from tests.models.tiny import TINY_STYLEGANEX
from vidhair.cache import fingerprint
from vidhair.edits.bald import NO_HAIR
from vidhair.edits.recolor import HAIR_COLOR
from vidhair.edits.wide import WideEdit
from vidhair.flow.graph import Flow
from vidhair.flow.node import Node
from vidhair.models.encoders.attributes import pack_attributes
from vidhair.recipe import load_recipe
from vidhair.stages.people import Person

PARTS = ("encoder", "parser", "generator", "attributes", "world")


def a_pack(**changed: str) -> Any:
    """A pack of which only the fingerprints are known."""
    parts = dict.fromkeys(PARTS)
    names = ["yaw", "smile", *HAIR_COLOR, *NO_HAIR]
    files: Any = SimpleNamespace(
        parts={name: SimpleNamespace(config={"names": names}) for name in parts},
        tensors=lambda part: dict.fromkeys(
            ("directions", "readout"), torch.zeros(len(names), 2)
        ) | dict.fromkeys(("offset", "low", "high"), torch.zeros(len(names))),
    )  # fmt: skip
    pack = SimpleNamespace(
        files=files,
        holder=lambda part: files,
        attributes=pack_attributes(files),
        fingerprint=lambda part: fingerprint(changed.get(part, part)),
        name="made up",
        device="cpu",
        inverter_parts=("encoder",),
        has=lambda part: part in parts,
        parser=SimpleNamespace(face_pixels=256, stride=16),
        generator=SimpleNamespace(config=SimpleNamespace(resolution=32)),
    )
    pack.lent = lambda lender: pack
    return pack


def nodes_of(flow: Flow, *people: Person) -> list[Node]:
    """All nodes, as if these people had been found, or one."""
    flow.units = people or [Person(1, np.array([0]))]
    work: Any = None
    return flow.nodes() + flow.fanned_nodes(work)


def pack_for(name: str) -> Any:
    """A pack with the network that a recipe asks for."""
    pack, (edit, *_) = a_pack(), load_recipe(name, small.needed(name)).edits
    if isinstance(edit, WideEdit):
        _, shape = small.WIDE[edit.task]
        config = asdict(TINY_STYLEGANEX) | {"task": edit.task, **shape}
        network = SimpleNamespace(config=config)
        parser = SimpleNamespace(kind="celebamask_parser", config={})
        pack.files.parts |= {"styleganex": network, "editing_vector": network, "parser": parser}
    return pack
