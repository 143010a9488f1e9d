"""A world where attributes are linear in the codes: what is known of it must be found."""

import pytest
import torch

from tests.models.tiny import random
from vidhair.checkpoints.packs import open_pack
from vidhair.models.encoders.attributes import MOVING, AttributeSpace, fit_attributes

NAMES = ("yaw", "smile", "hair_length", "melanin")
SCALE = torch.tensor([0.2, 1.0, 5.0, 1.0])  # of the attributes
D, N = 24, 3000


class World:
    """w = directions·p + what no attribute knows of."""

    def __init__(self) -> None:
        self.directions = random(len(NAMES), D, seed=1) / SCALE[:, None]
        self.params = random(N, len(NAMES), seed=2) * SCALE + torch.tensor([0.1, -1, 2, 0.5])
        rest, _ = torch.linalg.qr(random(D, D, seed=3))
        self.unknown = 0.3 * random(N, D // 2, seed=4) @ rest[: D // 2]
        self.mean = random(D, seed=5)
        self.codes = self.params @ self.directions + self.unknown + self.mean


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def space(world: World) -> AttributeSpace:
    return fit_attributes(NAMES, world.params, world.codes)


def test_the_directions_are_found(world: World, space: AttributeSpace) -> None:
    for name, want in zip(NAMES, world.directions, strict=True):
        got = space.direction(name)
        assert torch.cosine_similarity(got, want, dim=0) > 0.999
        assert float(got.norm()) == pytest.approx(float(want.norm()), rel=0.02)


def test_attributes_are_read_from_codes(world: World, space: AttributeSpace) -> None:
    got = space.read(world.codes[:, None])
    error = (got - world.params).std(0) / SCALE
    assert (error < 0.15).all()
    assert ((got - world.params).mean(0) / SCALE).abs().max() < 0.01


def test_codes_of_several_layers_are_read_by_their_mean(
    world: World, space: AttributeSpace
) -> None:
    ws = world.codes[:5, None] + random(5, 16, D)
    torch.testing.assert_close(space.read(ws), space.read(ws.mean(1, keepdim=True)))


def test_setting_an_attribute_sets_it_and_leaves_the_others(
    world: World, space: AttributeSpace
) -> None:
    ws = world.codes[:50, None].expand(-1, 16, -1)
    changed = ws + space.towards(ws, {"hair_length": 9.0})[:, None]
    before, after = space.read(ws), space.read(changed)
    torch.testing.assert_close(after[:, 2], torch.full((50,), 9.0), rtol=0.02, atol=0)
    others = [0, 1, 3]
    moved = (before[:, 2] - 9).abs()[:, None] / SCALE[2]
    leak = (after - before)[:, others].abs() / SCALE[others] / moved
    assert leak.max() < 0.02


def test_setting_several_attributes_at_once(world: World, space: AttributeSpace) -> None:
    ws = world.codes[:9, None]
    wanted = {"melanin": 0.0, "yaw": -0.3}
    after = space.read(ws + space.towards(ws, wanted)[:, None])
    torch.testing.assert_close(after[:, 0] / 0.2, torch.full((9,), -1.5), rtol=0, atol=0.1)
    torch.testing.assert_close(after[:, 3], torch.zeros(9), rtol=0, atol=0.1)


def test_asking_for_what_is_there_changes_nothing(world: World, space: AttributeSpace) -> None:
    ws = world.codes[:1, None]
    values = dict(zip(NAMES, space.read(ws)[0].tolist(), strict=True))
    assert space.towards(ws, values).abs().max() < 1e-4


def test_the_usual_range_holds_most_faces(world: World, space: AttributeSpace) -> None:
    for k in range(len(NAMES)):
        inside = (world.params[:, k] >= space.low[k]) & (world.params[:, k] <= space.high[k])
        assert 0.94 < inside.float().mean() < 0.98


def test_the_unit_of_an_attribute_is_its_own(world: World, space: AttributeSpace) -> None:
    degrees = fit_attributes(NAMES, world.params * torch.tensor([57.3, 1, 1, 1]), world.codes)
    torch.testing.assert_close(degrees.direction("yaw") * 57.3, space.direction("yaw"))
    ws = world.codes[:4, None]
    torch.testing.assert_close(
        degrees.read(ws)[:, 0] / 57.3, space.read(ws)[:, 0], rtol=1e-4, atol=1e-5
    )


def test_an_attribute_that_never_varies_gives_no_direction(world: World) -> None:
    params = world.params.clone()
    params[:, 1] = 0.25
    fitted = fit_attributes(NAMES, params, world.codes)
    assert all(t.isfinite().all() for t in fitted.tensors().values())
    assert fitted.direction("smile").norm() < 1e-3
    torch.testing.assert_close(
        fitted.read(world.codes[:5, None])[:, 1], torch.full((5,), 0.25), atol=1e-3, rtol=0
    )


def test_tensors_hold_the_whole_space(world: World, space: AttributeSpace) -> None:
    again = AttributeSpace(NAMES, **space.tensors())
    ws = world.codes[:3, None]
    assert torch.equal(again.read(ws), space.read(ws))
    assert torch.equal(again.towards(ws, {"yaw": 1}), space.towards(ws, {"yaw": 1}))


def test_shapes_that_disagree_are_refused(space: AttributeSpace) -> None:
    with pytest.raises(AssertionError):
        AttributeSpace(NAMES[:3], **space.tensors())


def space_of(**directions: torch.Tensor) -> AttributeSpace:
    rows, zero = torch.stack(list(directions.values())), torch.zeros(len(directions))
    return AttributeSpace(tuple(directions), rows, rows, zero, zero, zero)


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (MOVING, True),
        ((*MOVING[::-1], "melanin"), True),
        (MOVING[1:], False),
        (("smile",), False),
        (("age", "melanin"), False),
    ],
)
def test_motion_is_known_only_as_a_whole(names: tuple[str, ...], known: bool) -> None:
    space = space_of(**dict.fromkeys(names, torch.ones(3)))
    assert space.knows_motion is known


