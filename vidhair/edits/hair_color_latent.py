"""Another color of the hair, drawn by the generator: one change of the codes for all frames, scaled
over time."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.cache import fingerprint
from vidhair.edits.edit import GradedEdit, Strength
from vidhair.edits.recolor import Probe, solve_hair_color
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.named_colors import HAIR_COLORS, is_picture, parse_color
from vidhair.media import read_image
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.pack import Pack
from vidhair.models.parsers.head_parser import Parser
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.labels import mean_hair_color
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, on_canvas
from vidhair.stages.render import Canvas, Codes, Drawer, canvas_coverage, input_transforms
from vidhair.stages.residual import HairChange
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Fact, Makers, Series, Value, makers, stage

PROBE_FRAMES = 4


@dataclass(frozen=True)
class TargetColor(Value):
    """rgb: sRGB [3] in 0 … 1."""

    rgb: NDArray[np.float64]


@dataclass(frozen=True)
class CodeChange(Value):
    """styles: [D] or [L, D], which takes the hair by `strength` of the way to its color.
    lab: [3] float32, the whole way of the hair's mean."""

    styles: NDArray[np.float32]
    strength: float
    lab: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HairColorLatent(GradedEdit):
    """Hair that a former edit colored is taken to the new color from there."""

    kind = "hair_color_latent"
    covers_face = False
    color: str = setting(
        "auburn", f"a hex code (#8a4b2d), a picture of hair, or a name: {', '.join(HAIR_COLORS)}"
    )
    strength: float | Curve = setting(
        1.0, "share of the way to that color, or a curve of it over time", low=-1.0, high=2.0
    )

    @property
    def keeps_hair(self) -> bool:
        return True

    def identity(self) -> dict[str, Any]:
        """The color itself, so that its name or file does not matter."""
        if is_picture(self.color):
            color: Any = fingerprint(read_image(self.color))
        else:
            color = list(parse_color(self.color))
        return super().identity() | {"color": color}

    def check(self, pack: Pack, place: str) -> None:
        if not is_picture(self.color):
            parse_color(self.color, f"{place}.color")

    def makers(self) -> Makers:
        return makers(
            self.target_color,
            self.code_change,
            self.hair_change,
            strength=self.over_time,
            edited_codes=self.recolored,
        )

    @stage()
    def target_color(self, parser: Parser) -> TargetColor:
        """Raises NoFaceFound for a picture that shows no hair."""
        color = self.color
        found = mean_hair_color(color, parser) if is_picture(color) else parse_color(color)
        return TargetColor(np.array(found))

    @stage(version=5)
    def code_change(
        self,
        codes: Series[Codes],
        former_change: Series[HairChange],
        pivots: Series[Pivots],
        track: Series[FaceTrack],
        matte: Series[Matte],
        target_color: TargetColor,
        strength: Series[Strength],
        canvas: Canvas,
        hair_window: HairWindow,
        drawer: Drawer,
        space: AttributeSpace | None,
        probe: Annotated[str, Fact("precision.probe")],
    ) -> CodeChange:
        """The change of the codes, the same for all frames, that takes the hair's mean to the color
        as far as it ever gets. Measured on PROBE_FRAMES frames with much hair.
        """
        area, mean_lab = matte.field("area") * track.field("present"), matte.field("mean_lab")
        largest = float(max(strength.field("values"), key=abs))
        if area.sum() == 0:
            none = np.zeros(codes.rows(0, 1).styles.shape[-1], np.float32)
            return CodeChange(none, largest, np.zeros(3, np.float32))
        mean = (mean_lab * area[:, None]).sum(0) / area.sum()
        rgb = torch.from_numpy(target_color.rgb).float()[None, :, None, None]
        way = rgb_to_lab(rgb).flatten() - torch.from_numpy(mean).float()

        order = np.flatnonzero(area > np.median(area[area > 0]) / 2)
        chosen = order[np.linspace(0, len(order) - 1, min(PROBE_FRAMES, len(order))).astype(int)]
        box = canvas.nominal  # a mean needs no hair beyond it, which is about a third of the canvas
        alphas, styles, transforms = [], [], []
        for frame in (int(f) for f in chosen):
            alpha = torch.from_numpy(matte.rows(frame, frame + 1).alpha)[:, None].float() / 255
            alphas.append(on_canvas(alpha, hair_window, box))
            colored = former_change.rows(frame, frame + 1).styles
            styles.append(codes.rows(frame, frame + 1).styles - colored)
            transforms.append(input_transforms(pivots.rows(frame, frame + 1).similarity))
        device = next(drawer.synthesis.parameters()).device
        places = torch.cat(transforms).to(device)
        hair = torch.cat(alphas).to(device) * canvas_coverage(drawer.synthesis, places, box)
        shown = Probe(
            drawer.synthesis,
            torch.from_numpy(np.concatenate(styles)).to(device),
            places,
            hair,
            box,
            getattr(torch, probe),
        )
        change = solve_hair_color(shown, space, (way * largest).to(device))
        return CodeChange(change.numpy(), largest, way.numpy())

    @stage(keep=False)
    def hair_change(
        self, former_change: HairChange, code_change: CodeChange, strength: Strength
    ) -> HairChange:
        degree = strength.values[:, None]
        lab = former_change.lab + degree * (code_change.lab - former_change.lab)
        return HairChange(lab, former_change.styles + _step(former_change, code_change, strength))

    @stage(keep=False)
    def recolored(
        self,
        codes: Codes,
        track: FaceTrack,
        former_change: HairChange,
        code_change: CodeChange,
        strength: Strength,
    ) -> Codes:
        styles, seen = codes.styles.copy(), track.present
        step = _step(former_change, code_change, strength)
        styles[seen] += step[seen]
        return Codes(styles)


def _step(former: HairChange, change: CodeChange, strength: Strength) -> NDArray[np.float32]:
    """From the codes as former edits colored them, [T, 1 or L, D] float32."""
    degree = strength.values[:, None, None]
    share = degree / np.float32(change.strength or 1)
    step: NDArray[np.float32] = share * change.styles - degree * former.styles
    return step
