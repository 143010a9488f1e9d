"""Hair of a photo, cut out: what of it is hair, and how it goes on where the photo ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.small import person
from tests.stages.faces import face_mesh
from tests.stages.photos import mesh_at, photo
from vidhair.errors import NoFaceFound
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages.align import largest_face
from vidhair.stages.matte import MatteConfig
from vidhair.stages.photo import (
    _rounded,
    _still,
    continued,
    cut_out,
    ended,
    hair_hue,
    hidden_hair,
    looks_away,
    no_finer,
    of_parts,
    textured,
    towards,
)
from vidhair.stages.region import FINEST_SIDE
from vidhair.stages.skull import Place


def test_a_picture_goes_on_as_its_stretched_reflection() -> None:
    values = np.arange(20)[:, None] * np.ones((1, 20), int)
    wider = continued(values, 10)
    assert wider.shape == (40, 40)
    assert (wider[10:30, 10:30] == values).all()
    assert wider[:10, 0].tolist() == [4, 4, 3, 3, 2, 2, 2, 1, 1, 0]
    assert (np.abs(np.diff(wider[30:, 0])) <= 1).all()


class TestEnds:
    MARGIN = 60

    def ended(self, alpha: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return ended(alpha.astype(np.uint8), self.MARGIN, 200.0)

    def test_hair_inside_stays_and_nothing_is_added(self) -> None:
        alpha = np.zeros((100, 120))
        alpha[20:80, 30:90] = 255
        found = self.ended(alpha)
        assert (found[60:-60, 60:-60] == alpha).all()
        found[60:-60, 60:-60] = 0
        assert not found.any()

    def test_hair_near_a_border_is_not_reflected(self) -> None:
        alpha = np.zeros((100, 120))
        alpha[10:90, 10:110] = 255
        found = self.ended(alpha)
        found[60:-60, 60:-60] = 0
        assert not found.any()

    def test_cut_below_it_ends_in_locks_of_different_lengths(self) -> None:
        alpha = np.zeros((100, 120))
        alpha[40:, 20:100] = 255
        below = self.ended(alpha)[160:, 80:160]
        lengths = (below > 127).sum(0)
        assert lengths.min() > 5 and lengths.max() < self.MARGIN
        assert np.ptp(lengths) > 8, "no straight cut"
        assert (np.diff(below.astype(int), axis=0) <= 0).all(), "it fades"
        assert not below[-1].any()

    def test_cut_at_the_side_it_begins_round(self) -> None:
        alpha = np.zeros((100, 120))
        alpha[50:, :60] = 255
        reach = (self.ended(alpha)[60:160, :60] > 100).sum(1)
        assert not reach[:50].any()
        assert reach[51] < reach[70:95].max() / 2

    def test_cut_above_it_is_round(self) -> None:
        alpha = np.zeros((100, 120))
        alpha[:60, 20:100] = 255
        above = (self.ended(alpha)[:60, 80:160] > 60).sum(0)
        assert above[40] > above[10] > above[1]
        assert np.abs(above - above[::-1]).max() <= 1


def test_what_shines_through_at_the_border_gets_the_hue_of_hair() -> None:
    colors = torch.zeros(1, 3, 60, 120)
    colors[:] = torch.tensor([0.4, 0.25, 0.12])[None, :, None, None]
    colors[..., 70:80] = torch.tensor([0.4, 0.4, 0.45])[None, :, None, None]
    colors[..., 30, 68:72] = torch.tensor([0.5, 0.2, 0.0])[None, :, None]
    trust = torch.zeros(1, 1, 60, 120)
    trust[..., :80] = 1
    found = hair_hue(colors, colors, trust, 300.0)
    assert torch.allclose(found[..., :40], colors[..., :40], atol=0.01), "within it stays"
    assert (found[:, 0, 5:25, 72:80] > 1.5 * found[:, 2, 5:25, 72:80]).all(), "grey turns brown"
    assert torch.allclose(found[0, :, 30, 68], colors[0, :, 30, 68], atol=0.02), "red strands stay"
    assert (hair_hue(colors, colors, 0 * trust, 300.0) == colors).all()


@pytest.mark.parametrize("side", [300.0, 520.0, 1500.0])
def test_large_photos_are_reduced_to_what_a_window_holds(side: float) -> None:
    mesh = face_mesh(0.6 * side, 0.5 * side, 100.0)
    mesh = mesh * np.float32(side / float(_still(mesh).axes.side[0]))
    picture = np.random.default_rng(0).integers(0, 255, (round(side), round(1.4 * side), 3))
    small, track = no_finer(picture.astype(np.uint8), _still(mesh))
    found = float(track.axes.side[0])
    assert found == pytest.approx(min(side, FINEST_SIDE - 1), rel=2e-3) and found <= FINEST_SIDE
    assert small.flags.writeable, "torch warns of what is not"
    assert small.shape[1] / picture.shape[1] == pytest.approx(found / side, rel=4e-3)
    box = track.box.centre / small.shape[1::-1] - _still(mesh).box.centre / picture.shape[1::-1]
    assert np.abs(box).max() < 2e-3


def test_hair_at_the_border_is_no_more_saturated_nor_lighter_than_it_is_seen_or_within() -> None:
    """As it turns where too much of a blue or dark wall is taken out of it."""
    seen = torch.tensor([0.4, 0.25, 0.12])[None, :, None, None].repeat(1, 1, 60, 120)
    colors = seen.clone()
    colors[..., 20:50, 74:80] = torch.tensor([0.9, 0.35, 0.0])[None, :, None, None]
    trust = torch.zeros(1, 1, 60, 120)
    trust[..., :80] = 1
    found = hair_hue(colors, seen, trust, 300.0)
    assert torch.allclose(found[..., 25:45, 75:80], seen[..., 25:45, 75:80], atol=0.05)


def test_light_strands_at_the_border_keep_their_hue_beside_shades() -> None:
    """Shades of brown hair are redder and more saturated than its lights."""
    shade, light = torch.tensor([0.16, 0.06, 0.04]), torch.tensor([0.6, 0.44, 0.32])
    share = (0.5 + 0.5 * torch.sin(torch.arange(60.0))).view(1, 1, 60, 1)
    share = (0.6 * share**4).expand(1, 1, 60, 120).clone()  # within it is dark, with some lights
    share[..., 70:80] = 1
    colors = shade.view(1, 3, 1, 1) + share * (light - shade).view(1, 3, 1, 1)
    trust = torch.zeros(1, 1, 60, 120)
    trust[..., :80] = 1
    found = hair_hue(colors, colors, trust, 300.0)
    assert (found[..., 70:78] - colors[..., 70:78]).abs().max() < 0.02


def test_what_a_photo_cuts_off_is_a_border_of_the_hair() -> None:
    """The wall that shines through at the photo's edge has the hair's hue, and its own within."""
    colors = torch.tensor([0.4, 0.25, 0.1]).view(1, 3, 1, 1).repeat(1, 1, 60, 80)
    colors[..., :4] = 0.5
    found = hair_hue(colors, colors, torch.ones(1, 1, 60, 80), 300.0)
    assert (found[:, 0, :, :4] > 1.3 * found[:, 2, :, :4]).all()
    assert torch.allclose(found[..., 30:50], colors[..., 30:50], atol=0.01)


class TestTexture:
    SIDE = 100.0

    def striped(self) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        """Strands on the left half of a picture, and one color on the other."""
        colors = np.full((60, 80, 3), 90, np.float32)
        colors[:, :40] += 20 * np.where(np.arange(40) // 2 % 2, 1, -1)[None, :, None]
        sure = np.zeros((60, 80), np.float32)
        sure[:, :40] = 1
        return colors, sure

    def test_it_goes_on_beyond_what_is_seen_and_fades(self) -> None:
        colors, sure = self.striped()
        found = textured(colors, sure, self.SIDE)
        assert (found[:, :40] == colors[:, :40]).all()
        assert found[30, 42:50].std() > 1.3 * found[30, 68:76].std()
        assert abs(found[:, 40:].mean() - 90) < 3, "its colors stay"

    def test_where_nothing_is_seen_it_stays(self) -> None:
        colors, sure = self.striped()
        assert (textured(colors, np.zeros_like(sure), self.SIDE) == colors).all()


def test_colors_at_the_border_are_those_within() -> None:
    """What the photo shows of its background along the hair is not taken along."""
    from vidhair.stages.region import HairWindow

    picture = np.full((120, 120, 3), (90, 120, 200), np.uint8)
    picture[40:80, 30:90] = (110, 70, 40)
    alpha = np.zeros((120, 120), np.uint8)
    alpha[38:82, 28:92] = 255  # two pixels too far
    mesh = mesh_at(Place(np.eye(3), 20.0, np.array([60.0, 60.0])))
    window = HairWindow(0, 0, 1, 120, 120, 300.0)
    found = of_parts(picture, alpha, _still(mesh), window, (120, 120))
    margin = (len(found.alpha) - 120) // 2
    shown = found.alpha[margin:-margin, margin:-margin] > 127
    assert shown.sum() == (alpha > 127).sum()
    colors = found.levels[margin:-margin, margin:-margin][shown].astype(int)
    assert (colors[:, 0] > colors[:, 2]).all()


def test_hair_goes_on_under_the_jaw_and_not_over_the_forehead() -> None:
    y, x = np.mgrid[:200, :200]
    ring = (np.hypot(x - 100, y - 90) < 80) & (np.hypot(x - 100, y - 90) > 50)
    alpha = (255 * ring).astype(np.uint8)
    angle = np.linspace(0, 2 * np.pi, 478)
    mesh = np.stack([100 + 50 * np.cos(angle), 90 + 50 * np.sin(angle)], 1).astype(np.float32)
    mesh[[234, 454]], mesh[152], mesh[10] = [[50, 90], [150, 90]], [100, 140], [100, 40]
    found = hidden_hair(alpha, mesh, 150.0)
    assert (found >= alpha).all()
    assert (found[30:50] == alpha[30:50]).all()
    assert found[132, 100] == 255 > alpha[132, 100]
    assert found[90, 100] == 0


def test_what_lies_further_out_is_seen_from_within() -> None:
    plane = np.zeros((60, 60), np.float32)
    plane[30, 45] = 1
    outwards, inwards = (towards(plane, np.array([30.0, 30.0]), way) for way in (0.5, -0.4))
    assert outwards[30, 41] > 0.3 and outwards[30, 20] == 0 == outwards[30, 50]
    assert inwards[30, 50] > 0.3 and inwards[30, 41] == 0


class TestRefusals:
    def refused(self, picture: np.ndarray, parser: Parser) -> str:  # type: ignore[type-arg]
        with pytest.raises(NoFaceFound) as caught:
            cut_out(picture, "photo.jpg", parser, None, MatteConfig())
        return str(caught.value)

    def test_no_face(self) -> None:
        from tests.small import pack

        told = self.refused(np.full((128, 128, 3), 90, np.uint8), pack().parser)
        assert told == ("no face in photo.jpg; give a photo of the hair together with its face")

    def test_no_hair(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from tests.small import pack
        from vidhair.stages import photo
        from vidhair.stages.segment import HairPrior

        def none(frames, track, region, *_: object) -> HairPrior:  # type: ignore[no-untyped-def]
            grid = region.finer(2)
            return HairPrior(np.zeros((1, grid.height, grid.width), np.uint8))

        monkeypatch.setattr(photo, "_classified", none)
        assert "no hair is seen in photo.jpg" in self.refused(person()[0], pack().parser)

    def test_turned_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from tests.small import pack
        from vidhair.stages import photo

        monkeypatch.setattr(photo, "LEAST_CERTAINTY", 1.1)
        assert "is turned too far away" in self.refused(person()[0], pack().parser)

    def test_no_crown(self) -> None:
        from tests.small import pack

        picture = person()[0]
        top = int(largest_face(picture, "photo.jpg", "")[10, 1])
        assert "ends below the hairline" in self.refused(picture[top + 3 :], pack().parser)


def test_a_photo_that_lies_on_its_side_gives_the_same_hair() -> None:
    from tests.small import pack

    picture = person()[0]
    one, other = (
        cut_out(np.rot90(picture, turn), "photo.jpg", pack().parser, None, MatteConfig())
        for turn in (0, 1)
    )
    assert one.alpha.shape == other.alpha.shape
    assert np.abs(one.alpha.astype(int) - other.alpha).mean() < 6


@pytest.mark.parametrize(
    ("photo_turn", "turns", "away"),
    [(0.5, (-0.4, -0.5), True), (-0.5, (0.5,), True), (0.5, (0.4,), False), (0.5, (0,), False)],
)
def test_a_photo_is_mirrored_that_looks_the_other_way(
    photo_turn: float, turns: tuple[float, ...], away: bool
) -> None:
    def looking(share: float) -> NDArray[np.float32]:
        mesh = face_mesh(100, 100, 50)
        left, right = mesh[[234, 454], 0]
        mesh[1, 0] = (left + right) / 2 + share * (right - left) / 2
        return mesh

    absent = np.full((478, 2), np.nan, np.float32)
    meshes = np.stack([absent, *(looking(turn) for turn in turns)])
    assert looks_away(replace(photo(), mesh=looking(photo_turn)), meshes) == away


def test_a_crown_that_a_photo_cuts_off_is_round_and_begins_steeply() -> None:
    """As high as a round of the radius over what is cut; no lower beside its middle than that."""
    cut = np.zeros(120, bool)
    cut[10:111] = True
    got, circle = _rounded(cut, 100.0), np.sqrt(100.0**2 - np.arange(-50, 51) ** 2.0)
    high = circle - circle[0]
    assert got.argmax() == 60 and got.max() == pytest.approx(high.max())
    assert not got[~cut].any() and (got[10:111] >= high - 1e-9).all()
    assert got[13] > 1.3 * high[3], "without a corner"
