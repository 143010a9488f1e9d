"""Thirty clips of people with hair of strands, always the same, to measure mattes and dyes with.

T frames, H × W pixels, V dyes.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vidhair.imaging.named_colors import HAIR_COLORS, parse_color
from vidhair.synthetic import pigment
from vidhair.synthetic.clips import ClipSpec, Color, Motion, perform
from vidhair.synthetic.strand_render import OVERSAMPLE, Pigment, StrandFrame, render_strands
from vidhair.synthetic.strands import BEARD_STYLES, STRAND_STYLES, Strands, grow_strands

WHITE: Color = (1.0, 1.0, 1.0)
# Eumelanin and pheomelanin of undyed hair.
NATURAL = {
    "black": (4.0, 0.0),
    "dark brown": (1.0, 0.1),
    "brown": (0.5, 0.12),
    "light brown": (0.25, 0.1),
    "dark blonde": (0.13, 0.06),
    "blonde": (0.05, 0.045),
}
GROUPS = ("fades", "beards", "occluders", "to_blonde", "long")


@dataclass(frozen=True, kw_only=True)
class StrandClip:
    """What a clip shows. style, beard: keys of STRAND_STYLES and BEARD_STYLES.

    color: the hair's, sRGB, as Pigment has it; grey: share of strands without pigment; dyes: name →
    color of a twin. light: gains of linear red, green, blue at the first and the last frame.
    backdrop: a textured wall instead of a plain one. zoom: size of the person.
    """

    name: str
    group: str
    seed: int
    style: str
    color: Color
    dyes: dict[str, Color]
    beard: str | None = None
    grey: float = 0.0
    occluder: str | None = None
    melanin: float = 0.2
    light: tuple[Color, Color] = (WHITE, WHITE)
    backdrop: bool = True
    zoom: float = 1.0
    frames: int = 10
    fps: int = 15
    size: tuple[int, int] = (448, 448)

    def motion(self) -> Motion:
        spec = ClipSpec(
            name=self.name, seed=self.seed, style="bald", seconds=self.frames / self.fps,
            fps=self.fps, size=self.size, melanin=self.melanin, liveliness=1.2,
        )  # fmt: skip
        motion = perform(spec)
        brow = tuple(0.8 * c for c in self.color)
        faces = motion.faces.replace(brow_colour=brow)
        return replace(motion, faces=faces, scale=motion.scale * self.zoom)


class StrandScene:
    """A clip ready to be rendered, frame by frame."""

    def __init__(self, clip: StrandClip):
        self.clip = clip
        self.motion = clip.motion()
        face, seed = self.motion.faces[0], clip.seed
        self.hair: Strands = grow_strands(face, STRAND_STYLES[clip.style], seed)
        self.beard: Strands | None = None
        if clip.beard is not None:
            self.beard = grow_strands(face, BEARD_STYLES[clip.beard], seed + 1, beard=True)
        width, height = (OVERSAMPLE * s for s in clip.size)
        self.wall = backdrop(clip.seed, width, height) if clip.backdrop else None

    def frame(self, index: int) -> StrandFrame:
        clip = self.clip
        own = Pigment(color=clip.color, grey=clip.grey)
        frame = render_strands(
            self.motion,
            index,
            clip.size,
            hair=self.hair,
            pigments=[own, *(Pigment(color=c) for c in clip.dyes.values())],
            beard=self.beard,
            beard_pigment=replace(own, grey=min(1, 1.3 * clip.grey)),
            fps=clip.fps,
            backdrop=self.wall,
            occluder=clip.occluder,
        )
        return frame.in_light(self.light(index))

    def light(self, index: int) -> NDArray[np.float32]:
        """Gains [3] of the clip's light at a frame."""
        first, last = (np.array(c, np.float32) for c in self.clip.light)
        gains: NDArray[np.float32] = first + (last - first) * index / max(1, self.clip.frames - 1)
        return gains


