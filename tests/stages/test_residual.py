from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from tests.stages.composing import (
    BORDER,
    CANVAS,
    COUNT,
    CROP_SIDE,
    GRID,
    HEIGHT,
    INSIDE,
    WIDTH,
    Scene,
    lab,
    levels,
    matte,
    moving,
    noise,
    on_canvas,
    over,
)
from vidhair.geometry import Grid
from vidhair.imaging.color import delta_e_2000, rgb_to_lab
from vidhair.stages.compose import ComposeConfig
from vidhair.stages.residual import (
    add_residual,
    compose_residual,
    shading_share,
)


def changed_by(
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


class TestResidual:
    def test_outside_the_matte_every_bit_is_the_source(self) -> None:
        frames = noise()
        got = changed_by(frames, on_canvas(60, 40, 30), on_canvas(150, 60, 40))
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[BORDER[1:]] = False
        assert np.array_equal(got[:, outside], frames[:, outside])
        assert (got[INSIDE] != frames[INSIDE]).any(-1).mean() > 0.95

    def test_on_a_coarse_grid_only_its_surroundings_are_touched(self) -> None:
        frames = noise()
        alpha = np.zeros((2, 24, 32), np.uint8)
        alpha[:, 8:14, 10:18] = 255  # rows 16 … 28 and columns 20 … 36 of the frame
        got = changed_by(
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
        assert np.array_equal(changed_by(frames, recon, recon.copy()), frames)

    def test_every_color_survives_an_edit_that_changes_nothing(self) -> None:
        grid = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3), -1).reshape(-1, 3)
        grid = np.resize(grid, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
        same = on_canvas(90, 90, 90)
        everywhere = np.full((2, HEIGHT, WIDTH), 255, np.uint8)
        assert np.array_equal(
            changed_by(grid, same, same, everywhere, Grid.of_pixels(HEIGHT, WIDTH)), grid
        )

    def test_without_hair_the_frames_themselves_come_back(self) -> None:
        frames = noise()
        got = changed_by(frames, on_canvas(0, 0, 0), on_canvas(255, 0, 0), matte(0, 0))
        assert np.array_equal(got, frames)

    def test_the_frames_given_are_left_alone(self) -> None:
        frames = noise()
        kept = frames.copy()
        changed_by(frames, on_canvas(60, 40, 30), on_canvas(150, 60, 40))
        assert np.array_equal(frames, kept)

    def test_plain_hair_changes_as_much_as_the_rendering(self) -> None:
        """The generator need not draw the person in the right color."""
        before, after = (50, 40, 35), (110, 60, 40)
        got = changed_by(levels(70, 60, 52), on_canvas(*before), on_canvas(*after))[INSIDE]
        recon, edited = (lab(np.array([c], np.uint8)) for c in (before, after))
        want = lab(np.array([[70, 60, 52]], np.uint8)) + edited - recon
        assert delta_e_2000(lab(got).reshape(-1, 3), want, dim=-1).max() < 1

    def test_half_a_matte_takes_half_of_the_change(self) -> None:
        frames, recon, edited = levels(70, 60, 52), on_canvas(70, 60, 52), on_canvas(140, 70, 50)
        full = lab(changed_by(frames, recon, edited, matte(255)))[INSIDE]
        half = lab(changed_by(frames, recon, edited, matte(128)))[INSIDE]
        source = lab(frames)[INSIDE]
        torch.testing.assert_close(half - source, (full - source) / 2, atol=0.6, rtol=0.02)

    def test_hair_that_the_generator_does_not_draw_changes_with_the_rest(self) -> None:
        frames, recon, edited = levels(70, 60, 52), on_canvas(70, 60, 52), on_canvas(70, 60, 52)
        edited[:, :, :12] = (150, 70, 50)  # as far as column 26 of the frame
        got = changed_by(frames, recon, edited, blur=0.0)
        drawn, missed = got[:, 16:24, 19:23], got[:, 16:24, 30:33]
        assert delta_e_2000(lab(drawn), lab(levels(150, 70, 50)[:, :8, :4]), dim=-1).max() < 5
        assert delta_e_2000(lab(missed), lab(levels(150, 70, 50)[:, :8, :3]), dim=-1).max() < 5

    def test_strands_stay_visible(self) -> None:
        rng = np.random.default_rng(0)
        strands = rng.normal(size=(2, 1, WIDTH, 1)) * 12 + 70
        frames = np.broadcast_to(strands, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
        got = changed_by(frames, on_canvas(70, 70, 70), on_canvas(120, 90, 70))
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
            got = lab(changed_by(frames, recon, edited, shadows=shadows))
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
        together = changed_by(frames, recon, edited, alpha)
        for t in range(2):
            row = slice(t, t + 1)
            alone = changed_by(frames[row], recon[row], edited[row], alpha[row])
            assert np.abs(together[row].astype(int) - alone).max() <= 1


class TestBatches:
    @pytest.mark.parametrize("count", [1, 3])
    def test_which_frames_are_composed_together_does_not_show_in_a_residual(
        self, count: int
    ) -> None:
        inputs = moving()
        parts = []
        for at in range(0, COUNT, count):
            frames, recon, edited, alpha = (x[at : at + count] for x in inputs)
            parts.append(changed_by(frames, recon, edited, alpha))
        whole = changed_by(*inputs)
        assert np.array_equal(np.concatenate(parts), whole)
        assert (whole != inputs[0]).any((1, 2, 3)).tolist() == [True] * (COUNT - 1) + [False]

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
                changed_by(*inputs)
            return max(sizes)

        # Colors and their weight, on either side of the border: four float32 planes.
        assert largest(6) <= 16 * HEIGHT * WIDTH


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
