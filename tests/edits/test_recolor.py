"""The solver, on pictures whose colors are known."""

from typing import Any

import pytest
import torch

from tests.edits.codes import LAYERS, D, space_of
from tests.models.tiny import random, tiny_generator
from vidhair.edits.recolor import HAIR_COLOR, LARGEST, Probe, solve_hair_color
from vidhair.imaging.color import rgb_to_lab
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages.render import Canvas


class Painter:
    """Stands in for a generator whose colors are known: the first three numbers of a code are
    the color of the left half; the right half it cannot change."""

    def __call__(
        self, ws: torch.Tensor, *, transform: torch.Tensor, canvas: Extent, dtype: torch.dtype
    ) -> torch.Tensor:
        color = ws.mean(1)[:, :3, None, None].expand(-1, -1, 12, 12).clone()
        color[..., 6:] = 0.9
        return color * 2 - 1


def painted(*colors: tuple[float, float, float], hair: float = 1.0) -> Probe:
    ws = torch.zeros(len(colors), LAYERS, D)
    ws[..., :3] = torch.tensor(colors)[:, None]
    matte = torch.full((len(colors), 1, 12, 12), hair)
    eye = torch.eye(3).repeat(len(colors), 1, 1)
    painter: Any = Painter()
    return Probe(painter, ws, eye, matte, Canvas(12, Extent(), 0.0, 0.0, 1.0))


def lab(*rgb: float) -> torch.Tensor:
    return rgb_to_lab(torch.tensor(rgb)[None, :, None, None]).flatten()


COLOR_SPACE = AttributeSpace(
    # Directions that mix the channels: the attributes are not what they are called.
    HAIR_COLOR,
    torch.tensor([[1, 0.2, 0], [0.1, 0.8, 0.1], [0, 0.3, 1.2]]) @ torch.eye(D)[:3],
    torch.eye(D)[:3],
    *torch.zeros(3, 3),
)


