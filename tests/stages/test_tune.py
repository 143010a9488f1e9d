import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from vidhair.models.aligned import AlignedGenerator, MovableGenerator, MovableSynthesis
from vidhair.models.perceptual import FeatureDistance
from vidhair.models.stylegan3 import Extent, Generator
from vidhair.stages.render import Canvas
from vidhair.stages.tune import Targets, TuneConfig, choose_frames, refine, tune, with_weights

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


SETTINGS = {
    "precision": "float32",
    "learning_rate": 0.02,
    "locality_weight": 0.0,
    "stop_below": 0.0,
    "perceptual_weight": 0.1,
}


class Losses(list):
    """Keeps what is told about the progress."""

    def __call__(self, step: int, steps: int, loss: float) -> None:
        assert step == len(self) + 1 <= steps
        self.append(loss)


def tuned(pivots: Targets, generator: MovableGenerator | None = None, losses=None, **options):
    config = TuneConfig(**SETTINGS | {"steps": 12} | options)
    losses = Losses() if losses is None else losses
    return tune(generator or person(), pivots, CANVAS, DISTANCE, config, losses)


class TestTune:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_pictures_are_approached(self, pivots, precision):
        generator, losses = person(), Losses()
        weights = tuned(pivots, generator, losses, steps=20, precision=precision)
        assert len(losses) == 20 and losses[-1] < losses[0]
        before = (draw(generator.synthesis, pivots) - pivots.pictures).square().mean()
        after = (draw(with_weights(generator, weights), pivots) - pivots.pictures).square().mean()
        assert after < 0.7 * before

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_stylegan2_approaches_them_too(self, precision):
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

    def test_the_fourier_features_stay_as_they_are(self, pivots):
        generator = person()
        weights = tuned(pivots, generator)
        assert weights and all(name.startswith("layers.") for name in weights)
        again = with_weights(generator, weights).input.state_dict()
        for name, value in generator.synthesis.input.state_dict().items():
            assert torch.equal(again[name], value)

    def test_every_layer_is_tuned(self, pivots):
        generator = person()
        before, weights = generator.synthesis.state_dict(), tuned(pivots, generator)
        assert len(weights) == 4 * (LAYERS + 1)  # weight, bias, and both of the style's
        assert not any(torch.equal(value, before[name]) for name, value in weights.items())

    def test_the_generator_itself_is_left_alone(self, pivots):
        generator = person()
        kept = {n: t.clone() for n, t in generator.state_dict().items()}
        tuned(pivots, generator)
        assert all(torch.equal(t, kept[n]) for n, t in generator.state_dict().items())
        assert not any(p.requires_grad or p.grad is not None for p in generator.parameters())

    def test_no_steps_change_nothing(self, pivots):
        generator = person()
        before = generator.synthesis.state_dict()
        weights = tuned(pivots, generator, steps=0)
        assert all(torch.equal(value, before[name]) for name, value in weights.items())

    def test_the_same_seed_gives_the_same_weights(self, pivots):
        one, same, other = (tuned(pivots, steps=3, seed=seed) for seed in (1, 1, 2))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)

    def test_pixels_without_weight_do_not_count(self, pivots):
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

    def test_tuning_stops_once_the_loss_is_low_enough(self, pivots):
        losses = Losses()
        tuned(pivots, losses=losses, steps=60, stop_below=10.0)
        assert 20 <= len(losses) <= 25

    def test_other_faces_change_less_when_asked_to_stay(self, pivots):
        generator = person()
        others = generator.mapping(random(40, 8, seed=9))
        before = generator.synthesis(others)

        def change(locality: float) -> float:
            weights = tuned(pivots, generator, steps=24, locality_weight=locality)
            return float((with_weights(generator, weights)(others) - before).square().mean())

        assert change(10.0) < 0.9 * change(0.0)

    def test_more_frames_than_there_are_in_a_batch(self, pivots):
        """Fewer pictures than a batch holds, or a batch of all of them."""
        for batch in (1, COUNT, 2 * COUNT):
            losses = Losses()
            tuned(pivots, losses=losses, steps=2, batch=batch)
            assert len(losses) == 2 and np.isfinite(losses).all()


class TestRefine:
    def test_an_offset_of_all_codes_is_found(self):
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

    def test_no_steps_are_no_offset(self, pivots):
        config = TuneConfig(refine_steps=0)
        got = refine(person().synthesis, pivots, CANVAS, DISTANCE, config, Losses())
        assert torch.equal(got, torch.zeros(LAYERS + 2, 12))


def test_tuned_weights_are_ready_to_be_used(pivots):
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
    def test_so_many_present_frames_in_order(self, present, count, seed):
        codes = np.random.default_rng(seed).normal(size=(len(present), 3))
        chosen = choose_frames(codes, np.array(present), count)
        assert len(chosen) == min(count, sum(present))
        assert np.all(np.diff(chosen) > 0)
        assert all(present[frame] for frame in chosen)

    def test_they_differ_as_much_as_can_be(self):
        """Four poses, held for a while each: one frame of each is enough."""
        poses = np.array([[0.0, 0], [5, 0], [0, 5], [5, 5]])
        rng = np.random.default_rng(0)
        codes = np.concatenate([pose + rng.normal(size=(10, 2)) * 0.1 for pose in poses])
        chosen = choose_frames(codes, np.ones(40, bool), 4)
        assert (chosen // 10).tolist() == [0, 1, 2, 3]

    def test_a_glance_aside_is_not_missed(self):
        codes = np.zeros((100, 2))
        codes[:, 0] = np.linspace(0, 0.1, 100)
        codes[63] = [2, 2]
        assert 63 in choose_frames(codes, np.ones(100, bool), 2)

    def test_one_frame_is_a_usual_one(self):
        codes = np.array([[0.0], [1], [2], [3], [40]])
        assert choose_frames(codes, np.ones(5, bool), 1).tolist() != [4]

    def test_every_number_counts_alike(self):
        """Without regard to its unit."""
        codes = np.random.default_rng(1).normal(size=(50, 3))
        present = np.ones(50, bool)
        chosen = choose_frames(codes, present, 8)
        assert np.array_equal(choose_frames(codes * [1000, 1, 1], present, 8), chosen)

    def test_no_frame_is_chosen_twice_where_all_are_alike(self):
        chosen = choose_frames(np.zeros((9, 2)), np.ones(9, bool), 4)
        assert len(chosen) and len(set(chosen.tolist())) == len(chosen)
