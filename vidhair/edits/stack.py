"""Several edits one after the other: each acts on what the former ones left."""

from collections.abc import Callable, Sequence
from typing import Any

from vidhair.edits.edit import Edit
from vidhair.wiring import renamed

# What goes from edit to edit: as an edit takes it, and as it makes it.
HANDED_ON = {
    "codes": "edited_codes",
    "former_change": "hair_change",
    "former_dye": "dye",
    "former_motion": "face_motion",
}


def stacked(edits: Sequence[Edit]) -> dict[str, Callable[..., Any]]:
    """Who makes the values of edits that are applied in order.

    A value that several of them make bears the number of its edit, counted from one, but for the
    last one's, which is the one that others take.
    """
    made = [edit.makers() for edit in edits]
    last = {value: number for number, makers in enumerate(made) for value in makers}
    found: dict[str, Callable[..., Any]] = {}
    handed = {taken: taken for taken in HANDED_ON}
    for number, makers in enumerate(made):
        own = {v: v if last[v] == number else f"{v}_{number + 1}" for v in makers}
        names = handed | own
        found |= {own[value]: renamed(make, names) for value, make in makers.items()}
        handed |= {taken: own[value] for taken, value in HANDED_ON.items() if value in own}
    return found
