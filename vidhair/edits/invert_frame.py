"""Whole frames inverted into StyleGANEX's feature and codes, and drawn again with others.

Keyframes of each place are optimised; between them, what optimising has changed is interpolated
and added to what the encoder finds of each frame. N keyframes, L codes, D width of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import read_directions
from vidhair.edits.labels_to_face import sample
from vidhair.edits.latent_file import chosen_layers, layers_setting
from vidhair.edits.wide import Drawing, Styles, WideEdit, for_tiles, working
from vidhair.errors import InvalidSetting
from vidhair.models.generators.stylegan2 import mix_codes
from vidhair.models.pack import Pack, load_pack
from vidhair.models.perceptual import Perceptual
from vidhair.models.styleganex.invert import Inversion, optimised
from vidhair.models.styleganex.network import LAYOUT_CODES, Layout, StyleGANEX, StyleGANEXConfig
from vidhair.models.styleganex.tiles import draw
from vidhair.settings import setting
from vidhair.stages.align import Shots
from vidhair.stages.render import RenderConfig
from vidhair.stages.wide import Places
from vidhair.types import Clip, Frames
from vidhair.wiring import Meter, Series, Span, Value, makers, stage

MOST_KEYS = 64  # whose features are held at once


@dataclass(frozen=True)
class Keyframes(Value):
    """What optimising has changed of what the encoder finds. place, frame: [N]. codes: [N, L, D].

    features: float16, those of all keyframes one after the other; that of keyframe n has `shape`
    [N, 3] and begins at `start` [N].
    """

    place: NDArray[np.int64]
    frame: NDArray[np.int64]
    codes: NDArray[np.float32]
    features: NDArray[np.float16]
    shape: NDArray[np.int64]
    start: NDArray[np.int64]

    def feature(self, key: int) -> Tensor:
        """[1, C, h, w]."""
        sides = self.shape[key].tolist()
        begin = int(self.start[key])
        values = self.features[begin : begin + int(np.prod(sides))].astype(np.float32)
        return torch.from_numpy(values).reshape(1, *sides)

    def around(self, place: int, frame: int) -> list[tuple[int, float]]:
        """(keyframe, weight) of those that a frame of a place lies between."""
        own = np.flatnonzero(self.place == place)
        after = int(np.searchsorted(self.frame[own], frame))
        if after == 0 or after == len(own):
            return [(int(own[min(after, len(own) - 1)]), 1.0)]
        low, high = self.frame[own[after - 1]], self.frame[own[after]]
        share = float(frame - low) / float(high - low)
        return [(int(own[after - 1]), 1 - share), (int(own[after]), share)]


@dataclass(frozen=True, kw_only=True)
class InvertFrame(WideEdit):
    kind = "invert_frame"
    task: ClassVar[str] = "inversion"
    steps: int = setting(
        500, "of optimising each keyframe; 0: as the encoder finds it", low=0, high=10000
    )
    every: int = setting(
        0, "frames from keyframe to keyframe; 0: the first of each place alone", low=0, high=10000
    )
    direction: str = setting(
        "", "rows of numbers that are added to the codes: .npy, or a tensor saved by torch"
    )
    row: int = setting(0, "which one, from 0, of a file that holds several", low=0)
    strength: float = setting(1.0, "how far along that direction", low=-100.0, high=100.0)
    layers: int | str = layers_setting()
    mix: int = setting(
        -1,
        "seed of a style that takes the place of the last codes; -1 for none",
        low=-1,
        high=2**31 - 1,
    )
    generator: str = setting(
        "", "another pack with a StyleGANEX network, whose generator draws: of another domain"
    )

    def identity(self) -> dict[str, Any]:
        added = fingerprint(read_directions(Path(self.direction))) if self.direction else ""
        drawn_by = _generator(self.generator).fingerprint("styleganex") if self.generator else ""
        return super().identity() | {"direction": added, "generator": drawn_by}

    def check(self, pack: Pack, place: str) -> None:
        super().check(pack, place)
        network = StyleGANEXConfig(**pack.holder("styleganex").parts["styleganex"].config)
        width = network.w_dim
        chosen_layers(self.layers, network.generator, f"{place}.layers")
        if self.direction:
            rows = read_directions(Path(self.direction))
            if rows.shape[1] != width or self.row >= len(rows):
                raise InvalidSetting(
                    f"{place}.direction = {self.direction!r} holds {len(rows)} rows of "
                    f"{rows.shape[1]} numbers, and {place}.row = {self.row} of {width} numbers is "
                    "needed; give a file for this network"
                )
        if self.generator:
            other = _generator(self.generator).files.part("styleganex").config
            keys = ("resolution", "w_dim", "channel_base", "channel_max")
            if any(other.get(key) != getattr(network, key) for key in keys):
                raise InvalidSetting(
                    f"{place}.generator = {self.generator!r} is of another size than that of pack "
                    f"{pack.name!r}; give one that was trained from the same generator"
                )

    def check_clip(self, clip: Clip, place: str) -> None:
        super().check_clip(clip, place)
        if self.every and self.steps and clip.frame_count // self.every > MOST_KEYS:
            raise InvalidSetting(
                f"{place}.every = {self.every} makes more than {MOST_KEYS} keyframes of the "
                f"{clip.frame_count} frames of {clip.path}; give "
                f"{-(-clip.frame_count // MOST_KEYS)} or more"
            )

    def styling(self) -> dict[str, Any]:
        return makers(self.wide_styles, self.keyframes)

    @stage()
    def keyframes(
        self,
        frames: Series[Frames],
        places: Series[Places],
        shots: Series[Shots],
        wide_styles: Styles,
        network: StyleGANEX,
        perceptual: Perceptual,
        meter: Meter,
    ) -> Keyframes:
        where, begins = places.whole(), shots.whole().begins
        chosen = [
            (place, frame)
            for place in range(len(where.first))
            for frame in self._keys(where, begins, place)
        ]
        device, distance = network.w_avg.device, perceptual.build()
        features: list[NDArray[np.float16]] = []
        codes = np.zeros((len(chosen), *wide_styles.codes.shape[1:]), np.float32)
        shapes = np.zeros((len(chosen), 3), np.int64)
        settled: dict[int, Tensor] = {}
        for key, (place, number) in enumerate(chosen):
            (frame,) = frames.rows(number, number + 1)
            picture = self.picture(frame, where, place).to(device)
            with torch.no_grad():
                found = network.encode_layout(picture).feature
            style = torch.from_numpy(wide_styles.codes[place : place + 1]).to(device)
            begin = Inversion(found, settled.get(place, style))

            def told(step: float, done: int = key) -> None:
                meter(frames.count * (done + step / self.steps) / len(chosen))

            got = optimised(
                network, picture, begin, distance, self.steps, fixed_codes=place in settled,
                progress=told,
            )  # fmt: skip
            # One style for all frames of a place: codes that differ would flicker.
            settled.setdefault(place, got.codes)
            change = (got.feature - found)[0].cpu().numpy()
            features.append(change.astype(np.float16).ravel())
            codes[key], shapes[key] = (got.codes - style)[0].cpu().numpy(), change.shape
        sizes = [len(one) for one in features]
        return Keyframes(
            np.array([place for place, _ in chosen], np.int64),
            np.array([frame for _, frame in chosen], np.int64),
            codes,
            np.concatenate(features),
            shapes,
            np.cumsum([0, *sizes[:-1]]).astype(np.int64),
        )

    def _keys(self, places: Places, begins: NDArray[np.bool_], place: int) -> Sequence[int]:
        first = int(places.first[place])
        if not self.every or not self.steps:
            return [first]
        shown = np.flatnonzero((places.at == place).any(1))
        return range(first, int(shown[-1]) + 1, self.every)

    @stage(keep=False)
    def drawn(
        self,
        frames: Frames,
        places: Places,
        wide_styles: Styles,
        keyframes: Keyframes,
        network: StyleGANEX,
        span: Span,
        config: RenderConfig,
    ) -> Frames:
        device = network.w_avg.device
        drawer = _generator(self.generator, device).styleganex if self.generator else network

        @torch.no_grad()
        def draw_at(frame: NDArray[np.uint8], row: int, place: int) -> Drawing:
            near = keyframes.around(place, span.start + row)
            change = sum(weight * keyframes.feature(key) for key, weight in near)
            codes = wide_styles.codes[place] + sum(w * keyframes.codes[key] for key, w in near)
            ws = self.edited(torch.from_numpy(codes[None]), network).to(device)
            with working(config, device):
                feature = network.encode_layout(self.picture(frame, places, place).to(device))
                layout = Layout(feature.feature + torch.as_tensor(change).to(device))
                made = draw(drawer, layout, ws, memory=for_tiles(config))
            return [made.float().clamp(-1, 1)], None

        return self.made(frames, places, span, network, draw_at)

    def edited(self, ws: Tensor, network: StyleGANEX) -> Tensor:
        """Codes [1, L, D], moved along the direction and mixed with another style."""
        if self.direction:
            direction = read_directions(Path(self.direction))[self.row]
            layers = chosen_layers(self.layers, network.config.generator)
            ws = ws.clone()
            ws[:, layers] += self.strength * direction
        if self.mix >= 0:
            ws = mix_codes(ws, sample(network, self.mix).cpu(), LAYOUT_CODES)
        return ws


@cache
def _generator(pack: str, device: str | torch.device = "cpu") -> Pack:
    return load_pack(pack, device=device)
