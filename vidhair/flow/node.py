"""What the runner knows of a stage: what it depends on and how to compute it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """One stage as it stands in a run.

    name: of this node, which also says of whom its results are where there are several. stage: the
    name in its key; default: the same. version: raised by hand when the meaning of its results
    changes. compute: for a whole-clip node `compute(work) → arrays`, or an iterator of them for
    frames one after the other; else `compute(work, start, stop) → arrays` whose first axis is the
    frames start … stop − 1.
    settings: every setting that changes the results, as plain values.
    needs: names of the nodes whose results it reads. inputs: digests of what else it depends on.
    weights: what of the pack it uses, part → sha.
    source: whether it reads the clip's frames. chunk: frames per piece; 0: as many as may be held.
    rows: of a whole-clip node, the arrays that have a row per frame; they are read by range.
    before, after: frames around a chunk that it reads.
    sink: whether it hands the frames on and leaves nothing, so that it runs on every one.
    resumes: whether it begins with `work.progress`, where a killed run has left some.
    """

    name: str
    version: int
    compute: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    source: bool = False
    whole: bool = False
    chunk: int = 32
    kept: bool = True  # in the cache; else made again where it is needed
    stage: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    steps: int | None = None  # for the progress of a whole-clip node; default: its frames
    rows: tuple[str, ...] = ()
    compress: bool = False  # in the cache
    before: int = 0
    after: int = 0
    sink: bool = False
    resumes: bool = False


@dataclass(frozen=True)
class NodeReport:
    """What happened to a node in a run. frames: how many were computed, of how many."""

    name: str
    computed: int
    total: int
    seconds: float

    @property
    def status(self) -> str:
        if not self.computed:
            return "reused"
        return "computed" if self.computed == self.total else "resumed"


def passes(nodes: list[Node]) -> list[list[Node]]:
    """The nodes in groups that run one after the other: those of the whole clip each by itself,
    those of frames together, so that they share one decoding of the clip.

    A node of the whole clip waits for all frames of what it needs. What needs nothing comes first,
    because it can fail without the clip.
    """
    levels: dict[str, int] = {}  # odd: after a pass over the clip; even: a pass
    for node in nodes:
        least = -1 if node.whole else 0
        above = [levels[name] for name in node.needs if name in levels]
        levels[node.name] = max([least, *(x + ((x % 2 == 0) == node.whole) for x in above)])
    groups: list[list[Node]] = []
    for level in sorted(set(levels.values())):
        here = [node for node in nodes if levels[node.name] == level]
        groups += [[node] for node in here] if level % 2 else [here]
    return groups
