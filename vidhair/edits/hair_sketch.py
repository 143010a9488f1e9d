"""Hair along lines that are drawn on one frame, drawn by the generator."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.edits.area import PaintedArea, check_area, check_area_fits
from vidhair.edits.hair_losses import course_loss, gram_matrices
from vidhair.edits.hair_proxy import HairProxy, Keyframes, Proxy
from vidhair.edits.proxies import Aim, Scene
from vidhair.errors import InvalidSetting
from vidhair.imaging.morphology import enlarge_mask
from vidhair.media import read_matte
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.pack import Pack
from vidhair.models.perceptual import FeaturesDistance, Perceptual
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.types import Clip
from vidhair.wiring import Makers, Meter, Series, makers, stage

SPREAD = 30 / 1024  # by which lines grow, then shrink by half of it (HairCLIPv2), of the picture
COURSE = 2.0  # weight of the way in which strands run
MOST_LINES = 0.5  # share of a picture that lines fill at most


@dataclass(frozen=True, kw_only=True)
class HairSketch(HairProxy):
    """There is hair around the lines, and strands run as they do; elsewhere hair stays as it is.

    HairCLIPv2 has a network of its own draw what a sketch shows; this needs none.
    """

    kind: ClassVar[str] = "hair_sketch"
    sketch: str = setting(
        "", "a picture as large as the frame: lines on a transparent one, or white on black"
    )
    sketch_frame: int = setting(0, "the frame that edit.sketch was drawn on, counted from 0", low=0)

    def identity(self) -> dict[str, Any]:
        """The picture itself, so that its name does not matter."""
        return super().identity() | {"sketch": fingerprint(read_matte(self.sketch))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.sketch:
            raise InvalidSetting(
                f"{place}.sketch is not given; name a picture with lines where hair is to run"
            )
        check_area(self.sketch, f"{place}.sketch")
        share = float((read_matte(self.sketch) > 127).mean())
        if share > MOST_LINES:
            raise InvalidSetting(
                f"{place}.sketch = {self.sketch!r} is light on {share:.0%} of it, which is no "
                "sketch of lines; draw white lines on black, or lines on a transparent picture"
            )

    @property
    def painted_over(self) -> bool:
        return True

    def check_clip(self, clip: Clip, place: str) -> None:
        check_area_fits(self.sketch, self.sketch_frame, clip, f"{place}.sketch")

    def makers(self) -> Makers:
        return {**super().makers(), **makers(self.proxy, sketched_lines=self.sketched)}

    @stage(compress=True)
    def sketched(self, track: Series[FaceTrack]) -> PaintedArea:
        """Raises InvalidSetting if the frame that it was drawn on does not show the person."""
        return PaintedArea.on_frame(self.sketch, self.sketch_frame, track, "edit.sketch_frame")

    @stage(steps=lambda edit: edit.all_steps)
    def proxy(
        self,
        sketched_lines: PaintedArea,
        keyframes: Keyframes,
        space: AttributeSpace | None,
        perceptual: Perceptual,
        meter: Meter,
    ) -> Proxy:
        """The change that draws hair along the lines."""

        def aim(index: int, scene: Scene, distance: FeaturesDistance) -> Aim:
            grid = scene.canvas.grid
            on_faces = [sketched_lines.on(axes, grid) for axes in keyframes.axes[index]]
            lines = torch.cat(on_faces).to(scene.codes)
            wanted = torch.maximum(scene.hair, around(lines))

            def sees(pictures: Tensor, rows: Tensor) -> Tensor:
                return COURSE * course_loss(pictures, lines[rows])

            with torch.no_grad():
                textures = gram_matrices(distance.features, scene.pictures, scene.hair)
            start = self.unchanged(scene)
            certain = scene.codes.new_ones(len(wanted))
            return Aim(start, wanted, certain, textures, sees)

        return self.find(keyframes, aim, space, perceptual, meter)


def around(lines: Tensor) -> Tensor:
    """Where hair is, of its lines [B, 1, H, W]: they are joined to an area."""
    return enlarge_mask(lines, max(2, round(SPREAD * lines.shape[-1])))
