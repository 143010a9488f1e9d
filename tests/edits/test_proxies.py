"""One change for all frames: what it may change, and where it leads."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.small import guided_parser
from vidhair.edits import proxies
from vidhair.edits.hair_losses import gram_matrices
from vidhair.edits.proxies import Aim, Loop, Scene, begin, brought_back, draw, find_change, still
from vidhair.models.encoders.attributes import MOVING, AttributeSpace
from vidhair.models.faces.landmarks import POINTS
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan3 import Extent, Synthesis, make_transform
from vidhair.models.perceptual import FeatureDistance
from vidhair.stages.render import Canvas, carried

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, COUNT = 32, 3
BOX = Canvas(SIDE, Extent(), 10.0, 20.0, 2.0)
ALL = torch.arange(COUNT)


def pixels(x: torch.Tensor) -> list[torch.Tensor]:
    return [x]


DISTANCE = FeatureDistance(pixels)


def generator_of(kind: str) -> Any:
    if kind == "StyleGAN3":
        return tiny_generator(SIDE)
    return seeded(lambda: AlignedGenerator(tiny_stylegan2_config(SIDE, w_dim=12)))


def scene_of(kind: str = "StyleGAN3", angle: float = 0.0) -> Scene:
    generator = generator_of(kind)
    codes = random(COUNT, generator.config.num_ws, generator.config.w_dim, seed=5)
    turns = [make_transform((0.02 * k, 0.0), angle * k).inverse().float() for k in range(COUNT)]
    meshes = np.random.default_rng(0).uniform(20, 60, (COUNT, POINTS, 2)).astype(np.float32)
    parser = guided_parser().requires_grad_(False)
    synthesis = generator.synthesis
    return Scene.of(synthesis, codes, torch.stack(turns), meshes, BOX, parser, SIDE, torch.float32)


@pytest.fixture(scope="module", params=["StyleGAN3", "StyleGAN2"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return scene_of(request.param)


def start_of(scene: Scene, size: float = 0.5, count: int = 1) -> torch.Tensor:
    change = size * random(count, *scene.codes.shape[1:], seed=8)
    return still(change, None)


def aim_of(scene: Scene, count: int = 1) -> Aim:
    """Something that codes not far away do draw."""
    way = still(0.15 * random(1, *scene.codes.shape[1:], seed=9).sign(), None)
    other = draw(scene, start_of(scene) + way, "w+", ALL)
    hair = torch.zeros(COUNT, 1, SIDE, SIDE)
    hair[..., : SIDE // 2, :] = 1
    textures = gram_matrices(pixels, other, scene.hair)
    return Aim(start_of(scene, count=count), hair, torch.ones(COUNT), textures)


class TestStill:
    def test_without_attributes_the_first_two_codes_stay(self) -> None:
        change = random(2, 6, 5)
        kept = still(change, None)
        assert not kept[:, :2].any() and torch.equal(kept[:, 2:], change[:, 2:])

    def test_attributes_that_move_read_the_same(self) -> None:
        names = (*MOVING, "hair_length")
        p = len(names)
        directions = random(p, 20)
        readout = torch.linalg.pinv(directions).t()
        space = AttributeSpace(names, directions, readout, *(torch.zeros(p) for _ in range(3)))
        hair = space.direction("hair_length")
        given = (hair + space.direction("yaw")).expand(1, 6, 20)
        kept = still(given, space)
        assert not kept[:, 0].any()
        torch.testing.assert_close(kept[0, 1], hair, atol=1e-4, rtol=0)
        torch.testing.assert_close(still(kept, space), kept, atol=1e-5, rtol=0)


class TestSpaces:
    def test_without_a_change_all_draw_the_same(self, scene: Scene) -> None:
        none = torch.zeros_like(scene.codes[:1])
        plain = draw(scene, none, "w+", ALL)
        assert torch.equal(plain, scene.pictures) or torch.allclose(
            plain, scene.pictures, atol=1e-5
        )
        for space in ("s", "f"):
            change = begin(scene, none, space)
            assert not change.any()
            torch.testing.assert_close(draw(scene, change, space, ALL), plain, atol=1e-5, rtol=0)

    def test_a_change_of_codes_is_the_same_one_of_styles(self, scene: Scene) -> None:
        start = start_of(scene)
        got = draw(scene, begin(scene, start, "s"), "s", ALL)
        torch.testing.assert_close(got, draw(scene, start, "w+", ALL), atol=1e-4, rtol=1e-3)

    def test_one_of_features_comes_near_it(self, scene: Scene) -> None:
        start = start_of(scene, 0.3, COUNT)
        start[:, scene.synthesis.halfway_codes :] = 0
        want = draw(scene, start, "w+", ALL) - scene.pictures
        got = draw(scene, begin(scene, start, "f"), "f", ALL) - scene.pictures
        inside = (..., slice(4, -4), slice(4, -4))
        # StyleGAN2's picture so far is no feature.
        near = 0.35 if isinstance(scene.synthesis, Synthesis) else 0.7
        assert (got - want)[inside].norm() < near * want[inside].norm()


def test_what_is_brought_back_can_be_carried_there_again() -> None:
    synthesis = tiny_generator(SIDE).synthesis
    transform = make_transform((0.05, -0.1), 20).inverse().float()[None]
    (places,) = synthesis.halfway_places(transform)
    x, y = places.unbind(-1)
    smooth = torch.stack([(4 * x).sin(), (3 * y).cos()], 1)
    back = brought_back(smooth, places, transform)
    again = carried(back, places, transform)
    inside = (..., slice(15, -15), slice(15, -15))
    torch.testing.assert_close(again[inside], smooth[inside], atol=0.03, rtol=0)
    # On the face it does not matter how the face lies.
    upright = brought_back(smooth, places, torch.eye(3)[None])
    assert (upright - back).abs().max() > 0.2


@pytest.mark.parametrize("space", proxies.SPACES)
class TestFinding:
    def find(self, scene: Scene, space: str, steps: int, refine: int = 0, count: int = 1) -> Any:
        told: list[tuple[int, float]] = []
        loop = Loop(space=space, steps=steps, refine=refine)
        change = find_change(
            scene, aim_of(scene, count), DISTANCE, None, loop, lambda *x: told.append(x)
        )
        assert [done for done, _ in told] == list(range(1, steps + refine + 1))
        return change

    def loss(self, scene: Scene, space: str, change: torch.Tensor) -> float:
        pictures = draw(scene, change, space, ALL)
        aim = aim_of(scene)
        return float(proxies.loss_of(scene, aim, pictures, ALL, DISTANCE, False, False))

    def test_steps_lead_towards_the_aim(self, scene: Scene, space: str) -> None:
        none = self.find(scene, space, 0)
        torch.testing.assert_close(none, begin(scene, start_of(scene), space))
        some = self.find(scene, space, 12, 3)
        assert self.loss(scene, space, some) < 0.99 * self.loss(scene, space, none)

    def test_the_same_twice(self, scene: Scene, space: str) -> None:
        assert torch.equal(*(self.find(scene, space, 2, 1) for _ in range(2)))

    def test_first_the_first_half_then_all(self, scene: Scene, space: str) -> None:
        if space == "f":
            pytest.skip("features are one half")
        start = self.find(scene, space, 0)
        first, second = (self.find(scene, space, *steps) - start for steps in ((2, 0), (0, 2)))
        last = second[..., -1, :] if space == "w+" else second[..., -3:]
        assert last.any()
        assert not (first[..., -1, :] if space == "w+" else first[..., -3:]).any()
        if space == "w+":
            assert not first[:, :2].any() and not second[:, :2].any()

    def test_frames_may_have_one_each(self, scene: Scene, space: str) -> None:
        found = self.find(scene, space, 2, count=COUNT)
        assert len(found) == COUNT
        assert (found[0] - found[1]).abs().max() > 1e-3


def test_the_published_weights_count_at_the_first_step() -> None:
    """Without attributes, with features as the paper's: each term once more, by hand."""
    scene = scene_of()
    aim = aim_of(scene)
    pictures = draw(scene, aim.start, "w+", ALL)
    total = float(proxies.loss_of(scene, aim, pictures, ALL, DISTANCE, True, False))
    hair = scene.hair_of(scene.scores(pictures, ALL))
    style, entropy = [], []
    for k in range(COUNT):
        seen = (pictures[k] * hair[k] * hair[k]).flatten(1).double()
        assert aim.textures is not None
        want = aim.textures[k][0].double()
        style.append(float((seen @ seen.t() / seen.numel() - want).square().mean()))
        likely = scene.scores(pictures, ALL)[k].softmax(0)[2].double()
        wanted = scene.on_grid(aim.hair)[k, 0].double()
        entropy.append(float(-(wanted * likely.log() + (1 - wanted) * (1 - likely).log()).mean()))
    outside = (1 - hair) * (1 - scene.hair)
    kept = float(((pictures - scene.pictures) * outside).double().square().mean())
    by_hand = 4e4 * float(np.mean(style)) + float(np.mean(entropy)) + 10 * kept
    assert total == pytest.approx(by_hand, rel=1e-4)


def test_a_scene_may_be_cut() -> None:
    scene = scene_of()
    part = scene.rows(torch.tensor([2, 0]))
    assert torch.equal(part.codes, scene.codes[[2, 0]]) and len(part.pictures) == 2
    drawn = partial(draw, change=torch.zeros_like(part.codes[:1]), space="w+")
    torch.testing.assert_close(
        drawn(part, rows=torch.tensor([0])), scene.pictures[2:3], atol=1e-5, rtol=0
    )