class TestColor:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ((0.25, 0.16, 0.09), (0.42, 0.16, 0.08)),  # brown → auburn
            ((0.76, 0.60, 0.36), (0.25, 0.16, 0.09)),  # blonde → brown
            ((0.25, 0.16, 0.09), (0.86, 0.86, 0.86)),  # brown → white
            ((0.76, 0.60, 0.36), (0.16, 0.30, 0.72)),  # blonde → blue
        ],
    )
    def test_the_hair_that_can_change_reaches_the_color(
        self, before: tuple[float, float, float], after: tuple[float, float, float]
    ) -> None:
        probe, wanted = painted(before), lab(*after) - lab(*before)
        change = solve_hair_color(probe, COLOR_SPACE, wanted)
        assert change.shape == (D,)
        got = probe.lab(change)[0, :, 6, 2]
        assert float((got - lab(*after)).norm()) < 0.1 * float(wanted.norm())

    def test_frames_of_several_colors_move_by_it_on_average(self) -> None:
        probe = painted((0.3, 0.2, 0.1), (0.4, 0.3, 0.2), (0.35, 0.2, 0.15))
        wanted = torch.tensor([15.0, 8, -5])
        change = solve_hair_color(probe, COLOR_SPACE, wanted)
        moved = (probe.lab(change) - probe.lab(torch.zeros(D)))[..., :6].mean((0, 2, 3))
        torch.testing.assert_close(moved, wanted, atol=2.5, rtol=0)

    def test_only_colors_are_used(self) -> None:
        change = solve_hair_color(painted((0.3, 0.2, 0.1)), COLOR_SPACE, torch.ones(3) * 5)
        assert change[:3].abs().max() > 0.01 and not change[3:].any()

    def test_no_change_wanted_is_none_made(self) -> None:
        change = solve_hair_color(painted((0.3, 0.2, 0.1)), COLOR_SPACE, torch.zeros(3))
        assert not change.any()

    def test_what_cannot_be_reached_is_approached_within_bounds(self) -> None:
        probe, wanted = painted((0.3, 0.2, 0.1)), torch.tensor([0.0, 90, 0])
        change = solve_hair_color(probe, COLOR_SPACE, wanted)
        amounts = torch.linalg.solve(COLOR_SPACE.directions[:, :3].t(), change[:3])
        assert amounts.abs().max() == pytest.approx(LARGEST)
        got = probe.lab(change)[0, :, 6, 2] - lab(0.3, 0.2, 0.1)
        assert (got - wanted).norm() < 0.5 * wanted.norm()

    @pytest.mark.parametrize(
        ("before", "after"),
        [((0.76, 0.60, 0.36), (0.045, 0.04, 0.04)), ((0.25, 0.16, 0.09), (0.86, 0.86, 0.86))],
    )
    def test_more_than_black_and_more_than_white_are_approached(
        self, before: tuple[float, float, float], after: tuple[float, float, float]
    ) -> None:
        """As `edit.strength` = 1.5 asks."""
        probe, wanted = painted(before), 1.5 * (lab(*after) - lab(*before))
        change = solve_hair_color(probe, COLOR_SPACE, wanted)
        got = probe.lab(change)[0, :, 6, 2] - lab(*before)
        assert (got - wanted).norm() < 0.6 * wanted.norm()

    def test_without_hair_nothing_is_changed(self) -> None:
        probe = painted((0.3, 0.2, 0.1), hair=0.0)
        assert not solve_hair_color(probe, COLOR_SPACE, torch.tensor([10.0, 0, 0])).any()

    @pytest.mark.parametrize("space", [None, space_of(("smile", "yaw"))])
    @pytest.mark.parametrize(
        ("before", "after"),
        [((0.3, 0.2, 0.1), (0.45, 0.2, 0.1)), ((0.2, 0.15, 0.1), (0.75, 0.6, 0.4))],
    )
    def test_without_attributes_for_it_gradients_lead_there(
        self,
        space: AttributeSpace | None,
        before: tuple[float, float, float],
        after: tuple[float, float, float],
    ) -> None:
        probe, wanted = painted(before), lab(*after) - lab(*before)
        change = solve_hair_color(probe, space, wanted)
        assert change.shape == (LAYERS, D)
        got = probe.lab(change)[0, :, 6, 2]
        assert float((got - lab(*after)).norm()) < max(2.0, 0.05 * float(wanted.norm()))
        assert not change[:, 3:].any(), "numbers that do nothing stay"
        assert not change[[0, 1, 3]].any(), "only the codes that color hair are moved"

    def test_without_hair_or_effect_gradients_change_nothing(self) -> None:
        wanted = torch.tensor([10.0, 0, 0])
        assert not solve_hair_color(painted((0.3, 0.2, 0.1), hair=0.0), None, wanted).any()
        assert not solve_hair_color(painted((2.0, 2.0, 2.0)), None, wanted).any()

    def test_with_a_generator(self) -> None:
        """What some change of the attributes does can be asked for, and is found again."""
        generator = tiny_generator(16)
        generator.synthesis.layers[-1].weight.mul_(12)
        directions = random(3, 12, seed=3) * 0.3
        space = AttributeSpace(HAIR_COLOR, directions, directions, *torch.zeros(3, 3))
        canvas = Canvas(16, Extent(2, 2, 2, 2), 0.0, 0.0, 1.0)
        hair = torch.ones(2, 1, 20, 20)
        eye = torch.eye(3).repeat(2, 1, 1)
        probe = Probe(generator.synthesis, random(2, 16, 12, seed=4), eye, hair, canvas)
        plain = probe.lab(torch.zeros(12))
        moved = probe.lab(torch.tensor([0.6, -0.4, 0.3]) @ directions) - plain
        wanted = moved.mean((0, 2, 3))
        change = solve_hair_color(probe, space, wanted)
        got = (probe.lab(change) - plain).mean((0, 2, 3))
        assert (got - wanted).norm() < 0.6 * wanted.norm()
