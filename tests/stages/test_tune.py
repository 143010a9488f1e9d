from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.models.generators.aligned import AlignedGenerator, MovableGenerator, MovableSynthesis
from vidhair.models.generators.stylegan3 import Extent, Generator
from vidhair.models.perceptual import FeatureDistance, Perceptual
from vidhair.stages import tune as stages
from vidhair.stages.labels import Labels
from vidhair.stages.region import HeadRegion
from vidhair.stages.render import Canvas, canvas_coverage, input_transforms
from vidhair.stages.smooth import Pivots
from vidhair.stages.tune import (
    Targets,
    TuneConfig,
    Tuned,
    choose_frames,
    refine,
    tune,
    with_weights,
)
from vidhair.types import Frames
from vidhair.wiring import stage_of

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, LAYERS, COUNT = 16, 6, 5
CANVAS = Canvas(SIZE, Extent(2, 0, 0, 3), 0.0, 0.0, 1.0)


def person(seed: int = 0) -> Generator:
    return tiny_generator(SIZE, num_layers=LAYERS, seed=seed)


def features(x: torch.Tensor) -> list[torch.Tensor]:
    return [x, F.avg_pool2d(x, 2)]


DISTANCE = FeatureDistance(features)


def draw(synthesis: MovableSynthesis, pivots: Targets) -> torch.Tensor:
    return synthesis(pivots.styles, transform=pivots.transforms, canvas=CANVAS.extent)


def pivots_of(synthesis: MovableSynthesis, offset: torch.Tensor | float = 0.0) -> Targets:
    """What this synthesis draws of some codes moved by `offset`."""
    styles = random(COUNT, synthesis.config.num_ws, 12, seed=7)
    transforms = torch.eye(3).repeat(COUNT, 1, 1)
    transforms[:, 0, 2] = torch.linspace(-0.1, 0.1, COUNT)
    moved = Targets(styles + offset, transforms, torch.empty(0), torch.empty(0))
    pictures = draw(synthesis, moved)
    return Targets(styles, transforms, pictures, torch.ones_like(pictures[:, :1]))


@pytest.fixture(scope="module")
def pivots() -> Targets:
    """Pictures of the person by a generator whose weights are somewhat different."""
    other = person()
    for layer in other.synthesis.layers:
        layer.weight.add_(0.3 * random(*layer.weight.shape, seed=8))
    return pivots_of(other.synthesis)


SETTINGS: dict[str, Any] = {
    "precision": "float32",
    "learning_rate": 0.02,
    "locality_weight": 0.0,
    "stop_below": 0.0,
    "perceptual_weight": 0.1,
}


class Losses(list[float]):
    """Keeps what is told about the progress."""

    def __call__(self, step: int, steps: int, loss: float) -> None:
        assert step == len(self) + 1 <= steps
        self.append(loss)


def tuned(
    pivots: Targets,
    generator: MovableGenerator | None = None,
    losses: Losses | None = None,
    **options: Any,
) -> dict[str, torch.Tensor]:
    config = TuneConfig(**SETTINGS | {"steps": 12} | options)
    losses = Losses() if losses is None else losses
    return tune(generator or person(), pivots, CANVAS, DISTANCE, config, losses)


