"""Runs in small chunks, so that a clip of a second has several."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from vidhair.flow.graph import Flow
from vidhair.flow.node import Node
from vidhair.flow.runner import Means


@contextmanager
def in_fives() -> Iterator[None]:
    """Five frames at a time; the tracker alone keeps its chunks, which it depends on."""

    def small(nodes: Callable[..., list[Node]]) -> Callable[..., list[Node]]:
        return lambda *given: [
            node if node.name in ("thumbnails", "faces") else dataclasses.replace(node, chunk=5)
            for node in nodes(*given)
        ]

    with pytest.MonkeyPatch.context() as patch:
        for nodes in (Flow.nodes, Flow.fanned_nodes):
            patch.setattr(Flow, nodes.__name__, small(nodes))
        patch.setattr(Means, "at_once", lambda self, width, height: 5)
        yield