def test_the_bundled_pack_knows_motion() -> None:
    names = open_pack().part("attributes").config["names"]
    assert space_of(**dict.fromkeys(names, torch.ones(3))).knows_motion


class TestMovingPart:
    """Pose, expression and light move; who somebody is does not."""

    def test_what_moves_is_kept_and_what_stays_is_dropped(self) -> None:
        e = torch.eye(6)
        space = space_of(yaw=e[0] * 3, hair_length=e[1], smile=e[0] + e[2], melanin=e[4])
        deviations = random(7, 6)
        kept = space.moving_part(deviations)
        torch.testing.assert_close(kept[:, [0, 2]], deviations[:, [0, 2]])
        assert kept[:, [1, 3, 4, 5]].abs().max() < 1e-6

    def test_once_is_enough(self, space: AttributeSpace) -> None:
        kept = space.moving_part(random(7, D))
        torch.testing.assert_close(space.moving_part(kept), kept)

    def test_leading_dimensions_and_dtype_are_kept(self, space: AttributeSpace) -> None:
        deviations = random(2, 3, D)
        kept = space.moving_part(deviations)
        assert kept.shape == deviations.shape and kept.dtype == torch.float32
        torch.testing.assert_close(kept[1], space.moving_part(deviations[1]))

    def test_without_moving_attributes_nothing_moves(self) -> None:
        space = space_of(melanin=random(6), hair_length=random(6, seed=1))
        assert not space.moving_part(random(4, 6)).any()

    def test_directions_that_coincide_keep_no_more_than_one_of_them(self) -> None:
        """Both eyes of the rendered faces always blink together, so their directions coincide."""
        blink, yaw = random(6), random(6, seed=1)
        space = space_of(blink_left=blink, blink_right=blink, yaw=yaw)
        assert {"blink_left", "blink_right"} <= set(MOVING)
        kept = space.moving_part(torch.eye(6))
        assert float(kept.trace()) == pytest.approx(2, abs=1e-3)
