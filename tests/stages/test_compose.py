from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.stages.faces import clip_of, face_track
from tests.stages.series import InMemory
from vidhair.flow.overlap import Workers
from vidhair.geometry import Box, Grid
from vidhair.imaging.blur import CELL_SIDES
from vidhair.imaging.color import delta_e_2000, rgb_to_lab
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan3 import Extent, Generator
from vidhair.stages import compose as stages
from vidhair.stages.compose import (
    ComposeConfig,
    Fade,
    HairChange,
    Layer,
    Patch,
    ReplaceMasks,
    add_residual,
    compose_replace,
    compose_residual,
    fold,
    frame_matte,
    replace_masks,
    shading_share,
    strengths,
    window_of,
)
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.region import on_canvas as brought_to_canvas
from vidhair.stages.render import (
    Canvas,
    Codes,
    Drawer,
    Picture,
    canvas_coverage,
    input_transforms,
    no_drawn_change,
)
from vidhair.stages.smooth import Pivots
from vidhair.types import Frames

HEIGHT, WIDTH = 48, 64
CANVAS = Canvas(16, Extent(4, 2, 6, 5), left=8.0, top=4.0, step=1.5)  # to (47, 38.5)
CROP_SIDE = 24.0  # frame pixels
LEFT, TOP = 12, 8  # corner of the matte's grid
GRID = Grid.of_pixels(24, 28, LEFT, TOP)
INSIDE, BORDER = np.s_[:, 14:26, 18:34], np.s_[:, 12:28, 16:36]


def levels(*rgb: float, size: tuple[int, int] = (HEIGHT, WIDTH), count: int = 2) -> NDArray[Any]:
    return np.full((count, *size, 3), rgb, np.uint8)


def on_canvas(*rgb: float) -> NDArray[Any]:
    return levels(*rgb, size=(CANVAS.height, CANVAS.width))


def noise(seed: int = 0, low: int = 0, high: int = 256) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)


def matte(level: int = 255, border: int = 128) -> NDArray[Any]:
    """uint8 [2, 24, 28] on the grid at (LEFT, TOP): sure hair with a soft border."""
    full = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    full[BORDER], full[INSIDE] = border * level // 255, level
    return full[:, TOP : TOP + 24, LEFT : LEFT + 28]


def residual(
    frames: NDArray[Any],
    recon: NDArray[Any],
    edited: NDArray[Any],
    alpha: NDArray[Any] | None = None,
    grid: Grid = GRID,
    **config: Any,
) -> NDArray[Any]:
    alpha = matte() if alpha is None else alpha
    return over(
        frames,
        compose_residual(
            frames, recon, edited, alpha, grid, CANVAS, CROP_SIDE, ComposeConfig(**config)
        ),
    )


def over(frames: NDArray[Any], patches: list[Patch | None]) -> NDArray[Any]:
    """Frames [T, H, W, 3] with a patch, or none, over each."""
    return np.stack([fold(f, [p] if p else []) for f, p in zip(frames, patches, strict=True)])


def lab(picture: NDArray[Any]) -> torch.Tensor:
    """uint8 [..., 3] → Lab [..., 3]."""
    return rgb_to_lab(torch.from_numpy(picture).double() / 255, dim=-1)