class TestTune:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_pictures_are_approached(self, pivots: Targets, precision: str) -> None:
        generator, losses = person(), Losses()
        weights = tuned(pivots, generator, losses, steps=20, precision=precision)
        assert len(losses) == 20 and losses[-1] < losses[0]
        before = (draw(generator.synthesis, pivots) - pivots.pictures).square().mean()
        after = (draw(with_weights(generator, weights), pivots) - pivots.pictures).square().mean()
        assert after < 0.7 * before

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_stylegan2_approaches_them_too(self, precision: str) -> None:
        generator, other = (
            seeded(lambda: AlignedGenerator(tiny_stylegan2_config(SIZE, w_dim=12)))
            for _ in range(2)
        )
        for block in other.synthesis.blocks:
            block.conv1.weight.add_(0.3 * random(*block.conv1.weight.shape, seed=8))
        pivots, losses = pivots_of(other.synthesis), Losses()
        weights = tuned(pivots, generator, losses, steps=20, precision=precision)
        assert all(name.startswith("blocks.") for name in weights), "the constant stays"
        before = (draw(generator.synthesis, pivots) - pivots.pictures).square().mean()
        after = (draw(with_weights(generator, weights), pivots) - pivots.pictures).square().mean()
        assert after < 0.7 * before

    def test_the_fourier_features_stay_as_they_are(self, pivots: Targets) -> None:
        generator = person()
        weights = tuned(pivots, generator)
        assert weights and all(name.startswith("layers.") for name in weights)
        tuned_one = with_weights(generator, weights)
        again = tuned_one.get_submodule("input").state_dict()
        for name, value in generator.synthesis.input.state_dict().items():
            assert torch.equal(again[name], value)

    def test_every_layer_is_tuned(self, pivots: Targets) -> None:
        generator = person()
        before, weights = generator.synthesis.state_dict(), tuned(pivots, generator)
        assert len(weights) == 4 * (LAYERS + 1)  # weight, bias, and both of the style's
        assert not any(torch.equal(value, before[name]) for name, value in weights.items())

    def test_the_generator_itself_is_left_alone(self, pivots: Targets) -> None:
        generator = person()
        kept = {n: t.clone() for n, t in generator.state_dict().items()}
        tuned(pivots, generator)
        assert all(torch.equal(t, kept[n]) for n, t in generator.state_dict().items())
        assert not any(p.requires_grad or p.grad is not None for p in generator.parameters())

    def test_no_steps_change_nothing(self, pivots: Targets) -> None:
        generator = person()
        before = generator.synthesis.state_dict()
        weights = tuned(pivots, generator, steps=0)
        assert all(torch.equal(value, before[name]) for name, value in weights.items())

    def test_the_same_seed_gives_the_same_weights(self, pivots: Targets) -> None:
        one, same, other = (tuned(pivots, steps=3, seed=seed) for seed in (1, 1, 2))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)

    def test_pixels_without_weight_do_not_count(self, pivots: Targets) -> None:
        weight = torch.zeros_like(pivots.weight)
        weight[..., 4:12, 4:12] = 1
        spoilt = torch.where(weight > 0, pivots.pictures, random(*pivots.pictures.shape))
        # Features of single pixels, for larger ones see over the border of the weight.
        config = TuneConfig(**SETTINGS | {"steps": 3})
        results = [
            tune(
                person(),
                Targets(pivots.styles, pivots.transforms, pictures, weight),
                CANVAS,
                FeatureDistance(lambda x: [x]),
                config,
                Losses(),
            )
            for pictures in (pivots.pictures, spoilt)
        ]
        for name, value in results[0].items():
            torch.testing.assert_close(results[1][name], value, atol=1e-6, rtol=1e-4)

    def test_tuning_stops_once_the_loss_is_low_enough(self, pivots: Targets) -> None:
        losses = Losses()
        tuned(pivots, losses=losses, steps=60, stop_below=10.0)
        assert 20 <= len(losses) <= 25

    def test_other_faces_change_less_when_asked_to_stay(self, pivots: Targets) -> None:
        generator = person()
        others = generator.mapping(random(40, 8, seed=9))
        before = generator.synthesis(others)

        def change(locality: float) -> float:
            weights = tuned(pivots, generator, steps=24, locality_weight=locality)
            return float((with_weights(generator, weights)(others) - before).square().mean())

        assert change(10.0) < 0.9 * change(0.0)

    def test_every_code_is_kept_as_far_around(self) -> None:
        """However much they differ from the average one: by half of what they do on the whole."""
        generator, seen = person(), []
        styles = random(1, LAYERS + 2, 12, seed=3)
        styles[:, 2] *= 20

        def synthesis(codes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
            seen.append(codes)
            return codes

        both: Any = synthesis
        rng = torch.Generator().manual_seed(0)
        lost = stages._locality(generator, both, both, styles, rng, torch.float32)
        assert lost == 0 and torch.equal(*seen)
        moved = (seen[0] - styles)[0].norm(dim=1)
        unusual = (styles - generator.mapping.w_avg)[0].norm(dim=1)
        reach = 0.5 * float(unusual.square().mean().sqrt())
        random_code = generator.mapping(torch.randn(1, 8, generator=rng.manual_seed(0)))
        furthest = (random_code - styles)[0].norm(dim=1)
        torch.testing.assert_close(moved, furthest.clamp(max=reach), atol=1e-4, rtol=1e-4)

    def test_an_edit_after_tuning_does_what_it_did_before(self, pivots: Targets) -> None:
        """Closer so where other faces are asked to stay: pivots are tuned unedited."""
        generator = person()
        directions = [0.5 * random(12, seed=seed) for seed in range(13, 19)]

        def strayed(locality: float) -> float:
            options: dict[str, Any] = {
                "steps": 40,
                "learning_rate": 0.003,
                "locality_weight": locality,
            }
            both = generator.synthesis, with_weights(generator, tuned(pivots, generator, **options))
            errors = []
            for step in directions:
                want, got = (s(pivots.styles + step) - s(pivots.styles) for s in both)
                errors.append(float((got - want).square().mean() / want.square().mean()))
            return sum(errors) / len(errors)

        kept, free = strayed(30.0), strayed(0.0)
        assert kept < 0.7 * free and kept < 0.3

    def test_more_frames_than_there_are_in_a_batch(self, pivots: Targets) -> None:
        """Fewer pictures than a batch holds, or a batch of all of them."""
        for batch in (1, COUNT, 2 * COUNT):
            losses = Losses()
            tuned(pivots, losses=losses, steps=2, batch=batch)
            assert len(losses) == 2 and np.isfinite(losses).all()


class TestRefine:
    def test_an_offset_of_all_codes_is_found(self) -> None:
        generator = person()
        offset = 0.5 * random(LAYERS + 2, 12, seed=11)
        pivots = pivots_of(generator.synthesis, offset)
        losses = Losses()
        config = TuneConfig(**SETTINGS | {"refine_steps": 20, "batch": COUNT})
        got = refine(generator.synthesis, pivots, CANVAS, DISTANCE, config, losses)
        assert got.shape == (LAYERS + 2, 12) and not got.requires_grad
        assert len(losses) == 20

        def error(moved: torch.Tensor | float) -> float:
            codes = Targets(
                pivots.styles + moved, pivots.transforms, pivots.pictures, pivots.weight
            )
            return float((draw(generator.synthesis, codes) - pivots.pictures).square().mean())

        assert error(got) < 0.6 * error(0.0)

    def test_no_steps_are_no_offset(self, pivots: Targets) -> None:
        config = TuneConfig(refine_steps=0)
        got = refine(person().synthesis, pivots, CANVAS, DISTANCE, config, Losses())
        assert torch.equal(got, torch.zeros(LAYERS + 2, 12))


def test_tuned_weights_are_ready_to_be_used(pivots: Targets) -> None:
    generator = person()
    weights = tuned(pivots, generator, steps=1)
    synthesis = with_weights(generator, weights)
    assert not synthesis.training and not any(p.requires_grad for p in synthesis.parameters())
    state = synthesis.state_dict()
    assert all(torch.equal(state[name], value) for name, value in weights.items())


class TestChooseFrames:
    @given(
        st.lists(st.booleans(), min_size=1, max_size=30),
        st.integers(1, 12),
        st.integers(0, 1000),
    )
    def test_so_many_present_frames_in_order(
        self, present: list[bool], count: int, seed: int
    ) -> None:
        codes = np.random.default_rng(seed).normal(size=(len(present), 3))
        chosen = choose_frames(codes, np.array(present), count)
        assert len(chosen) == min(count, sum(present))
        assert np.all(np.diff(chosen) > 0)
        assert all(present[frame] for frame in chosen)

    def test_they_differ_as_much_as_can_be(self) -> None:
        """Four poses, held for a while each: one frame of each is enough."""
        poses = np.array([[0.0, 0], [5, 0], [0, 5], [5, 5]])
        rng = np.random.default_rng(0)
        codes = np.concatenate([pose + rng.normal(size=(10, 2)) * 0.1 for pose in poses])
        chosen = choose_frames(codes, np.ones(40, bool), 4)
        assert (chosen // 10).tolist() == [0, 1, 2, 3]

    def test_a_glance_aside_is_not_missed(self) -> None:
        codes = np.zeros((100, 2))
        codes[:, 0] = np.linspace(0, 0.1, 100)
        codes[63] = [2, 2]
        assert 63 in choose_frames(codes, np.ones(100, bool), 2)

    def test_one_frame_is_a_usual_one(self) -> None:
        codes = np.array([[0.0], [1], [2], [3], [40]])
        assert choose_frames(codes, np.ones(5, bool), 1).tolist() != [4]

    def test_every_number_counts_alike(self) -> None:
        """Without regard to its unit."""
        codes = np.random.default_rng(1).normal(size=(50, 3))
        present = np.ones(50, bool)
        chosen = choose_frames(codes, present, 8)
        assert np.array_equal(choose_frames(codes * [1000, 1, 1], present, 8), chosen)

    def test_no_frame_is_chosen_twice_where_all_are_alike(self) -> None:
        chosen = choose_frames(np.zeros((9, 2)), np.ones(9, bool), 4)
        assert len(chosen) and len(set(chosen.tolist())) == len(chosen)


# ---- stages


class TestTunedStage:
    """Frame 3 has an unusual code, 5 an unusual angle and 1 an unusual size; 6 has all of it and no
    face. Red tells the column of the frame and green which frame it is."""

    COUNT, CHOSEN = 8, [0, 1, 3, 5]
    CANVAS = Canvas(SIZE, Extent(2, 0, 0, 3), 10.0, 20.0, 1.0)
    REGION = HeadRegion(0.0, 0.0, 1.0, 64, 64)
    OFFSET = random(8, 12, seed=4)

    @pytest.fixture
    def given(self) -> dict[str, Any]:
        styles = np.zeros((self.COUNT, 8, 12), np.float32)
        # What tells the frames apart and their mean codes not.
        styles[:, 0] += np.arange(self.COUNT)[:, None]
        styles[:, 1] -= np.arange(self.COUNT)[:, None]
        transform = np.tile([0.0, 0, 0, 1], (self.COUNT, 1))
        transform[:, 1] = 0.01 * np.arange(self.COUNT)
        styles[[3, 6], :, 5] += 8
        transform[[5, 6], 0], transform[[1, 6], 3] = 30, 1.5
        transform[7] = np.nan  # as it is where there is no face and transforms are not smoothed
        pixels = np.zeros((self.COUNT, 64, 64, 3), np.uint8)
        pixels[..., 0] = np.arange(64)
        pixels[..., 1] = 10 * np.arange(self.COUNT)[:, None, None]
        planes = np.zeros((self.COUNT, 5, 64, 64), np.uint8)
        planes[:, [0, 3, 4]] = 255  # background, clothes, the whole person
        for k in range(self.COUNT):
            planes[k, 1, 22 + k : 30, :] = 204  # skin
            planes[k, 2, 26:34, :] = 153  # hair, some of it in the same place
        places = [None if k in (6, 7) else (20.0, 30.0, 6.0) for k in range(self.COUNT)]
        track = face_track(places, Box(12.0, 20.0, 16.0))
        values = {
            "frames": Frames.of_pixels(pixels), "pivots": Pivots(styles, transform),
            "labels": Labels(planes), "track": track,
        }  # fmt: skip
        return {name: InMemory(value) for name, value in values.items()}

    @pytest.fixture
    def learn(self, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """Calls the stage with others in the place of `refine` and `tune`: what it makes, what
        those were given, and what the meter was told."""
        calls: list[tuple[Any, ...]] = []
        told: list[tuple[Any, ...]] = []

        def of_refine(*arguments: Any) -> torch.Tensor:
            *first, progress = arguments
            calls.append(tuple(first))
            progress(2, 5, 0.25)
            return self.OFFSET

        def of_tune(*arguments: Any) -> dict[str, torch.Tensor]:
            *first, progress = arguments
            calls.append(tuple(first))
            progress(3, 9, 0.125)
            return {"layers.0.bias": torch.ones(12)}

        monkeypatch.setattr(stages, "refine", of_refine)
        monkeypatch.setattr(stages, "tune", of_tune)

        def learn(
            generator: MovableGenerator | None = None, **options: Any
        ) -> tuple[Tuned, Targets, Targets, list[tuple[int, str]]]:
            config = TuneConfig(**{"frames": 4, "refine_steps": 5, "steps": 9} | options)
            likeness = Perceptual("", {}, lambda: DISTANCE)
            generator = generator or person()
            made = stages.tuned(
                **given, canvas=self.CANVAS, region=self.REGION, generator=generator,
                perceptual=likeness, config=config,
                meter=lambda done, note="": told.append((done, note)),
            )  # fmt: skip
            (synthesis, targets, *rest), (whole, moved, *same) = calls
            assert synthesis is generator.synthesis and whole is generator
            assert rest == same == [self.CANVAS, DISTANCE, config]
            return made, targets, moved, told

        return learn

    def test_frames_that_differ_in_code_angle_or_size_are_chosen(
        self, learn: Callable[..., Any], given: dict[str, Any]
    ) -> None:
        learn()
        assert given["frames"].frames_asked == self.CHOSEN
        assert given["labels"].frames_asked == self.CHOSEN

    def test_so_many_as_the_setting_says(
        self, learn: Callable[..., Any], given: dict[str, Any]
    ) -> None:
        learn(frames=2)
        assert len(given["frames"].frames_asked) == 2

    def test_targets_are_those_frames_with_their_codes_where_the_face_is(
        self, learn: Callable[..., Any], given: dict[str, Any]
    ) -> None:
        _, targets, _, _ = learn()
        pivots = given["pivots"].value
        assert np.array_equal(targets.styles.numpy(), pivots.styles[self.CHOSEN])
        want = input_transforms(pivots.similarity)[self.CHOSEN]
        assert torch.equal(targets.transforms, want)
        levels = (targets.pictures + 1) * 127.5
        assert levels.shape == (4, 3, 19, 18)
        columns = torch.arange(10, 28).expand(4, 19, 18).float()
        torch.testing.assert_close(levels[:, 0], columns, atol=1e-3, rtol=0)
        frames = 10.0 * torch.tensor(self.CHOSEN)[:, None, None].expand(4, 19, 18)
        torch.testing.assert_close(levels[:, 1], frames, atol=1e-3, rtol=0)

    def test_skin_and_hair_count_more_than_what_is_around_them(
        self, learn: Callable[..., Any]
    ) -> None:
        _, targets, _, _ = learn()
        for row, frame in enumerate(self.CHOSEN):
            head = np.zeros(64)
            head[22 + frame : 30] += 0.8
            head[26:34] += 0.6
            want = 0.1 + 0.9 * head.clip(0, 1)[20:39]
            got = targets.weight[row, 0]
            np.testing.assert_allclose(got, np.tile(want[:, None], 18), atol=1e-5)

    def test_nothing_counts_that_the_generator_cannot_draw(self, learn: Callable[..., Any]) -> None:
        generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(SIZE, w_dim=12)))
        _, targets, _, _ = learn(generator)
        share = canvas_coverage(generator.synthesis, targets.transforms, self.CANVAS)
        assert share.min() == 0
        assert torch.equal(targets.weight > 0, share > 0)
        assert (targets.weight <= share + 1e-6).all()

    def test_tuning_begins_at_the_codes_that_were_refined(self, learn: Callable[..., Any]) -> None:
        _, targets, moved, _ = learn()
        assert torch.equal(moved.styles, targets.styles + self.OFFSET)
        for name in ("transforms", "pictures", "weight"):
            assert torch.equal(getattr(moved, name), getattr(targets, name))

    def test_what_was_learned_is_kept_and_read_back(self, learn: Callable[..., Any]) -> None:
        made, *_ = learn()
        for value in (made, Tuned.of(made.arrays())):
            assert np.array_equal(value.offset, self.OFFSET.numpy())
            assert list(value.weights) == ["layers.0.bias"]
            assert np.array_equal(value.weights["layers.0.bias"], np.ones(12))

    def test_the_meter_counts_both_parts(self, learn: Callable[..., Any]) -> None:
        *_, told = learn()
        assert told == [(0, ""), (2, "loss 0.250"), (5 + 3, "loss 0.125")]
        steps = stage_of("tuned", stages.tuned).steps
        assert steps is not None and steps(TuneConfig(refine_steps=5, steps=9)) == 14


class TestDrawerStages:
    TUNED = Tuned(random(8, 12, seed=5).numpy(), {"layers.0.bias": np.full(12, 7.0, np.float32)})

    def test_the_tuned_generator_has_the_weights_that_were_learned(self) -> None:
        generator = person()
        before = {name: value.clone() for name, value in generator.synthesis.state_dict().items()}
        drawn = stages.fine_tuned(self.TUNED, generator).synthesis.state_dict()
        assert (drawn["layers.0.bias"] == 7).all()
        assert all(torch.equal(drawn[n], before[n]) for n in before if n != "layers.0.bias")
        assert torch.equal(
            generator.synthesis.state_dict()["layers.0.bias"], before["layers.0.bias"]
        )

    def test_without_tuning_it_is_the_packs(self) -> None:
        generator = person()
        drawn = stages.untuned(generator).synthesis.state_dict()
        before = generator.synthesis.state_dict()
        assert drawn.keys() == before.keys()
        assert all(torch.equal(drawn[name], before[name]) for name in before)

    def test_codes_are_moved_by_the_offset_if_there_is_one(self) -> None:
        pivots = Pivots(random(3, 8, 12).numpy(), np.zeros((3, 4)))
        assert np.array_equal(stages.plain_pivots(pivots).styles, pivots.styles)
        got = stages.offset_pivots(pivots, self.TUNED).styles
        assert np.array_equal(got, pivots.styles + self.TUNED.offset)
