"""Several edits one after the other: each acts on what the former ones left."""

from collections.abc import Callable, Sequence
from typing import Any

from vidhair.edits.edit import Edit
from vidhair.stages.compose import laid_over, shown
from vidhair.wiring import makers, renamed

# What goes from edit to edit: as an edit takes it, and as it makes it.
HANDED_ON = {
    "codes": "edited_codes",
    "former_change": "hair_change",
    "former_dye": "dye",
    "former_motion": "face_motion",
    "former_drawn": "drawn_change",
}
# The same of edits that reshape the hair in the frames themselves.
IN_FRAMES = {"frames": "shown", "matte": "shown_matte", "hair_tone": "shown_tone"}
# What hair changes nothing of: it reads the clip, and is made sooner.
OF_CLIP = ("face_light", "hair_look", "photo_look", "clip_light", "usual_hair", "in_front")


def stacked(edits: Sequence[Edit], in_frames: bool = False) -> dict[str, Callable[..., Any]]:
    """Who makes the values of edits that are applied in order.

    A value that several of them make bears the number of its edit, counted from one, but for the
    last one's, which is the one that others take. in_frames: whether they are made without a
    generator. Then what reshapes the hair hands on the frames and the matte that it leaves, and
    the layers of later edits are laid over its own.
    """
    made = [_of_frames(edit) if in_frames else dict(edit.makers()) for edit in edits]
    last = {value: number for number, own_makers in enumerate(made) for value in own_makers}
    found: dict[str, Callable[..., Any]] = {}
    going = HANDED_ON | (IN_FRAMES if in_frames else {})
    handed, lower = {taken: taken for taken in going}, ""
    for number, own_makers in enumerate(made):
        own = {v: v if last[v] == number else f"{v}_{number + 1}" for v in own_makers}
        names = handed | own
        of_clip = {taken: taken for taken in IN_FRAMES}
        found |= {
            own[value]: renamed(make, names | (of_clip if value in OF_CLIP else {}))
            for value, make in own_makers.items()
        }
        if in_frames and "layer" in own_makers:
            alone = own["layer"]
            if lower:
                found[f"upper_{number + 1}"] = found.pop(alone)
                parts = {"lower": lower, "upper": f"upper_{number + 1}"}
                found[alone] = renamed(laid_over, parts)
            lower = alone if "shown" in own_makers else lower
            if lower and "shown" in own_makers and number:
                # Of the frames themselves, as the layer holds all that lies below.
                found[own["shown"]] = renamed(shown, {"layer": alone})
        handed |= {taken: own[value] for taken, value in going.items() if value in own}
    return found


def _of_frames(edit: Edit) -> dict[str, Callable[..., Any]]:
    """What an edit makes, with the frames that it leaves if it reshapes the hair."""
    return {**edit.makers(), **(makers(shown) if edit.reshapes else {})}
