"""Where each feature shows."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from tests.models.tiny import random, tiny_generator
from vidhair.edits.blending import (
    blend,
    blend_proxy,
    blended,
    color_mask,
    enlarged_hair,
)
from vidhair.geometry import Box
from vidhair.models.faces.landmarks import POINTS
from vidhair.models.generators.stylegan3 import Extent, Generator
from vidhair.stages.align import FaceTrack
from vidhair.stages.drawn import HairDrawn
from vidhair.stages.render import (
    Canvas,
    Codes,
    Drawer,
    DrawnChange,
    RenderConfig,
    no_drawn_change,
    rendered,
)
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Span

UNDER, OVER, PROXY = (random(2, 3, 16, 16, seed=k) for k in range(3))


def square(side: int, start: int, stop: int) -> torch.Tensor:
    mask = torch.zeros(2, 1, side, side)
    mask[..., start:stop, start:stop] = 1
    return mask


def test_an_empty_mask_changes_nothing_and_a_full_one_all() -> None:
    assert torch.equal(blend(UNDER, OVER, square(64, 0, 0)), UNDER)
    torch.testing.assert_close(blend(UNDER, OVER, square(64, 0, 64)), OVER)


def test_inside_over_and_outside_under() -> None:
    out = blend(UNDER, OVER, square(64, 20, 44))
    torch.testing.assert_close(out[..., 7:9, 7:9], OVER[..., 7:9, 7:9])
    assert torch.equal(out[..., :3, :], UNDER[..., :3, :])


def test_a_mask_of_labels_may_be_whole_numbers() -> None:
    mask = square(32, 8, 20)
    assert torch.equal(blend(UNDER, OVER, mask.long()), blend(UNDER, OVER, mask))


def test_the_proxy_lies_on_top_of_the_bald_head() -> None:
    hair, proxy_hair = square(512, 200, 312), square(512, 240, 290)
    out = blend_proxy(UNDER, OVER, PROXY, hair, proxy_hair)
    torch.testing.assert_close(out[..., 8, 8], PROXY[..., 8, 8])
    torch.testing.assert_close(out[..., 6, 6], OVER[..., 6, 6])
    assert torch.equal(out[..., 0, 0], UNDER[..., 0, 0])


def test_a_color_mask_covers_the_hair_at_the_wanted_size() -> None:
    hair = square(64, 24, 40)
    mask = color_mask(hair, 128)
    assert mask.shape == (2, 1, 128, 128)
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask[..., 48:80, 48:80].all() and mask.sum() > 4 * hair.sum()


# ---- in a clip

CANVAS = Canvas(64, Extent(8, 4, 0, 16), 0.0, 0.0, 1.0)


def test_hair_is_enlarged_where_it_was_and_not_where_it_comes() -> None:
    levels = np.zeros((1, 3, CANVAS.height, CANVAS.width), np.uint8)
    levels[0, 0, 20:40, 10:20] = levels[0, 1, 20:40, 40:60] = 255
    mask = enlarged_hair(levels, CANVAS, cutoff=64)[0, 0]
    row = mask[30]
    assert row[10:20].min() > 0.99 and row[42:58].min() > 0.99
    assert row[9] > 0.9 and row[38] < 0.05
    softer = enlarged_hair(levels, CANVAS, cutoff=4)[0, 0, 30]
    assert 0.05 < softer[36] < 0.95 and softer.diff().abs().max() < 0.2


def colorful(generator: Generator) -> Generator:
    """That draws more than shades of grey."""
    generator.synthesis.layers[-1].weight.mul_(20)
    return generator


class TestBlended:
    """With a small generator, whose halves are blended at 20 samples per side."""

    GENERATOR = colorful(tiny_generator(64))
    BOX = Canvas(64, Extent(4, 0, 4, 8), 0.0, 0.0, 1.0)
    COUNT = 4
    PRESENT = np.array([1, 1, 0, 1], bool)

    def parts(self) -> dict[str, Any]:
        n, config = self.COUNT, self.GENERATOR.config
        nowhere = np.full((n, POINTS, 2), np.nan, np.float32)
        none = np.zeros((n, 0, 5), np.float32)
        track = FaceTrack(
            nowhere, self.PRESENT, self.PRESENT, np.arange(n) == 0, Box(0.0, 0.0, 64.0), none
        )
        poses = np.stack([[5.0 * k, 0.02 * k, 0.0, 0.9] for k in range(n)])
        styles = random(n, config.num_ws, config.w_dim).numpy()
        return {
            "pivots": Pivots(styles, poses),
            "track": track,
            "span": Span(0, n),
            "canvas": self.BOX,
            "drawer": Drawer(self.GENERATOR.synthesis),
            "config": RenderConfig(precision="float32"),
        }

    def codes(self, seed: int) -> Codes:
        config = self.GENERATOR.config
        shape = self.COUNT, config.num_ws, config.w_dim
        changed = random(*shape).numpy()
        half = self.GENERATOR.synthesis.halfway_codes
        if seed:
            changed[:, 2:half] += 3 * random(*shape, seed=seed).numpy()[:, 2:half]
        return Codes(changed)

    def drawn(self, levels: Any, change: DrawnChange | None = None) -> Any:
        clip: Any = SimpleNamespace(frame_count=self.COUNT)
        shape = self.COUNT, 3, self.BOX.height, self.BOX.width
        return blended(
            self.codes(0), self.codes(3), change or no_drawn_change(clip),
            HairDrawn(np.broadcast_to(levels, shape).copy(), np.zeros((self.COUNT, 3), np.float32)),
            how="smoothed", **self.parts(),
        ).levels  # fmt: skip

    def plain(self, seed: int) -> Any:
        parts = self.parts()
        del parts["span"]
        return rendered(self.codes(seed), **parts).levels

    def test_without_hair_nothing_follows_the_edit_and_under_it_all_does(self) -> None:
        nowhere = self.drawn(np.uint8(0))
        assert np.array_equal(nowhere, self.plain(0)) and not nowhere[2].any()
        everywhere = self.drawn(np.uint8(255))
        assert np.abs(everywhere.astype(int) - self.plain(3)).max() <= 1, "but for rounding"
        assert np.abs(everywhere.astype(int) - nowhere)[self.PRESENT].mean() > 3

    def test_beside_the_hair_it_stays(self) -> None:
        levels = np.zeros((3, self.BOX.height, self.BOX.width), np.uint8)
        levels[0, :, :20] = 255
        moved = np.abs(self.drawn(levels).astype(int) - self.plain(0))[self.PRESENT].mean((0, 1, 3))
        assert moved[:16].mean() > 3 and moved[-16:].mean() < 0.3 * moved[:16].mean()

    def test_features_are_changed_by_the_edits_strength(self) -> None:
        strength = np.array([0.0, 1.0, 1.0, 0.5], np.float32)
        channels = self.GENERATOR.synthesis.geometries[
            self.GENERATOR.synthesis.halfway_layer
        ].result.channels
        features = random(1, 1, channels, 30, 30).mul(2).numpy()
        change = DrawnChange(strength[:, None], np.zeros((0, 1, 0), np.float32), features)
        got = self.drawn(np.uint8(255), change)
        differs = np.abs(got.astype(int) - self.plain(3)).mean((1, 2, 3))
        assert differs[0] == 0 and differs[1] > differs[3] > 0.5
