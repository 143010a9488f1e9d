from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.stages.composing import (
    CANVAS,
    COUNT,
    CROP_SIDE,
    HEIGHT,
    WIDTH,
    Scene,
    lab,
    levels,
    moving,
    noise,
    on_canvas,
    over,
)
from vidhair.imaging.color import delta_e_2000
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan3 import Generator
from vidhair.stages.compose import (
    ComposeConfig,
    composed,
)
from vidhair.stages.labels import Labels
from vidhair.stages.region import on_canvas as brought_to_canvas
from vidhair.stages.render import (
    Drawer,
    Picture,
    canvas_coverage,
    input_transforms,
)
from vidhair.stages.replaced import (
    ReplaceMasks,
    compose_replace,
    replace_masks,
    replaced,
)
from vidhair.stages.smooth import Pivots

# A square of the canvas, and where its middle lies in the frame.
SQUARE, MIDDLE = np.s_[:, 4:19, 4:22], np.s_[:, 17:25, 22:33]


def pasted(
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


def square_mask() -> tuple[NDArray[Any], NDArray[Any]]:
    """What is replaced, and all the rest to be matched."""
    mask = np.zeros((2, CANVAS.height, CANVAS.width), np.uint8)
    mask[SQUARE] = 255
    return mask, 255 - mask


class TestReplace:
    def test_away_from_the_mask_every_bit_is_the_source(self) -> None:
        frames, (mask, keep) = noise(), square_mask()
        got = pasted(frames, on_canvas(90, 90, 90), on_canvas(20, 200, 20), mask, keep)
        # The square spans columns 14 … 41 and rows 10 … 32.5; bicubic samples reach two further.
        near = np.zeros((HEIGHT, WIDTH), bool)
        near[7:36, 11:44] = True
        assert np.array_equal(got[:, ~near], frames[:, ~near])
        assert (got[MIDDLE] != frames[MIDDLE]).any(-1).mean() > 0.9

    def test_inside_the_mask_the_rendering_is_shown(self) -> None:
        grey, (mask, keep) = (100, 100, 100), square_mask()
        got = pasted(levels(*grey), on_canvas(*grey), on_canvas(30, 160, 60), mask, keep)
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
        got = pasted(frames, small, small, *square_mask())
        assert np.abs(got.astype(int) - frames).max() <= 4

    def test_the_color_error_of_the_rendering_is_corrected(self) -> None:
        """The generator draws everything darker than it is; what it adds is made lighter too."""
        frames, recon, edited = levels(130, 110, 100), on_canvas(100, 90, 90), on_canvas(50, 40, 40)
        got = pasted(frames, recon, edited, *square_mask())[MIDDLE]
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
        got = pasted(frames, recon, edited, mask, keep, hair)
        assert np.abs(got[:, 18, 22:33].astype(int) - (60, 50, 40)).max() <= 4
        assert np.abs(got[:, 28, 22:33].astype(int) - (90, 50, 40)).max() <= 6

    def test_what_is_not_to_be_kept_does_not_count_as_color_error(self) -> None:
        frames, recon, edited = levels(100, 100, 100), on_canvas(100, 100, 100), on_canvas(9, 9, 90)
        recon[SQUARE] = (250, 20, 20)
        got = pasted(frames, recon, edited, *square_mask())[MIDDLE]
        assert np.abs(got.astype(int) - [9, 9, 90]).max() <= 4

    def test_half_of_the_rendering_is_half_of_what_is_pasted(self) -> None:
        frames, recon, edited = levels(40, 40, 40), on_canvas(40, 40, 40), on_canvas(220, 220, 220)
        mask, keep = square_mask()
        got = pasted(frames, recon, edited, mask // 2, keep)[MIDDLE]
        assert np.abs(got.astype(int) - 130).max() <= 3

    def test_an_empty_mask_gives_the_frames_themselves(self) -> None:
        frames, (mask, keep) = noise(), square_mask()
        got = pasted(frames, on_canvas(0, 0, 0), on_canvas(9, 9, 9), mask * 0, keep)
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


@pytest.mark.parametrize("count", [1, 3])
def test_which_frames_are_composed_together_does_not_show(count: int) -> None:
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

        monkeypatch.setattr("vidhair.stages.replaced.parse_canvas", parse_canvas)
        monkeypatch.setattr("vidhair.stages.replaced.replace_masks", masks)

        def compose(
            scene: Scene, generator: Generator | AlignedGenerator | None = None
        ) -> NDArray[Any]:
            generator = generator or tiny_generator(16, num_layers=4)
            self.synthesis = generator.synthesis
            layer = replaced(
                scene.frames, Picture(scene.recon), Picture(scene.redrawn), Labels(planes),
                Pivots(self.STYLES, self.TRANSFORM), scene.track, scene.fade, CANVAS, scene.REGION,
                parser, Drawer(generator.synthesis), self.FACE_PIXELS,
                ComposeConfig(mode="replace", region="head"),
            )  # fmt: skip
            return composed(scene.frames, [layer], map).pixels

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
