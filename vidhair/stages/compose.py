"""How edits enter the full frame (`ComposeConfig`), and all of them put over the source.

See `residual`, `replaced`, `difference` and `regrown` for what each mode does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.settings import setting
from vidhair.stages.layers import Layer, fold, joined
from vidhair.stages.render import Picture
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Every, Value, stage


@dataclass(frozen=True, kw_only=True)
class ComposeConfig:
    mode: str = setting(
        "residual",
        "how the edit enters the frame; auto: difference where it moves the face alone, else "
        "replace",
        choices=("residual", "replace", "difference", "auto"),
    )
    region: str = setting("hair", "what `replace` may change", choices=("hair", "face", "head"))
    blur: float = setting(
        0.03, "smoothing of the difference (residual), in crop sides", low=0.0, high=0.5
    )
    evenness: float = setting(
        0.8, "how even the difference is made over the hair (residual); 0 as it is drawn",
        low=0.0, high=1.0,
    )  # fmt: skip
    exact: bool = setting(
        True, "let the hair's mean reach the color asked for, also where the drawing falls short"
    )
    shadows: float = setting(
        0.5, "share of the change that hair in the deepest shadow receives", low=0.0, high=1.0
    )
    blend: str = setting(
        "none",
        "where the drawing follows the edit (replace, of hair): smoothed, under the hair, old and "
        "new, of five frames; frame, of each frame alone; none, everywhere",
        choices=("smoothed", "frame", "none"),
    )
    keep: bool = setting(
        True, "let hair be the person's own, where it stays and where it comes (replace, of hair)"
    )
    feather: float = setting(
        0.03, "softness of the border (replace), in crop sides", low=0.0, high=0.3
    )
    fade_seconds: float = setting(
        0.3,
        "time in which the edit fades where a face comes, goes or turns away within a shot",
        low=0.0,
        high=5.0,
    )


@stage(keep=False)
def unedited(rendered: Picture) -> Picture:
    return rendered


@stage(keep=False)
def composed(frames: Frames, layer: Every[Layer], at_once: AtOnce) -> Frames:
    """All persons' edits over the source: in every frame the larger face lies in front."""
    layers = list(layer)

    def over(item: tuple[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        row, frame = item
        here = sorted(layers, key=lambda one: one.nearness[row])
        patches = [one.patches[row] for one in here]
        return fold(frame, [patch for patch in patches if patch is not None])

    return Frames.of_pixels(np.stack(list(at_once(over, enumerate(frames)))))


@stage(keep=False)
def shown(frames: Frames, layer: Layer) -> Frames:
    """One person's edit over the source."""
    return layer.over(frames)


@stage(keep=False)
def laid_over(frames: Frames, lower: Layer, upper: Layer) -> Layer:
    """Two edits of a person as one, the upper of which was made over what the lower one left."""
    pairs = zip(frames, lower.patches, upper.patches, strict=True)
    return Layer([joined(*three) for three in pairs], upper.nearness)


@dataclass(frozen=True)
class Changes(Value):
    """What composing has changed. levels: uint8 [T, H, W, 3], composed − source modulo 256, which
    is mostly zeros."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]

    def over(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The composed frames in place of the source's, uint8 [T, H, W, 3], which are changed."""
        return np.add(pixels, self.levels, out=pixels)


@stage(chunk=0, compress=True)
def changes(frames: Frames, composed: Frames) -> Changes:
    """What is kept of composing: of whole frames it would be three to twelve times as much."""
    return Changes(composed.pixels - frames.pixels)
