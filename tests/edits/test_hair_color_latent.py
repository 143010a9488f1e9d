"""The stages of a color; what they hand to the solver, and how its change is scaled over time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.edits.codes import (
    COUNT,
    LAYERS,
    PRESENT,
    RAMP,
    SPACE,
    TRACK,
    D,
    pack_of,
    steady,
    styles,
)  # fmt: skip
from tests.flow.made_up import a_pack, nodes_of
from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.stages.series import InMemory
from vidhair.cache import fingerprint
from vidhair.edits import HairColorLatent
from vidhair.edits import hair_color_latent as module
from vidhair.edits.edit import Strength
from vidhair.edits.hair_color_latent import CodeChange, TargetColor
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.geometry import Box
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.models.faces.landmarks import POINTS
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan3 import Extent
from vidhair.recipe import load_recipe
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Canvas, Codes, Drawer, canvas_coverage, input_transforms
from vidhair.stages.residual import HairChange
from vidhair.stages.smooth import Pivots


def lab(*rgb: float) -> torch.Tensor:
    return rgb_to_lab(torch.tensor(rgb)[None, :, None, None]).flatten()


def unchanged(count: int = COUNT) -> HairChange:
    return HairChange(np.zeros((count, 3), np.float32), np.zeros((count, 1, 1), np.float32))


class TestTargetColorStage:
    @pytest.mark.parametrize(
        ("color", "want"), [("auburn", HAIR_COLORS["auburn"]), ("#ff0033", (1, 0, 0.2))]
    )
    def test_a_name_or_code_is_its_color(
        self, color: str, want: tuple[float, float, float]
    ) -> None:
        no_parser: Any = None
        got = HairColorLatent(color=color).target_color(no_parser).rgb
        np.testing.assert_allclose(got, want)

    def test_a_picture_is_the_color_of_its_hair(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        parser: Any = "the parser"

        def seen(path: str, parser: Any) -> tuple[float, float, float]:
            asked.append((path, parser))
            return 0.1, 0.2, 0.3

        monkeypatch.setattr(module, "mean_hair_color", seen)
        got = HairColorLatent(color="friend.PNG").target_color(parser).rgb
        assert got.tolist() == [0.1, 0.2, 0.3] and asked == [("friend.PNG", "the parser")]


class TestCodeChangeStage:
    """Frame 0 has next to no hair, frame 2 no face."""

    T, SIDE, CHOSEN = 8, 16, [1, 3, 5, 7]
    AREA = np.array([0.02, 0.25, 0.5, 0.25, 0.125, 0.25, 0.25, 0.25])
    SEEN = np.arange(T) != 2
    CANVAS = Canvas(SIDE, Extent(2, 4, 6, 5), 8.0, 16.0, 1.0)
    WINDOW = HairWindow(0, 0, 1, 64, 64, 16.0)
    STYLES = random(T, 6, D, seed=3).numpy()
    FOUND = random(D, seed=6)

    @pytest.fixture
    def change(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """Calls the stage with another in the place of `solve_hair_color`: what it makes, and what
        that was given, if anything."""
        rng = np.random.default_rng(0)
        self.alpha = rng.integers(0, 256, (self.T, 64, 64), dtype=np.uint8)
        self.labs = rng.uniform(0, 50, (self.T, 3)).astype(np.float32)
        self.transform = np.tile([5.0, 0, 0, 1.1], (self.T, 1))
        self.transform[:, 1] = 0.02 * np.arange(self.T)
        self.transform[2] = np.nan

        def change(
            *,
            area: NDArray[Any] | None = None,
            strength: Sequence[float] = (1.0,),
            former: HairChange | None = None,
            drawer: Drawer | None = None,
            probe: str = "float32",
            seen: NDArray[Any] | None = None,
        ) -> tuple[Any, ...]:
            given: list[tuple[Any, ...]] = []

            def solve(*arguments: Any) -> torch.Tensor:
                given.append(arguments)
                return self.FOUND

            monkeypatch.setattr(module, "solve_hair_color", solve)
            seen = self.SEEN if seen is None else seen
            nowhere = np.full((self.T, POINTS, 2), np.nan, np.float32)
            track = FaceTrack(
                nowhere,
                seen,
                seen,
                np.arange(self.T) == 0,
                Box(10.0, 20.0, 16.0),
                np.zeros((self.T, 0, 5), np.float32),
            )
            area = self.AREA if area is None else area
            matte = Matte(self.alpha, area, self.labs)
            degrees = np.resize(np.array(strength, np.float32), self.T)
            made = HairColorLatent().code_change(
                InMemory(Codes(self.STYLES)),
                InMemory(former or unchanged(self.T)),
                InMemory(Pivots(self.STYLES + np.float32(9), self.transform)),
                InMemory(track),
                InMemory(matte),
                TargetColor(np.array([0.4, 0.2, 0.1])),
                InMemory(Strength(degrees)),
                self.CANVAS,
                self.WINDOW,
                drawer or Drawer(tiny_generator(self.SIDE, num_layers=4).synthesis),
                SPACE,
                probe,
            )
            return (made, *given)

        return change

    @pytest.mark.parametrize("seen", [SEEN, np.arange(T) == 2])
    def test_a_clip_without_hair_on_a_face_is_left_alone(
        self, change: Callable[..., Any], seen: NDArray[Any]
    ) -> None:
        """What is seen in frames without a face is nobody's hair."""
        (made,) = change(area=np.where(seen, 0.0, self.AREA), seen=seen)
        assert made.styles.shape == (D,) and made.styles.dtype == np.float32
        assert not made.styles.any() and made.lab.tolist() == [0, 0, 0]

    @pytest.mark.parametrize(
        ("strength", "largest"),
        [([1.0], 1.0), ([0.5], 0.5), ([0, 0.3, 0.8, 0.1], 0.8), ([-0.9, 0.4], -0.9)],
    )
    def test_the_hairs_mean_is_to_become_the_color_as_far_as_it_ever_does(
        self, change: Callable[..., Any], strength: list[float], largest: float
    ) -> None:
        made, (_, space, wanted) = change(strength=strength)
        weight = np.where(self.SEEN, self.AREA, 0)
        mean = (self.labs * weight[:, None]).sum(0) / weight.sum()
        way = lab(0.4, 0.2, 0.1).numpy() - mean
        np.testing.assert_allclose(wanted, way * largest, atol=1e-4)
        np.testing.assert_allclose(made.lab, way, atol=1e-4)
        assert made.strength == pytest.approx(largest) and space is SPACE

    def test_it_is_measured_without_what_former_edits_colored(
        self, change: Callable[..., Any]
    ) -> None:
        codes = random(self.T, 6, D, seed=8).numpy()
        former = HairChange(np.ones((self.T, 3), np.float32), codes)
        made, (probe, _, wanted) = change(former=former)
        want = (self.STYLES - codes)[self.CHOSEN]
        np.testing.assert_allclose(probe.styles.numpy(), want, atol=1e-6)
        assert np.array_equal(wanted.numpy(), made.lab)

    def test_what_is_found_is_the_change(self, change: Callable[..., Any]) -> None:
        made, _ = change()
        assert np.array_equal(made.styles, self.FOUND.numpy())

    def test_it_is_measured_on_frames_with_much_hair_from_all_over_the_clip(
        self, change: Callable[..., Any]
    ) -> None:
        _, (probe, *_) = change()
        assert np.array_equal(probe.styles.numpy(), self.STYLES[self.CHOSEN])
        places = input_transforms(Pivots(self.STYLES, self.transform).similarity)[self.CHOSEN]
        torch.testing.assert_close(probe.transforms, places)

    def test_all_of_them_where_there_are_few(self, change: Callable[..., Any]) -> None:
        _, (probe, *_) = change(area=np.where(np.isin(np.arange(8), [2, 4, 6]), 0.25, 0.0))
        assert np.array_equal(probe.styles.numpy(), self.STYLES[[4, 6]])

    def test_the_box_alone_is_drawn_with_the_hair_there(self, change: Callable[..., Any]) -> None:
        _, (probe, *_) = change()
        assert probe.canvas == Canvas(self.SIDE, Extent(), 10.0, 20.0, 1.0)
        want = torch.from_numpy(self.alpha[self.CHOSEN, None, 20:36, 10:26]).float() / 255
        torch.testing.assert_close(probe.hair, want, atol=1e-5, rtol=0)

    def test_hair_that_the_generator_cannot_draw_does_not_count(
        self, change: Callable[..., Any]
    ) -> None:
        generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(self.SIDE, w_dim=D)))
        _, (probe, *_) = change(drawer=Drawer(generator.synthesis))
        assert probe.synthesis is generator.synthesis
        share = canvas_coverage(generator.synthesis, probe.transforms, probe.canvas)
        assert share.min() == 0
        hair = torch.from_numpy(self.alpha[self.CHOSEN, None, 20:36, 10:26]).float() / 255
        torch.testing.assert_close(probe.hair, hair * share, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("probe", ["float32", "bfloat16"])
    def test_layers_compute_in_what_the_flow_says(
        self, change: Callable[..., Any], probe: str
    ) -> None:
        _, (shown, *_) = change(probe=probe)
        assert shown.dtype == getattr(torch, probe)


FOUND = random(D, seed=1).numpy()
WAY = np.array([30, -8, 12], np.float32)


class TestOverTime:
    """The first color leads all the way in frame 0 and nowhere in the last, the second the other
    way round."""

    OUT = Strength(np.linspace(1, 0, COUNT).astype(np.float32))
    IN = Strength(np.linspace(0, 1, COUNT).astype(np.float32))

    @pytest.mark.parametrize("change", [FOUND, random(LAYERS, D, seed=1).numpy()])
    def test_a_steady_one_adds_what_is_found_to_frames_with_a_face(
        self, change: NDArray[Any]
    ) -> None:
        given, degree = Codes(styles()), 0.7
        solved = CodeChange(change, float(np.float32(degree)), WAY)
        got = HairColorLatent().recolored(given, TRACK, unchanged(), solved, steady(degree)).styles
        want = np.where(PRESENT[:, None, None], styles() + change, styles())
        assert np.array_equal(got, want)
        assert np.array_equal(given.styles, styles())
        hair = HairColorLatent().hair_change(unchanged(), solved, steady(degree))
        assert np.array_equal(hair.lab, np.tile(WAY * np.float32(degree), (COUNT, 1)))

    @pytest.mark.parametrize("largest", [1.0, -0.5])
    def test_each_frame_has_its_share(self, largest: float) -> None:
        solved = CodeChange(FOUND, largest, WAY)
        got = HairColorLatent().recolored(Codes(styles()), TRACK, unchanged(), solved, RAMP).styles
        want = RAMP.values[:, None, None] / largest * FOUND * PRESENT[:, None, None]
        np.testing.assert_allclose(got - styles(), np.broadcast_to(want, got.shape), atol=1e-6)
        hair = HairColorLatent().hair_change(unchanged(), solved, RAMP)
        np.testing.assert_allclose(hair.lab, RAMP.values[:, None] * WAY, rtol=1e-6)
        assert hair.styles.shape == (COUNT, 1, D)

    def test_none_at_all_changes_nothing(self) -> None:
        solved = CodeChange(np.zeros(D, np.float32), 0.0, WAY)
        given = Codes(styles()), TRACK, unchanged(), solved, steady(0.0)
        assert np.array_equal(HairColorLatent().recolored(*given).styles, styles())
        assert not HairColorLatent().hair_change(unchanged(), solved, steady(0.0)).lab.any()

    def test_one_color_gives_way_to_another(self) -> None:
        first = CodeChange(FOUND, 1.0, WAY)
        second = CodeChange(
            random(LAYERS, D, seed=2).numpy(), 1.0, np.array([-20, 5, 40], np.float32)
        )
        edit, codes = HairColorLatent(), Codes(styles())
        half = edit.recolored(codes, TRACK, unchanged(), first, self.OUT)
        former = edit.hair_change(unchanged(), first, self.OUT)
        both = edit.recolored(half, TRACK, former, second, self.IN).styles - styles()
        change = edit.hair_change(former, second, self.IN)
        for frame, solved in ((0, first), (5, None), (-1, second)):
            if solved is not None:
                np.testing.assert_allclose(change.lab[frame], solved.lab, atol=1e-4)
                want = np.broadcast_to(solved.styles, (LAYERS, D))
                np.testing.assert_allclose(change.styles[frame], want, atol=1e-5)
            if PRESENT[frame]:
                np.testing.assert_allclose(both[frame], change.styles[frame], atol=1e-5)
        middle = 3  # the second takes half of what is left of the first away
        np.testing.assert_allclose(
            change.lab[middle], 0.25 * first.lab + 0.5 * second.lab, atol=1e-4
        )
        want = 0.25 * first.styles + 0.5 * second.styles
        np.testing.assert_allclose(change.styles[middle], want, atol=1e-5)
        np.testing.assert_allclose(both[middle], want, atol=1e-5)


def test_a_picture_is_read_once_for_all_stages_of_a_flow_and_anew_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = [np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)]
    left = pictures.copy()
    monkeypatch.setattr(module, "read_image", lambda path: left.pop(0))
    recipe = load_recipe("hair_color_latent", {"edit.color": "friend.png"})
    colors = []
    for _ in pictures:
        found = {node.name: node.settings for node in nodes_of(Flow(recipe, a_pack()))}
        owned = ("target_color", "code_change", "strength", "hair_change", "edited_codes")
        colors.append({found[name]["color"] for name in owned})
    assert not left and colors == [{fingerprint(picture)} for picture in pictures]


def test_a_color_that_is_none_is_named_with_its_place() -> None:
    HairColorLatent(color="friend.png").check(pack_of(None), "edit")
    HairColorLatent().check(pack_of(None), "edit")
    with pytest.raises(InvalidSetting, match=r"edit\.2\.color = 'blurple' is no color"):
        HairColorLatent(color="blurple").check(pack_of(None), "edit.2")
