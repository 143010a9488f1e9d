"""Edits along one attribute of a pack."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests import small
from tests.edits.codes import (
    COUNT,
    LAYERS,
    NAMES,
    PRESENT,
    RAMP,
    SPACE,
    TRACK,
    D,
    pack_of,
    space_of,
    steady,
    styles,
)  # fmt: skip
from tests.edits.test_fitting import dark_is_hair
from tests.edits.test_proxies import scene_of
from tests.stages.composing import without_arms
from tests.stages.faces import face_track
from tests.stages.photos import photo
from tests.stages.series import InMemory
from vidhair.cache import MemoryStore
from vidhair.edits import Attribute, Fringe, HairLength, Volume, Wave, hair_attribute
from vidhair.edits.edit import GradedEdit, Strength
from vidhair.edits.hair_attribute import FULL_FRINGE, Shown, share_seen
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import makers_of
from vidhair.geometry import Box
from vidhair.media import open_clip
from vidhair.recipe import load_recipe
from vidhair.settings import Curve
from vidhair.stages import ends
from vidhair.stages.bare import Bare
from vidhair.stages.ends import HairEnd, HairFall
from vidhair.stages.fringe import Hairline
from vidhair.stages.hair_look import CURLY, WAVY, HairLook
from vidhair.stages.matte import HairTone, Matte
from vidhair.stages.photo import PhotoHair
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Codes
from vidhair.stages.reshaped import lengthened_beside_face
from vidhair.stages.skull import AXES, CENTRE, HeadPose, Skull
from vidhair.stages.worn import Worn
from vidhair.synthetic import wigs
from vidhair.synthetic.strands import StrandStyle
from vidhair.types import Frames


def change_of(stage: Callable[..., Any], strength: Strength) -> NDArray[Any]:
    given = Codes(styles())
    got = stage(given, TRACK, strength, SPACE).styles
    assert np.array_equal(given.styles, styles()), "what is given is left alone"
    return got - styles()


@pytest.mark.parametrize("strength", [steady(-0.7), RAMP], ids=["steady", "ramp"])
@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (HairLength().shifted, "hair_length"),
        (Fringe().shifted, "hair_fringe"),
        (Wave().shifted, "hair_wave"),
        (Volume().shifted, "hair_volume"),
        (Attribute().shifted, "smile"),
        (Attribute(name="hair_wave").shifted, "hair_wave"),
    ],
)
def test_frames_with_a_face_move_along_it_by_their_strength(
    stage: Callable[..., Any], name: str, strength: Strength
) -> None:
    want = np.zeros((COUNT, LAYERS, D), np.float32)
    unit = 0.1 if name == "hair_volume" else 1.0
    want[:, :, NAMES.index(name)] = unit * strength.values[:, None]
    want[~PRESENT] = 0
    np.testing.assert_allclose(change_of(stage, strength), want, atol=1e-6)


def test_a_pack_without_attributes_cannot() -> None:
    Attribute().check(pack_of(SPACE), "edit")
    with pytest.raises(InvalidSetting, match=r"edit\.3\.kind = 'attribute'.*another pack"):
        Attribute().check(pack_of(None), "edit.3")


@pytest.mark.parametrize("edit", [Wave(), Volume(), Fringe(), HairLength()])
def test_hair_that_is_moved_needs_attributes_only_where_it_is_drawn(edit: GradedEdit) -> None:
    assert edit.in_frames and not type(edit)(by="latent").in_frames  # type: ignore[call-arg]
    edit.check(pack_of(None), "edit")
    edit.check_drawn(pack_of(SPACE), "edit")
    with pytest.raises(InvalidSetting, match=rf"edit\.3\.kind = '{edit.kind}'.*another pack"):
        edit.check_drawn(pack_of(None), "edit.3")
    with pytest.raises(InvalidSetting, match=r"edit\.by = 'layer' moves the hair"):
        type(edit)(by="layer").check_drawn(pack_of(SPACE), "edit")  # type: ignore[call-arg]


def test_moving_hair_does_not_make_it_straighter() -> None:
    falls = Curve([(0.0, 0.5), (1.0, -0.25)])
    for amount in (-0.25, falls):
        with pytest.raises(InvalidSetting, match=r"edit\.amount = -0\.25 .* edit\.by = 'latent'"):
            Wave(amount=amount).check(pack_of(SPACE), "edit")
        Wave(amount=amount, by="latent").check(pack_of(SPACE), "edit")
        Volume(amount=amount).check(pack_of(SPACE), "edit")


def test_an_unknown_attribute_is_said_with_those_there_are() -> None:
    with pytest.raises(InvalidSetting) as error:
        Attribute(name="height").check(pack_of(SPACE), "edit")
    assert "edit.name = 'height'" in str(error.value)
    assert all(name in str(error.value) for name in NAMES)


def test_hair_length_where_the_pack_has_none() -> None:
    with pytest.raises(InvalidSetting, match="hair_length"):
        HairLength().check_drawn(pack_of(space_of(("smile", "yaw"))), "edit")


class TestFringe:
    """A generator that draws next to none of it at first, and then no more."""

    SEEN = Shown(
        np.array([0, 0.5, 1.0, 1.5, 2.0, -0.5, -1.0], np.float32),
        np.array([0.2, 0.2, 0.3, 0.6, 0.55, 0.15, 0.1], np.float32),
    )

    def needed(self, amount: float) -> float:
        return float(self.SEEN.needed(np.array([amount], np.float32))[0])

    def test_it_goes_as_far_as_the_forehead_needs_to_be_covered(self) -> None:
        assert self.needed(0) == 0
        half = 0.5 * FULL_FRINGE  # between 0.3 and 0.6 of the forehead
        assert self.needed(0.5) == pytest.approx(1 + 0.5 * (half - 0.1) / 0.3)
        assert self.needed(-0.05 / FULL_FRINGE) == pytest.approx(-0.5)

    def test_where_it_cannot_it_goes_as_far_as_there_is_more(self) -> None:
        assert self.needed(1.5) == 1.5
        assert self.needed(-1) == -1

    def test_every_frame_moves_by_what_its_amount_needs(self) -> None:
        strength = Strength(np.linspace(0, 0.9, COUNT).astype(np.float32))
        edit = Fringe()
        got = edit.shown(Codes(styles()), TRACK, strength, self.SEEN, SPACE).styles - styles()
        want = self.SEEN.needed(strength.values) * PRESENT
        moved = got[:, :, NAMES.index("hair_fringe")]
        np.testing.assert_allclose(moved, np.broadcast_to(want[:, None], moved.shape), atol=1e-6)

    def test_what_hair_covers_of_a_part(self) -> None:
        scene: Any = replace(scene_of(), parser=dark_is_hair)
        with torch.no_grad():
            scene = replace(scene, hair=scene.hair_of(scene.scores(scene.pictures, slice(None))))
        part = torch.zeros_like(scene.hair)
        part[..., :8] = 1
        none = torch.zeros(scene.codes.shape[-1])
        want = (scene.hair[..., :8]).mean()
        assert share_seen(scene, none, part) == pytest.approx(float(want), abs=1e-4)
        assert abs(share_seen(scene, none + 1, part) - float(want)) > 0.01


@pytest.mark.parametrize(
    ("amount", "keeps"), [(0.5, True), (-0.5, False), (Curve([(0, -1.0), (1, 1.0)]), False)]
)
def test_longer_hair_keeps_all_that_there_is(amount: float | Curve, keeps: bool) -> None:
    drawn = load_recipe("hair_length", {"compose.mode": "replace"})
    recipe = replace(drawn, edits=(HairLength(amount=amount),))
    assert (makers_of(recipe)["reshaped"] is lengthened_beside_face) == keeps
    both = load_recipe("longer_auburn", {"compose.mode": "replace"})
    assert makers_of(both)["reshaped"] is lengthened_beside_face


class TestLength:
    """Hair is cut, falls or grows in the frames themselves, whatever a pack would draw of it."""

    @pytest.mark.parametrize("amount", [-0.8, 0.5, Curve([(0, 0.0), (1, -1.0)])])
    def test_it_needs_no_generator(self, amount: float | Curve) -> None:
        edit = HairLength(amount=amount)
        edit.check(pack_of(None), "edit")
        found = makers_of(replace(load_recipe("hair_length"), edits=(edit,)))
        assert "edited" not in found or "reshaped" not in found
        assert ("worn" in found) == edit.longer, "strands are rendered only where hair may grow"

    def made(self, cut: float, longer: float, grows: bool = False) -> tuple[Any, Any]:
        """The frame and what is made of hair from row 5 to 54, columns 12 to 27, of which a hand
        hides the right third. What may be worn is grey, from row 5 to 58."""
        size, grid = (60, 40), HairWindow(0, 0, 1, 60, 40, 40.0)
        track = face_track([(20.0, 30.0, 8.0)], Box(0.0, 10.0, 40.0))
        alpha = np.zeros((1, *size), np.uint8)
        alpha[0, 5:55, 12:28] = 255
        seen = np.repeat(np.where(alpha, 40, 200).astype(np.uint8)[..., None], 3, -1)
        numbers = np.zeros(1, np.float32), np.zeros((1, 3), np.float32)
        bare = Bare(np.full_like(seen, 200), alpha, np.zeros_like(alpha), alpha)
        pose = HeadPose(np.eye(3)[None], np.full(1, 10.0), np.array([[20.0, 25.0]]))
        front = np.zeros_like(alpha)
        front[0, :, 24:] = 255
        fall = HairFall(
            np.full(1, cut, np.float32), np.full(1, longer, np.float32), np.full(1, grows), 1.0
        )
        given = (
            Frames.of_pixels(seen), bare, Matte(alpha, *numbers), track, pose,
            Skull(np.array(CENTRE), np.array(AXES)), without_arms(front), fall,
        )  # fmt: skip
        wig = np.zeros_like(alpha)
        wig[0, 5:58, 12:28] = 255
        levels = np.where(wig[..., None] > 0, 120, 200).astype(np.uint8).repeat(3, -1)
        edit = HairLength(amount=0.5)
        made = edit.grown(*given, Worn(levels, np.full_like(wig, 255), wig), grid, map)
        if not (longer or grows):
            alone = HairLength(amount=-1.0).shortened(*given, grid, map)
            assert all(
                np.array_equal(a, b)
                for a, b in zip(vars(made).values(), vars(alone).values(), strict=True)
            )
        return seen, made

    def test_hair_goes_below_the_cut_alone(self) -> None:
        seen, made = self.made(1.0, 0.0)
        assert (made.levels[0, 40:, :22] == 200).all() and not made.alpha[0, 40:].any()
        assert np.array_equal(made.levels[0, :30], seen[0, :30])
        assert np.array_equal(made.levels[0, 40:, 26:], seen[0, 40:, 26:]), "a hand in front"

    def test_long_hair_falls_further_down_in_the_frames(self) -> None:
        seen, made = self.made(np.inf, 0.5)
        assert (made.levels[0, 57, 14:20] < 60).all() and made.alpha[0, 57, 14:20].min() > 200
        assert np.array_equal(made.levels[0, :8], seen[0, :8])

    def test_short_hair_gives_way_to_what_grows(self) -> None:
        seen, made = self.made(np.inf, 0.0, grows=True)
        assert (made.levels[0, 6:57, 13:22] == 120).all() and made.alpha[0, 6:57, 13:22].all()
        assert np.array_equal(made.levels[0, :, 26:], seen[0, :, 26:]), "a hand in front"

    def test_where_it_grew_less_it_is_cut(self) -> None:
        _, made = self.made(1.0, 0.0, grows=True)
        assert (made.levels[0, 8:30, 13:22] == 120).all()
        assert (made.levels[0, 42:, :22] == 200).all() and not made.alpha[0, 42:, :22].any()

    def test_long_hair_has_nothing_rendered(self) -> None:
        track = InMemory(face_track([(20.0, 30.0, 8.0)], Box(0.0, 10.0, 40.0)))
        tone = InMemory(HairTone(np.zeros(1, np.float32), np.zeros((1, 3), np.float32)))
        none = np.full((1, 49), np.nan, np.float32)
        line = InMemory(Hairline(none[:, 0], none[:, 0], *[none] * 5))
        look = HairLook(0.0, np.zeros((17, 3), np.float32), 1.0)
        found = HairLength(amount=0.5).photo_hair(HairEnd(2.0), line, look, tone, track)
        assert not found.alpha.any() and np.isfinite(found.rotation).all() and found.side > 0

    @pytest.mark.parametrize(
        ("fringed", "agree"), [(False, 1.0), (True, 1.0), (True, WAVY - 0.01), (False, CURLY - 0.1)]
    )
    def test_what_grows_is_as_long_as_asked_as_curly_and_keeps_a_fringe(
        self, monkeypatch: pytest.MonkeyPatch, fringed: bool, agree: float
    ) -> None:
        rendered: list[StrandStyle] = []

        def render(style: StrandStyle) -> PhotoHair:
            rendered.append(style)
            return photo()

        monkeypatch.setattr(hair_attribute, "strand_hair", render)
        ones, none = np.ones((1, 49), np.float32), np.zeros((1, 49), np.float32)
        line = Hairline(none[:, 0], ones[:, 0], -ones, fringed * ones, ones, none, ones)
        track = InMemory(face_track([(20.0, 30.0, 8.0)], Box(0.0, 10.0, 40.0)))
        tone = InMemory(HairTone(np.zeros(1, np.float32), np.zeros((1, 3), np.float32)))
        for amount in (0.3, 0.9):
            end, look = HairEnd(0.2), HairLook(0.0, np.zeros((17, 3), np.float32), agree)
            HairLength(amount=amount).photo_hair(end, InMemory(line), look, tone, track)
        assert [style.fringe > 0 for style in rendered] == [fringed, fringed]
        assert rendered[1].sides > rendered[0].sides + 0.4
        assert {style.curl > 0 for style in rendered} == {agree < CURLY}
        assert {style.wave > 0.03 for style in rendered} == {CURLY < agree < WAVY}

    @pytest.mark.slow
    def test_a_whole_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hair that counts as short gives way to strands of its color that hang below it."""
        monkeypatch.setattr(ends, "LONG", 9.0)
        monkeypatch.setattr(wigs, "SIZE", (400, 500))
        with open_clip(small.clip()) as reader:
            flow, runner = small.flow_on(
                MemoryStore(), reader, name="hair_length", until="layer",
                changes={"edit.amount": 0.7, "matte.segmenter": "none"},
            )  # fmt: skip
            count = reader.clip.frame_count
            own, worn = (flow.value(runner.work, name, 0, count) for name in ("matte", "bent"))
            made = flow.value(runner.work, "composed", 0, count).pixels
            source = reader.read(0, count)
        rows = [np.flatnonzero((m.alpha > 200).any((0, 2))) for m in (own, worn)]
        assert rows[1].max() > rows[0].max() + 3
        assert (made != source).any() and (made == source).mean() > 0.2