class TestResidual:
    def test_outside_the_matte_every_bit_is_the_source(self) -> None:
        frames = noise()
        got = residual(frames, on_canvas(60, 40, 30), on_canvas(150, 60, 40))
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[BORDER[1:]] = False
        assert np.array_equal(got[:, outside], frames[:, outside])
        assert (got[INSIDE] != frames[INSIDE]).any(-1).mean() > 0.95

    def test_on_a_coarse_grid_only_its_surroundings_are_touched(self) -> None:
        frames = noise()
        alpha = np.zeros((2, 24, 32), np.uint8)
        alpha[:, 8:14, 10:18] = 255  # rows 16 … 28 and columns 20 … 36 of the frame
        got = residual(
            frames,
            on_canvas(60, 40, 30),
            on_canvas(150, 60, 40),
            alpha,
            grid=Grid(0.0, 0.0, 2.0, *alpha.shape[1:]),
        )
        near = np.zeros((HEIGHT, WIDTH), bool)
        near[10:34, 14:42] = True  # a sample reaches three pixels, and so does sharpening
        assert np.array_equal(got[:, ~near], frames[:, ~near])
        assert (got[:, 18:26, 22:34] != frames[:, 18:26, 22:34]).any(-1).mean() > 0.9

    def test_an_edit_that_changes_nothing_gives_the_source_back(self) -> None:
        frames, recon = noise(), on_canvas(60, 40, 30)
        recon[:, ::2] += 40
        assert np.array_equal(residual(frames, recon, recon.copy()), frames)

    def test_every_color_survives_an_edit_that_changes_nothing(self) -> None:
        grid = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3), -1).reshape(-1, 3)
        grid = np.resize(grid, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
        same = on_canvas(90, 90, 90)
        everywhere = np.full((2, HEIGHT, WIDTH), 255, np.uint8)
        assert np.array_equal(
            residual(grid, same, same, everywhere, Grid.of_pixels(HEIGHT, WIDTH)), grid
        )

    def test_without_hair_the_frames_themselves_come_back(self) -> None:
        frames = noise()
        got = residual(frames, on_canvas(0, 0, 0), on_canvas(255, 0, 0), matte(0, 0))
        assert np.array_equal(got, frames)

    def test_the_frames_given_are_left_alone(self) -> None:
        frames = noise()
        kept = frames.copy()
        residual(frames, on_canvas(60, 40, 30), on_canvas(150, 60, 40))
        assert np.array_equal(frames, kept)

    def test_plain_hair_changes_as_much_as_the_rendering(self) -> None:
        """The generator need not draw the person in the right color."""
        before, after = (50, 40, 35), (110, 60, 40)
        got = residual(levels(70, 60, 52), on_canvas(*before), on_canvas(*after))[INSIDE]
        recon, edited = (lab(np.array([c], np.uint8)) for c in (before, after))
        want = lab(np.array([[70, 60, 52]], np.uint8)) + edited - recon
        assert delta_e_2000(lab(got).reshape(-1, 3), want, dim=-1).max() < 1

    def test_half_a_matte_takes_half_of_the_change(self) -> None:
        frames, recon, edited = levels(70, 60, 52), on_canvas(70, 60, 52), on_canvas(140, 70, 50)
        full = lab(residual(frames, recon, edited, matte(255)))[INSIDE]
        half = lab(residual(frames, recon, edited, matte(128)))[INSIDE]
        source = lab(frames)[INSIDE]
        torch.testing.assert_close(half - source, (full - source) / 2, atol=0.6, rtol=0.02)

    def test_hair_that_the_generator_does_not_draw_changes_with_the_rest(self) -> None:
        frames, recon, edited = levels(70, 60, 52), on_canvas(70, 60, 52), on_canvas(70, 60, 52)
        edited[:, :, :12] = (150, 70, 50)  # as far as column 26 of the frame
        got = residual(frames, recon, edited, blur=0.0)
        drawn, missed = got[:, 16:24, 19:23], got[:, 16:24, 30:33]
        assert delta_e_2000(lab(drawn), lab(levels(150, 70, 50)[:, :8, :4]), dim=-1).max() < 5
        assert delta_e_2000(lab(missed), lab(levels(150, 70, 50)[:, :8, :3]), dim=-1).max() < 5

    def test_strands_stay_visible(self) -> None:
        rng = np.random.default_rng(0)
        strands = rng.normal(size=(2, 1, WIDTH, 1)) * 12 + 70
        frames = np.broadcast_to(strands, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
        got = residual(frames, on_canvas(70, 70, 70), on_canvas(120, 90, 70))
        before, after = lab(frames[INSIDE])[..., 0], lab(got[INSIDE])[..., 0]
        for t in range(2):
            together = np.corrcoef(before[t].flatten(), after[t].flatten())[0, 1]
            assert together > 0.98
        assert after.std() > 0.8 * before.std()

    def test_fine_strands_keep_their_contrast_when_hair_turns_light(self) -> None:
        frames = levels(90, 75, 60)
        frames[:, :, ::4] = (12, 10, 8)
        recon, edited = on_canvas(90, 75, 60), on_canvas(190, 160, 120)

        def change(shadows: float, columns: slice) -> float:
            got = lab(residual(frames, recon, edited, shadows=shadows))
            return float((got - lab(frames))[:, 16:24, columns, 0].mean())

        gaps, strands = slice(20, 33, 4), slice(21, 33, 4)
        assert change(1.0, gaps) == pytest.approx(change(1.0, strands), rel=0.1)
        # Strands finer than the light keep their contrast whatever the setting.
        assert change(0.0, gaps) == pytest.approx(change(0.0, strands), rel=0.15)
        # The mean changes by as much in either case.
        total = [change(s, slice(20, 32)) for s in (0.0, 0.5, 1.0)]
        assert max(total) - min(total) < 0.08 * max(total)

    def test_hair_in_shadow_stays_darker_when_hair_turns_light(self) -> None:
        """Where the shadow is wider than the blur that tells light from strands."""
        source = torch.full((1, 3, 16, 64), 0.3)
        source[..., 32:] = 0.1
        change = torch.tensor([30.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 16, 64)

        def received(shadows: float, columns: slice) -> float:
            config = ComposeConfig(shadows=shadows)
            got = add_residual(rgb_to_lab(source), change, torch.ones(1, 1, 16, 64), config, 2.0)
            return float((rgb_to_lab(got) - rgb_to_lab(source))[:, 0, :, columns].mean())

        lit, shaded = slice(4, 24), slice(40, 60)
        assert received(0.0, shaded) < 0.5 * received(0.0, lit)
        assert received(1.0, shaded) == pytest.approx(received(1.0, lit), rel=0.05)
        assert received(0.5, slice(0, 64)) == pytest.approx(30, rel=0.08)

    def test_hair_that_turns_dark_keeps_some_of_its_sheen(self) -> None:
        source = torch.full((1, 3, 16, 64), 0.5)
        source[..., ::3] = 0.6
        before = rgb_to_lab(source)[:, 0]
        change = torch.tensor([-0.8 * float(before.mean()), 0, 0]).view(1, 3, 1, 1)
        change = change.expand(1, 3, 16, 64)
        got = add_residual(
            rgb_to_lab(source), change, torch.ones(1, 1, 16, 64), ComposeConfig(), 2.0
        )
        after = rgb_to_lab(got)[:, 0]
        assert float(after.mean()) == pytest.approx(0.2 * float(before.mean()), rel=0.05)
        assert 0.4 * before.std() < after.std() < 0.8 * before.std()

    WALL, SEEN = 85.0, 44  # its lightness, and the column in which the matte is wrong about it

    def lightened(self, share: float, reach: float) -> torch.Tensor:
        """Lightness by columns of hair (20, lighter by 30) before a wall; they meet in column 32,
        which is hair by `share`."""
        alpha = torch.zeros(1, 1, 16, 64)
        alpha[..., :32], alpha[..., 32] = 1, share
        source = torch.zeros(1, 3, 16, 64)
        source[:, :1] = torch.lerp(torch.tensor(self.WALL), torch.tensor(20.0), alpha)
        alpha[..., self.SEEN] = 0.4
        change = torch.tensor([30.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 16, 64)
        got = add_residual(source, change, alpha, ComposeConfig(), reach)
        return rgb_to_lab(got)[0, 0].mean(0)

    @pytest.mark.parametrize("share", [0.25, 0.5])
    def test_a_border_pixel_becomes_the_mixture_of_the_wall_and_the_new_hair(
        self, share: float
    ) -> None:
        """It is brighter than any hair: what is behind it may shine through."""
        got = self.lightened(share, 4.0)
        assert float(got[16]) == pytest.approx(50, abs=0.5)
        want = share * got[16] + (1 - share) * self.WALL
        assert float(got[32]) == pytest.approx(float(want), abs=0.5)

    @pytest.mark.parametrize("reach", [0.0, 4.0])
    def test_a_wall_that_the_matte_takes_for_hair_does_not_glow(self, reach: float) -> None:
        got = self.lightened(0.5, reach)
        assert float(got[self.SEEN]) == pytest.approx(self.WALL, abs=0.3)

    def test_each_frame_has_its_own_matte_and_change(self) -> None:
        frames, recon, edited = noise(), on_canvas(60, 40, 30), on_canvas(150, 60, 40)
        edited[1] = (40, 60, 150)
        alpha = matte()
        alpha[1, :, :12] = 0
        together = residual(frames, recon, edited, alpha)
        for t in range(2):
            row = slice(t, t + 1)
            alone = residual(frames[row], recon[row], edited[row], alpha[row])
            assert np.abs(together[row].astype(int) - alone).max() <= 1


def replaced(
    frames: NDArray[Any],
    recon: NDArray[Any],
    edited: NDArray[Any],
    taken: NDArray[Any],
    same: NDArray[Any],
    hair: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """hair: what is hair in source and rendering alike."""
    hair = np.zeros_like(taken) if hair is None else hair
    masks = ReplaceMasks(taken, same, hair, hair)
    return over(frames, compose_replace(frames, recon, edited, masks, CANVAS, CROP_SIDE))


# A square of the canvas, and where its middle lies in the frame.
SQUARE, MIDDLE = np.s_[:, 4:19, 4:22], np.s_[:, 17:25, 22:33]


def square_mask() -> tuple[NDArray[Any], NDArray[Any]]:
    """What is replaced, and all the rest to be matched."""
    mask = np.zeros((2, CANVAS.height, CANVAS.width), np.uint8)
    mask[SQUARE] = 255
    return mask, 255 - mask


class TestReplace:
    def test_away_from_the_mask_every_bit_is_the_source(self) -> None:
        frames, (mask, keep) = noise(), square_mask()
        got = replaced(frames, on_canvas(90, 90, 90), on_canvas(20, 200, 20), mask, keep)
        # The square spans columns 14 … 41 and rows 10 … 32.5; bicubic samples reach two further.
        near = np.zeros((HEIGHT, WIDTH), bool)
        near[7:36, 11:44] = True
        assert np.array_equal(got[:, ~near], frames[:, ~near])
        assert (got[MIDDLE] != frames[MIDDLE]).any(-1).mean() > 0.9

    def test_inside_the_mask_the_rendering_is_shown(self) -> None:
        grey, (mask, keep) = (100, 100, 100), square_mask()
        got = replaced(levels(*grey), on_canvas(*grey), on_canvas(30, 160, 60), mask, keep)
        want = levels(30, 160, 60)[MIDDLE]
        assert np.abs(got[MIDDLE].astype(int) - want).max() <= 4

    def test_a_rendering_that_agrees_changes_nothing(self) -> None:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        plane = np.stack([60 + x, 200 - x - y, 40 + 2 * y], -1)
        frames = np.stack([plane, plane // 2]).astype(np.uint8)
        cy = CANVAS.top + (np.arange(CANVAS.height) + 0.5) * CANVAS.step - 0.5
        cx = CANVAS.left + (np.arange(CANVAS.width) + 0.5) * CANVAS.step - 0.5
        cx, cy = np.meshgrid(cx, cy)
        small = np.stack([60 + cx, 200 - cx - cy, 40 + 2 * cy], -1)
        small = np.rint(np.stack([small, small / 2])).astype(np.uint8)
        got = replaced(frames, small, small, *square_mask())
        assert np.abs(got.astype(int) - frames).max() <= 4

    def test_the_color_error_of_the_rendering_is_corrected(self) -> None:
        """The generator draws everything darker than it is; what it adds is made lighter too."""
        frames, recon, edited = levels(130, 110, 100), on_canvas(100, 90, 90), on_canvas(50, 40, 40)
        got = replaced(frames, recon, edited, *square_mask())[MIDDLE]
        one = [np.array([c], np.uint8) for c in ((130, 110, 100), (100, 90, 90), (50, 40, 40))]
        source, drawn, added = map(lab, one)
        want = added + source - drawn
        assert delta_e_2000(lab(got).reshape(-1, 3), want, dim=-1).max() < 1.5

    def test_drawn_hair_takes_the_mean_color_of_the_persons_own(self) -> None:
        """Hair is drawn redder than it is; skin is right, and stays so."""
        frames, recon, edited = levels(60, 50, 40), on_canvas(60, 50, 40), on_canvas(90, 50, 40)
        recon[:, :12] = (90, 50, 40)
        hair = np.zeros(recon.shape[:3], np.uint8)
        hair[:, :12] = 255
        mask, keep = square_mask()
        keep[:, :12] = 0
        got = replaced(frames, recon, edited, mask, keep, hair)
        assert np.abs(got[:, 18, 22:33].astype(int) - (60, 50, 40)).max() <= 4
        assert np.abs(got[:, 28, 22:33].astype(int) - (90, 50, 40)).max() <= 6

    def test_what_is_not_to_be_kept_does_not_count_as_color_error(self) -> None:
        frames, recon, edited = levels(100, 100, 100), on_canvas(100, 100, 100), on_canvas(9, 9, 90)
        recon[SQUARE] = (250, 20, 20)
        got = replaced(frames, recon, edited, *square_mask())[MIDDLE]
        assert np.abs(got.astype(int) - [9, 9, 90]).max() <= 4

    def test_half_of_the_rendering_is_half_of_what_is_pasted(self) -> None:
        frames, recon, edited = levels(40, 40, 40), on_canvas(40, 40, 40), on_canvas(220, 220, 220)
        mask, keep = square_mask()
        got = replaced(frames, recon, edited, mask // 2, keep)[MIDDLE]
        assert np.abs(got.astype(int) - 130).max() <= 3

    def test_an_empty_mask_gives_the_frames_themselves(self) -> None:
        frames, (mask, keep) = noise(), square_mask()
        got = replaced(frames, on_canvas(0, 0, 0), on_canvas(9, 9, 9), mask * 0, keep)
        assert np.array_equal(got, frames)


class TestReplaceMasks:
    """Rows 0–9: hair of the source, 6–15: hair of the edit, 20–29: skin of both, 40–: neither."""

    @staticmethod
    def planes(hair: slice, skin: slice) -> dict[str, torch.Tensor]:
        planes = {name: torch.zeros(1, 1, 60, 8) for name in ("hair", "skin")}
        planes["hair"][:, :, hair], planes["skin"][:, :, skin] = 0.95, 0.95
        return planes

    EVERYWHERE = torch.ones(1, 1, 60, 8)

    def masks(self, region: str, feather: float = 0.0) -> tuple[NDArray[Any], NDArray[Any]]:
        config = ComposeConfig(mode="replace", region=region, feather=feather)
        source = self.planes(slice(0, 10), slice(20, 30))
        edited = self.planes(slice(6, 16), slice(20, 30))
        masks = replace_masks(config, source, edited, self.EVERYWHERE, 10)
        for mask in (masks.taken, masks.same, masks.hair, masks.same_hair):
            assert mask.dtype == np.uint8 and mask.shape == (1, 60, 8)
        assert set(np.flatnonzero(masks.same_hair[0, :, 4] > 128)) == set(range(6, 10))
        return masks.taken[0, :, 4], masks.same[0, :, 4]

    @pytest.mark.parametrize(
        ("region", "rows"),
        [
            ("hair", set(range(16))),
            ("face", set(range(20, 30))),
            ("head", set(range(16)) | set(range(20, 30))),
        ],
    )
    def test_regions(self, region: str, rows: set[int]) -> None:
        mask, _ = self.masks(region)
        widened = {r + d for r in rows for d in (-1, 0, 1)} & set(range(60))
        assert set(np.flatnonzero(mask)) == widened

    def test_what_is_drawn_away_from_the_person_is_not_taken(self) -> None:
        source, edited = (self.planes(slice(0, 10), slice(20, 30)) for _ in range(2))
        edited["hair"][:, :, 45:50] = 0.95
        config = ComposeConfig(mode="replace", region="head", feather=0.0)
        masks = replace_masks(config, source, edited, self.EVERYWHERE, 10)
        assert masks.taken[0, 40:].max() == 0 and masks.taken[0, :10].min() == 255

    @pytest.mark.parametrize("region", ["hair", "face", "head"])
    def test_what_the_generator_does_not_draw_is_not_taken(self, region: str) -> None:
        """Softening a border does not carry it there either; nor do colors count there."""
        config = ComposeConfig(mode="replace", region=region, feather=0.3)
        source, edited = (self.planes(slice(0, 10), slice(20, 30)) for _ in range(2))
        drawn = self.EVERYWHERE.clone()
        drawn[..., 3:5], drawn[..., 5:] = 0.5, 0
        part = replace_masks(config, source, edited, drawn, 10)
        whole = replace_masks(config, source, edited, self.EVERYWHERE, 10)
        for name in ("taken", "same", "hair"):
            got, want = getattr(part, name), getattr(whole, name)
            assert not got[..., 5:].any() and want[..., 5:].max() > 200
            assert np.array_equal(got[..., 2], want[..., 2])
            assert (got <= want).all()
        assert not part.same_hair[..., 5:].any()
        assert np.abs(part.taken[..., 3:5] - whole.taken[..., 3:5] / 2).max() <= 1

    def test_a_feathered_region_is_widened_by_the_feather(self) -> None:
        mask, _ = self.masks("face", feather=0.3)
        assert np.flatnonzero(mask > 127).tolist() == list(range(17, 33))

    def test_the_border_is_as_soft_as_asked_and_ends_in_nothing(self) -> None:
        for feather, steepest in ((0.0, 255), (0.1, 100), (0.3, 50)):
            mask = self.masks("face", feather)[0].astype(int)
            assert np.abs(np.diff(mask)).max() <= steepest
            assert mask.max() > 240 and not mask[45:].any()

    def test_colors_are_matched_on_common_skin_and_half_as_much_around(self) -> None:
        _, keep = self.masks("hair")
        assert keep[:16].max() < 20
        assert keep[20:30].min() > 235
        assert keep[40:].min() > 110 and keep[40:].max() < 135


COUNT = 7


def moving() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Frames, two renderings and mattes of which every one lies elsewhere; one is empty."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    size = (COUNT, CANVAS.height, CANVAS.width, 3)
    recon, edited = (rng.integers(40, 200, size, dtype=np.uint8) for _ in range(2))
    alpha = np.zeros((COUNT, 24, 28), np.uint8)
    for t in range(COUNT - 1):
        alpha[t, 2 + t : 9 + 2 * t, 1 + 2 * t : 8 + 2 * t] = 255 - 20 * t
    return frames, recon, edited, alpha


class TestBatches:
    @pytest.mark.parametrize("count", [1, 3])
    def test_which_frames_are_composed_together_does_not_show_in_a_residual(
        self, count: int
    ) -> None:
        inputs = moving()
        parts = []
        for at in range(0, COUNT, count):
            frames, recon, edited, alpha = (x[at : at + count] for x in inputs)
            parts.append(residual(frames, recon, edited, alpha))
        whole = residual(*inputs)
        assert np.array_equal(np.concatenate(parts), whole)
        assert (whole != inputs[0]).any((1, 2, 3)).tolist() == [True] * (COUNT - 1) + [False]

    @pytest.mark.parametrize("count", [1, 3])
    def test_nor_in_a_replacement(self, count: int) -> None:
        frames, recon, edited, _ = moving()
        levels = np.zeros((4, COUNT, CANVAS.height, CANVAS.width), np.uint8)
        for t in range(COUNT - 1):
            masks = np.array([230, 90, 200, 60])[:, None, None]
            levels[:, t, t : 8 + t, 2 * t : 9 + 2 * t] = masks

        def part(rows: slice) -> NDArray[Any]:
            masks = ReplaceMasks(*levels[:, rows])
            pictures = frames[rows], recon[rows], edited[rows]
            return over(frames[rows], compose_replace(*pictures, masks, CANVAS, CROP_SIDE))

        whole = part(slice(None))
        parts = [part(slice(at, at + count)) for at in range(0, COUNT, count)]
        assert np.array_equal(np.concatenate(parts), whole) and (whole != frames).any()

    def test_memory_is_that_of_one_frame_and_of_strips(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Float planes of one window at a time; what comes between them is of a strip."""
        sizes = []

        class Watch(TorchFunctionMode):
            def __torch_function__(
                self,
                function: Any,
                kinds: tuple[type[torch.Tensor], ...],
                args: tuple[Any, ...] = (),
                kwargs: dict[str, Any] | None = None,
            ) -> Any:
                result = function(*args, **(kwargs or {}))
                if isinstance(result, torch.Tensor) and result.is_floating_point():
                    sizes.append(result.untyped_storage().nbytes())
                return result

        def largest(count: int) -> int:
            sizes.clear()
            inputs: Any = [x[:count] for x in moving()]
            with Watch():
                residual(*inputs)
            return max(sizes)

        # Colors and their weight, on either side of the border: four float32 planes.
        assert largest(6) <= 16 * HEIGHT * WIDTH


class TestFrameMatte:
    @pytest.mark.parametrize("step", [1, 2, 3])
    def test_it_stays_where_hair_is(self, step: int) -> None:
        """However coarse its grid is, and whatever edges the picture has beside it."""
        grid, window = Grid(0, 0, step, 60 // step, 90 // step), Grid.of_pixels(60, 90)
        alpha = torch.zeros(1, 1, grid.height, grid.width)
        alpha[..., : grid.width // 3] = 1
        shades = torch.rand(1, 3, 60, 90, generator=torch.Generator().manual_seed(3))
        full = frame_matte(alpha, grid, shades, window)[0, 0]
        assert full[:, 30 + 3 * step + 1 :].max() == 0
        assert full[:, : 30 - 6 * step].min() > 0.95


class TestWindow:
    @given(
        st.tuples(st.integers(0, 9), st.integers(0, 11)),
        st.tuples(st.integers(1, 10), st.integers(1, 12)),
        st.tuples(st.floats(-20, 60), st.floats(-20, 40)),
        st.floats(0.4, 4),
    )
    def test_holds_all_of_the_matte_that_lies_in_the_frame(
        self,
        first: tuple[int, int],
        size: tuple[int, int],
        corner: tuple[float, float],
        step: float,
    ) -> None:
        alpha = np.zeros((2, 10, 12), np.uint8)
        alpha[1, first[0] : first[0] + size[0], first[1] : first[1] + size[1]] = 1
        left, top = corner
        window = window_of(alpha, Grid(left, top, step, 10, 12), (WIDTH, HEIGHT))
        rows, columns = alpha[1].nonzero()
        x0, x1 = left + columns.min() * step, left + (columns.max() + 1) * step
        y0, y1 = top + rows.min() * step, top + (rows.max() + 1) * step
        if window is None:
            assert x1 <= 0 or y1 <= 0 or x0 >= WIDTH or y0 >= HEIGHT
            return
        right, bottom = window.left + window.width, window.top + window.height
        assert 0 <= window.left < right <= WIDTH
        assert 0 <= window.top < bottom <= HEIGHT
        assert window.left <= max(x0, 0) and right >= min(x1, WIDTH)
        assert window.top <= max(y0, 0) and bottom >= min(y1, HEIGHT)
        # … and not much more.
        assert window.left % CELL_SIDES[0] == window.top % CELL_SIDES[0] == 0
        assert window.left >= min(x0 - 2 * step - CELL_SIDES[0], WIDTH)
        assert bottom <= max(y1 + 2 * step + 1, 0)

    def test_no_hair_no_window(self) -> None:
        assert (
            window_of(np.zeros((1, 4, 4), np.uint8), Grid.of_pixels(4, 4), (WIDTH, HEIGHT)) is None
        )


@given(st.floats(0, 1), st.floats(1, 90), st.floats(0, 100))
def test_a_pixel_gets_all_of_the_change_at_the_mean_and_less_in_shadow(
    shadows: float, mean: float, lightness: float
) -> None:
    at = [torch.tensor(v, dtype=torch.float64) for v in (0.0, lightness, 1e3)]
    middle = torch.tensor(mean, dtype=torch.float64)
    low, share, high = (float(shading_share(v, middle, shadows)) for v in at)
    assert float(shading_share(middle, middle, shadows)) == pytest.approx(1, abs=1e-3)
    assert low == pytest.approx(shadows) and high == pytest.approx(1 + (1 - shadows) / 4)
    assert low - 1e-9 <= share <= high + 1e-9


# ---- stages


class Scene:
    """Four frames, of which the second shows no face. Every value differs from frame to frame, and
    where there is no face it is made up."""

    COUNT, ROWS = 4, [0, 2, 3]
    # Of the matte, with a step of one, the grid is twice as fine as the parser's.
    REGION = HeadRegion(LEFT, TOP, 2.0, 12, 14)
    WINDOW = HairWindow(LEFT, TOP, 1, 24, 28, CROP_SIDE)
    CONFIG = ComposeConfig(evenness=0.0, blur=0.2)
    DEGREE = np.array([[1.0], [0.8], [0.5], [-0.3]])  # of the change wanted, by frame

    def __init__(self, present: bool = True) -> None:
        places = [None if k == 1 or not present else (28.0 + k, 22.0, 8.0) for k in range(4)]
        self.track = face_track(places, Box(14.0, 7.0, CROP_SIDE))
        self.fade = Fade(np.ones(4))
        rng = np.random.default_rng(5)
        self.pixels = rng.integers(40, 120, (self.COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
        size = CANVAS.height, CANVAS.width
        self.recon, self.redrawn = (
            levels(60, 40, 30, size=size, count=self.COUNT) + np.uint8(step) * steps
            for step, steps in ((1, self._steps()), (20, self._steps()))
        )
        self.redrawn += rng.integers(0, 60, self.redrawn.shape, dtype=np.uint8)
        self.alpha = np.concatenate([matte(), matte(200)])
        self.alpha[2] = np.roll(self.alpha[2], 2, 1)

    def _steps(self) -> NDArray[Any]:
        return np.arange(1, 1 + self.COUNT, dtype=np.uint8)[:, None, None, None]

    @property
    def frames(self) -> Frames:
        return Frames.of_pixels(self.pixels)

    def residual(self, wanted: NDArray[Any] | None = None, **options: Any) -> NDArray[Any]:
        config = ComposeConfig(**options) if options else self.CONFIG
        numbers = np.zeros(4, np.float32), np.zeros((4, 3), np.float32)
        given = (
            self.frames, Picture(self.recon), Picture(self.redrawn), Matte(self.alpha, *numbers),
            self.track, self.fade, CANVAS, self.WINDOW,
        )  # fmt: skip
        if wanted is None:
            layer = stages.residual(*given, config)
        else:
            lab: NDArray[Any] = np.tile(wanted, (self.COUNT, 1)) * self.DEGREE
            change = HairChange(lab, np.zeros((4, 1, 1), np.float32))
            layer = stages.dyed(*given, change, config)
        return stages.composed(self.frames, [layer], map).pixels


class TestResidualStages:
    WANTED = np.array([30.0, 5, -4])

    @pytest.mark.parametrize("wanted", [None, WANTED])
    def test_frames_with_a_face_are_composed_each_from_its_own(
        self, wanted: NDArray[Any] | None
    ) -> None:
        scene = Scene()
        kept = scene.pixels.copy()
        got = scene.residual(wanted)
        for k in scene.ROWS:
            one = slice(k, k + 1)
            patches = compose_residual(
                scene.pixels[one], scene.recon[one], scene.redrawn[one], scene.alpha[one],
                GRID, CANVAS, CROP_SIDE, scene.CONFIG,
                None if wanted is None else wanted * scene.DEGREE[one],
            )  # fmt: skip
            assert np.array_equal(got[k], over(scene.pixels[one], patches)[0])
            assert (got[k] != scene.pixels[k]).any()
        assert np.array_equal(scene.pixels, kept)

    @pytest.mark.parametrize("wanted", [None, WANTED])
    def test_a_frame_without_one_passes_bit_for_bit(self, wanted: NDArray[Any] | None) -> None:
        scene = Scene()
        assert np.array_equal(scene.residual(wanted)[1], scene.pixels[1])

    @pytest.mark.parametrize("wanted", [None, WANTED])
    def test_so_do_all_of_a_chunk_without_one(self, wanted: NDArray[Any] | None) -> None:
        scene = Scene(present=False)
        assert np.array_equal(scene.residual(wanted), scene.pixels)

    def test_dyed_hair_changes_as_it_was_wanted_to_unless_that_is_off(self) -> None:
        scene = Scene()
        assert not np.array_equal(scene.residual(), scene.residual(self.WANTED))
        loose = scene.residual(exact=False), scene.residual(self.WANTED, exact=False)
        assert np.array_equal(*loose)


def matte_on_canvas() -> NDArray[np.uint8]:
    taken = np.zeros((2, CANVAS.height, CANVAS.width), np.uint8)
    taken[:, 4:-4, 4:-4] = 255
    return taken


class TestReplacedStage:
    FACE_PIXELS = 24
    STYLES = random(Scene.COUNT, 8, 12).numpy()
    TRANSFORM = np.array([[k, 0.01 * k, 0, 1] if k != 1 else [np.nan] * 4 for k in range(4)])

    @pytest.fixture
    def compose(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """Calls the stage. `masks` keeps what its masks are made of, `parsed` what is parsed."""
        rng = np.random.default_rng(7)
        planes = rng.integers(0, 256, (Scene.COUNT, 5, 12, 14), dtype=np.uint8)
        size = (3, 1, CANVAS.height, CANVAS.width)
        self.shown = {
            name: random(*size, seed=k).sigmoid() for k, name in enumerate(("skin", "hair"))
        }
        self.planes = planes
        self.parsed: list[tuple[Any, ...]] = []
        self.masks: list[tuple[Any, ...]] = []
        self.made: list[ReplaceMasks] = []
        parser: Any = "the parser"

        def parse_canvas(*arguments: Any) -> dict[str, torch.Tensor]:
            self.parsed.append(arguments)
            return self.shown

        def masks(*arguments: Any) -> ReplaceMasks:
            self.masks.append(arguments)
            self.made.append(replace_masks(*arguments))
            return self.made[-1]

        monkeypatch.setattr(stages, "parse_canvas", parse_canvas)
        monkeypatch.setattr(stages, "replace_masks", masks)

        def compose(
            scene: Scene, generator: Generator | AlignedGenerator | None = None
        ) -> NDArray[Any]:
            generator = generator or tiny_generator(16, num_layers=4)
            self.synthesis = generator.synthesis
            layer = stages.replaced(
                scene.frames, Picture(scene.recon), Picture(scene.redrawn), Labels(planes),
                Pivots(self.STYLES, self.TRANSFORM), scene.track, scene.fade, CANVAS, scene.REGION,
                parser, Drawer(generator.synthesis), self.FACE_PIXELS,
                ComposeConfig(mode="replace", region="head"),
            )  # fmt: skip
            return stages.composed(scene.frames, [layer], map).pixels

        return compose

    def test_frames_with_a_face_are_composed_from_their_own(
        self, compose: Callable[..., Any]
    ) -> None:
        scene = Scene()
        kept, rows = scene.pixels.copy(), scene.ROWS
        got = compose(scene)
        want = compose_replace(
            scene.pixels[rows], scene.recon[rows], scene.redrawn[rows], self.made[0], CANVAS,
            CROP_SIDE,
        )  # fmt: skip
        assert np.array_equal(got[rows], over(scene.pixels[rows], want))
        assert (got[rows] != scene.pixels[rows]).any((1, 2, 3)).all()
        assert np.array_equal(got[1], scene.pixels[1])
        assert np.array_equal(scene.pixels, kept)

    def test_what_is_drawn_is_parsed_where_the_face_is(self, compose: Callable[..., Any]) -> None:
        scene = Scene()
        compose(scene)
        ((pictures, meshes, *rest),) = self.parsed
        assert np.array_equal(pictures, scene.redrawn[scene.ROWS])
        assert np.array_equal(meshes, scene.track.mesh[scene.ROWS])
        assert rest == [CANVAS, "the parser", self.FACE_PIXELS]

    def test_masks_are_made_of_skin_and_hair_in_source_and_rendering(
        self, compose: Callable[..., Any]
    ) -> None:
        compose(Scene())
        ((config, source, shown, _, crop_pixels),) = self.masks
        assert config.region == "head" and shown is self.shown
        assert crop_pixels == CROP_SIDE / CANVAS.step
        for name, plane in (("skin", 1), ("hair", 2)):
            values = torch.from_numpy(self.planes[Scene.ROWS, plane : plane + 1]).float() / 255
            want = brought_to_canvas(values, Scene.REGION, CANVAS)
            assert torch.equal(source[name], want)

    def test_nothing_is_taken_that_the_generator_cannot_draw(
        self, compose: Callable[..., Any]
    ) -> None:
        compose(Scene(), seeded(lambda: AlignedGenerator(tiny_stylegan2_config(16, w_dim=12))))
        ((*_, drawn, _),) = self.masks
        places = input_transforms(Pivots(self.STYLES, self.TRANSFORM).similarity)[Scene.ROWS]
        assert torch.equal(drawn, canvas_coverage(self.synthesis, places, CANVAS))
        assert drawn.min() == 0 and drawn.max() == 1
        assert not self.made[0].taken[drawn[:, 0].numpy() == 0].any()

    def test_a_chunk_without_a_face_passes_bit_for_bit(self, compose: Callable[..., Any]) -> None:
        scene = Scene(present=False)
        assert np.array_equal(compose(scene), scene.pixels)
        assert not self.parsed


class TestFold:
    """Patches over a frame, each made over the source."""

    WINDOW = Grid.of_pixels(5, 6, left=2, top=1)
    FRAME = noise(3)[0, :8, :10]

    def patch(self, color: int, alpha: int) -> Patch:
        """A color laid over the source by an alpha."""
        source = self.FRAME[self.WINDOW.pixels].astype(float)
        pixels = source + alpha / 255 * (color - source)
        full = np.full(source.shape[:2], alpha, np.uint8)
        return Patch(self.WINDOW, np.rint(pixels).astype(np.uint8), full)

    def seen(self, *patches: Patch) -> NDArray[Any]:
        return fold(self.FRAME, patches)[self.WINDOW.pixels].astype(float)

    def test_one_is_taken_as_it_is_and_what_is_around_it_stays(self) -> None:
        patch, kept = self.patch(200, 77), self.FRAME.copy()
        got = fold(self.FRAME, [patch])
        assert np.array_equal(got[self.WINDOW.pixels], patch.pixels)
        got[1:6, 2:8] = self.FRAME[1:6, 2:8]
        assert np.array_equal(got, kept) and np.array_equal(self.FRAME, kept)

    def test_where_it_hides_nothing_nothing_is_taken(self) -> None:
        patch = self.patch(200, 77)
        patch.alpha[0] = 0
        assert np.array_equal(fold(self.FRAME, [patch])[1], self.FRAME[1])

    def test_a_full_one_hides_what_is_behind_it(self) -> None:
        assert (self.seen(self.patch(20, 255), self.patch(200, 255)) == 200).all()
        assert (self.seen(self.patch(200, 255), self.patch(20, 255)) == 20).all()

    def test_through_a_soft_one_the_one_behind_is_seen(self) -> None:
        got = self.seen(self.patch(20, 255), self.patch(200, 102))
        np.testing.assert_allclose(got, 0.6 * 20 + 0.4 * 200, atol=1)

    def test_a_faded_one_shows_a_share_of_itself(self) -> None:
        half = self.patch(200, 200).faded(self.FRAME, 0.5)
        np.testing.assert_allclose(half.pixels, self.patch(200, 100).pixels, atol=1)
        assert (half.alpha == 100).all()

    @pytest.mark.parametrize("nearest", [0, 1])
    def test_the_larger_face_lies_in_front_in_every_frame(self, nearest: int) -> None:
        layers = [
            Layer([self.patch(20, 255)] * 2, np.array([5.0, 1.0])),
            Layer([self.patch(200, 255), None], np.array([9.0, 9.0]) if nearest else np.zeros(2)),
        ]
        frames = Frames.of_pixels(np.stack([self.FRAME] * 2))
        got = stages.composed(frames, layers, map).pixels
        assert got[0, 3, 4, 0] == (200 if nearest else 20)
        assert got[1, 3, 4, 0] == 20, "the other one changes nothing there"

    def test_threads_change_nothing(self, workers: Workers) -> None:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (9, *self.FRAME.shape), np.uint8)
        layer = Layer([self.patch(20 * k, 200) for k in range(9)], np.ones(9))
        got, want = (
            stages.composed(Frames.of_pixels(pixels), [layer], how).pixels for how in (workers, map)
        )
        assert np.array_equal(got, want)


class TestFading:
    TIMES = np.arange(10) / 10

    def strengths(
        self, certainty: list[float], cuts: tuple[int, ...] = (), fade: float = 0.4
    ) -> list[float]:
        begins = np.isin(np.arange(len(certainty)), [0, *cuts])
        times = self.TIMES[: len(certainty)]
        return strengths(np.array(certainty, float), times, begins, fade).round(3).tolist()

    def test_a_face_that_is_always_there_shows_all_of_it(self) -> None:
        assert self.strengths([1] * 6) == [1] * 6

    def test_it_comes_and_goes_by_degrees(self) -> None:
        got = self.strengths([0, 1, 1, 1, 1, 1, 1, 0, 0])
        assert got == [0, 0.25, 0.5, 0.75, 0.75, 0.5, 0.25, 0, 0]

    def test_at_a_cut_it_is_on_or_off(self) -> None:
        assert self.strengths([0, 0, 1, 1, 1, 0], cuts=(2, 5)) == [0, 0, 1, 1, 1, 0]

    def test_it_is_nowhere_above_the_certainty(self) -> None:
        got = self.strengths([1, 1, 1, 0.5, 1, 1])
        assert got == [1, 1, 0.75, 0.5, 0.75, 1]

    def test_no_time_to_fade_is_none(self) -> None:
        assert self.strengths([0, 1, 0.5, 1], fade=0.0) == [0, 1, 0.5, 1]

    def test_time_counts_and_not_frames(self) -> None:
        times, begins = np.array([0, 0.1, 0.3]), np.array([True, False, False])
        got = strengths(np.array([0.0, 1, 1]), times, begins, 0.4)
        np.testing.assert_allclose(got, [0, 0.25, 0.75])

    def test_the_stage_takes_the_tracks_certainty_and_the_clips_times(self) -> None:
        places = [None, *[(30.0, 30.0, 20.0)] * 5]
        track = face_track(places, Box(0.0, 0.0, 56.0), cuts=(4,))
        clip = clip_of(64, 64, [0, 100, 200, 300, 400, 500])
        got = stages.fade(InMemory(track), clip, 0.4).strength
        np.testing.assert_allclose(got, [0, 0.25, 0.5, 0.75, 1, 1])

    def test_it_shows_nothing_where_no_edit_changes_the_codes(self) -> None:
        track = face_track([(30.0, 30.0, 20.0)] * 5, Box(0.0, 0.0, 56.0))
        clip = clip_of(64, 64, [0, 100, 200, 300, 400])
        codes = np.ones((5, 2, 3), np.float32)
        edited = codes.copy()
        edited[2:, 1, 0] = 4  # one number of one code is enough
        both = InMemory(Codes(codes)), InMemory(Codes(edited))
        none = InMemory(no_drawn_change(clip))
        got = stages.fade_of_edits(InMemory(track), *both, none, clip, 0.2).strength
        np.testing.assert_allclose(got, [0, 0, 0.5, 1, 1])
        degree = np.array([0, 0, 1, 1, 1], np.float32)
        beyond = none.value.with_styles(degree, np.ones(4, np.float32))
        same = InMemory(Codes(codes)), InMemory(Codes(codes))
        for change, want in ((InMemory(beyond), [0, 0, 0.5, 1, 1]), (none, [0] * 5)):
            got = stages.fade_of_edits(InMemory(track), *same, change, clip, 0.2).strength
            np.testing.assert_allclose(got, want)

    def test_a_layer_has_as_much_of_its_effect(self) -> None:
        scene = Scene()
        whole = scene.residual().astype(int)
        scene.fade = Fade(np.array([0.5, 1.0, 0.0, 1.0]))
        got, source = scene.residual().astype(int), scene.pixels.astype(int)
        assert np.array_equal(got[2], source[2]) and np.array_equal(got[3], whole[3])
        np.testing.assert_allclose(got[0], (source[0] + whole[0]) / 2, atol=1)


def test_without_an_edit_the_rendering_is_the_edited_one() -> None:
    picture = Picture(Scene().recon)
    assert stages.unedited(picture) is picture


def test_what_composing_changes_gives_the_composed_frames_back() -> None:
    """Brighter and darker by any number of levels."""
    chance = np.random.default_rng(0)
    source, composed = chance.integers(0, 256, (2, 3, 5, 7, 3), dtype=np.uint8)
    composed[:, :2] = source[:, :2]
    kept = stages.changes(Frames.of_pixels(source), Frames.of_pixels(composed))
    assert not kept.levels[:, :2].any() and kept.levels.dtype == np.uint8
    assert np.array_equal(kept.over(source.copy()), composed)
