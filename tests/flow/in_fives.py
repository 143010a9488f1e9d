"""Runs in small chunks, so that a clip of a second has several."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vidhair.flow.graph import Flow
from vidhair.flow.runner import Means


@contextmanager
def in_fives() -> Iterator[None]:
    """Five frames at a time; the tracker alone keeps its chunks, which it depends on."""
    nodes = Flow.nodes

    def small(self):
        return [
            node if node.name in ("thumbnails", "faces") else dataclasses.replace(node, chunk=5)
            for node in nodes(self)
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flow, "nodes", small)
        patch.setattr(Means, "at_once", lambda self, width, height: 5)
        yield