def backdrop(seed: int, width: int, height: int) -> NDArray[np.float32]:
    """A room out of focus, linear light [H, W, 3]: blotches, boards and frames, some as hair."""
    rng = np.random.default_rng([seed, 77])
    hues = np.array([*HAIR_COLORS.values()])[[1, 2, 3, 7, 8, 11]]

    def color() -> NDArray[np.float64]:
        if rng.random() < 0.35:
            chosen: NDArray[np.float64] = hues[rng.integers(len(hues))]
            return chosen
        return np.clip(rng.uniform(0.1, 0.8) + 0.07 * rng.standard_normal(3), 0.02, 0.95)

    y, x = np.mgrid[:height, :width] / height
    across = (x - y * rng.uniform(-0.5, 0.5))[..., None]
    picture = color() + (color() - color()) * 0.4 * across
    for _ in range(rng.integers(3, 9)):
        left, top = rng.uniform(-0.2, 1.1) * width / height, rng.uniform(-0.2, 0.9)
        wide, high = rng.uniform(0.05, 0.5, 2)
        inside = (x > left) & (x < left + wide) & (y > top) & (y < top + high)
        picture = np.where(inside[..., None], color() * rng.uniform(0.6, 1.2), picture)
    blotches = rng.standard_normal((height // 8 + 2, width // 8 + 2))
    blotches = gaussian_filter(blotches, rng.uniform(0.6, 2.5))
    blotches = np.kron(blotches / blotches.std(), np.ones((8, 8)))[:height, :width]
    picture = picture * (1 + 0.07 * blotches[..., None])
    blur = height / 512 * rng.uniform(2.5, 7)
    soft = gaussian_filter(np.clip(picture, 0.01, 1), (blur, blur, 0), mode="nearest")
    return pigment.linear(soft)


def strand_clips() -> list[StrandClip]:
    """Thirty clips, six of each group."""
    warm, cool, dim = (1.12, 0.98, 0.72), (0.85, 1.0, 1.2), (0.35, 0.33, 0.32)
    lamp = ((1.1, 1.0, 0.85), (0.8, 1.0, 1.15))
    rows: list[tuple[str, str, str, str, dict[str, Any]]] = [
        # group, style, color, dye, and what else is particular
        ("fades", "fade", "black", "platinum", {"melanin": 0.75}),
        ("fades", "fade", "dark brown", "#6b4a2b", {"beard": "stubble"}),
        ("fades", "fade", "light brown", "blue", {"melanin": 0.1, "light": (warm, warm)}),
        ("fades", "buzz", "dark brown", "blonde", {"melanin": 0.4}),
        ("fades", "crop", "brown", "black", {"zoom": 0.7, "grey": 0.35}),
        ("fades", "fade", "dark blonde", "auburn", {"melanin": 0.05, "light": (cool, cool)}),
        ("beards", "swept", "dark brown", "blonde", {"beard": "short"}),
        ("beards", "fade", "black", "auburn", {"beard": "full", "melanin": 0.6}),
        ("beards", "crop", "brown", "platinum", {"beard": "short", "grey": 0.4}),
        ("beards", "parted", "ginger", "black", {"beard": "full", "melanin": 0.0}),
        ("beards", "receding", "dark brown", "#6b4a2b", {"beard": "full", "grey": 0.6}),
        ("beards", "long", "light brown", "blue", {"beard": "short", "light": (warm, warm)}),
        ("occluders", "long", "brown", "blonde", {"occluder": "hand"}),
        ("occluders", "wavy", "dark brown", "auburn", {"occluder": "microphone", "melanin": 0.5}),
        ("occluders", "parted", "ginger", "blue", {"occluder": "glasses", "melanin": 0.05}),
        ("occluders", "swept", "black", "platinum", {"occluder": "headphones"}),
        ("occluders", "bob", "dark blonde", "black", {"occluder": "hat"}),
        ("occluders", "curly", "dark brown", "#6b4a2b", {"occluder": "hand", "melanin": 0.7}),
        ("to_blonde", "long", "black", "blonde", {"melanin": 0.3}),
        ("to_blonde", "bob", "dark brown", "blonde", {"light": (warm, warm)}),
        ("to_blonde", "swept", "black", "blonde", {"melanin": 0.1, "light": (cool, cool)}),
        ("to_blonde", "curly", "dark brown", "blonde", {"melanin": 0.6}),
        ("to_blonde", "wavy", "brown", "blonde", {"light": (WHITE, dim)}),
        ("to_blonde", "parted", "dark brown", "blonde", {"grey": 0.3, "backdrop": False}),
        ("long", "long", "blonde", "black", {"melanin": 0.05}),
        ("long", "wavy", "auburn", "#6b4a2b", {"light": lamp}),
        ("long", "long", "brown", "auburn", {"grey": 0.6, "backdrop": False}),
        ("long", "wavy", "light brown", "platinum", {"zoom": 0.75, "melanin": 0.4}),
        ("long", "long", "dark brown", "blue", {"light": (warm, warm)}),
        ("long", "curly", "ginger", "blonde", {"melanin": 0.1}),
    ]
    clips, counts = [], dict.fromkeys(GROUPS, 0)
    for number, (group, style, color, target, more) in enumerate(rows):
        counts[group] += 1
        own = Pigment.natural(*NATURAL[color]).color if color in NATURAL else HAIR_COLORS[color]
        clips.append(
            StrandClip(
                name=f"{group}_{counts[group]}",
                group=group,
                seed=91_000 + 10 * number,
                style=style,
                color=own,
                dyes={target.strip("#"): parse_color(target)},
                **more,
            )
        )
    return clips
