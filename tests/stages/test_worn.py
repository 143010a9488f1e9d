"""New hair over a head, from back to front."""

from typing import Any

import numpy as np
import pytest

from tests.stages.faces import face_track
from tests.stages.photos import photo, turned
from vidhair.geometry import Box, Grid
from vidhair.imaging.motion import sample
from vidhair.stages.matte import mean_of
from vidhair.stages.photo_fit import POINTS, PhotoFit, lit, photo_places
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import Place, look, mean_skull
from vidhair.stages.worn import over, unseen_hair, worn_tone

SHAPE = (40, 50)


def plane(value: float = 0.0) -> Any:
    return np.full(SHAPE, value, np.float32)


def all_worn(**given: Any) -> Any:
    """A grey head, skin at its left, the frame's own at the right half, under red hair."""
    changed = np.zeros(SHAPE, np.uint8)
    changed[:, :25] = 255
    usual = {
        "bare": np.full((*SHAPE, 3), 120, np.uint8), "changed": changed,
        "scalp": np.zeros(SHAPE, np.uint8), "person": plane(), "body": plane(), "oval": plane(),
        "hair": np.full((*SHAPE, 3), 200, np.float32) * [1, 0, 0], "alpha": plane(),
        "behind": plane(), "unseen": (np.zeros((*SHAPE, 3), np.float32), plane()),
        "centre": np.array([25.0, 20.0]), "side": 60.0, "grain": plane(),
    }  # fmt: skip
    return over(**(usual | given))


def worn(**given: Any) -> Any:
    return all_worn(**given)[:2]


def test_without_hair_the_bare_head_is_shown_bit_for_bit() -> None:
    levels, changed = worn()
    assert (levels == 120).all() and (changed[:, :25] == 255).all() and not changed[:, 25:].any()


def test_hair_lies_over_all() -> None:
    levels, changed = worn(alpha=plane(1.0), person=plane(1.0), oval=plane(1.0))
    assert (levels == [200, 0, 0]).all() and (changed == 255).all()


def beside() -> Any:
    """Hair at both sides."""
    alpha = plane()
    alpha[:, :2] = alpha[:, -2:] = 1
    return alpha


def test_what_is_behind_is_hidden_by_face_and_body_and_is_darker() -> None:
    oval, person = plane(), plane()
    oval[:10], person[20:30] = 1, 1
    given = {"behind": plane(1.0), "alpha": beside(), "oval": oval, "person": person}
    levels, _ = worn(**given, changed=np.zeros(SHAPE, np.uint8))
    inner = levels[:, 6:-6]
    assert (inner[3:7] == 120).all() and (inner[23:27] == 120).all()
    assert (inner[12:18, :, 1] == 0).all() and (inner[12:18, :, 0] < 190).all()


def test_a_border_that_is_mixed_with_what_was_behind_is_hair() -> None:
    """A bright wall would stand as a line between a jaw and dark hair behind it."""
    person = plane()
    person[:, 10:40] = 1
    given = {"behind": plane(1.0), "alpha": beside(), "person": person, "side": 500.0}
    levels, _ = worn(**given, changed=np.zeros(SHAPE, np.uint8))
    assert (levels[:, 10:12, 1] == 0).all() and (levels[:, 38:40, 1] == 0).all()
    assert (levels[:, 13:37] > 110).all()


def test_all_that_is_seen_of_new_hair_is_hair_for_what_comes_next() -> None:
    """A dye, which would leave what lies behind a neck in its own color."""
    person, scalp = plane(), np.zeros(SHAPE, np.uint8)
    person[20:], scalp[5:10, 20:30] = 1, 255
    given = {"behind": plane(1.0), "alpha": beside(), "person": person, "scalp": scalp}
    levels, _, hair = all_worn(
        **given, unseen=(np.zeros((*SHAPE, 3)), plane(1.0)), changed=np.zeros(SHAPE, np.uint8)
    )
    assert hair[:18].min() > 0.99 and not hair[23:, 6:-6].any()
    assert ((levels[..., 1] < 60) == (hair > 0.5)).mean() > 0.95


def test_what_is_behind_is_hidden_by_a_body_that_is_drawn_as_by_one_that_is_seen() -> None:
    body = plane()
    body[20:] = 1
    levels, _ = worn(behind=plane(1.0), alpha=beside(), person=plane(1.0), body=body)
    assert (levels[:20, 6:25, 1] == 0).all() and (levels[:20, 25:-6] == 120).all()
    assert (levels[20:, 6:-6] == 120).all()


def test_nothing_behind_is_seen_beyond_both_hair_and_person() -> None:
    alpha, person = plane(), plane()
    alpha[:15, 15:35], person[17:] = 1, 1
    levels, _ = worn(behind=plane(1.0), alpha=alpha, person=person, side=80.0,
                     changed=np.zeros(SHAPE, np.uint8))  # fmt: skip
    assert (levels[:10, :14] == 120).all() and (levels[:10, 36:] == 120).all(), "no halo"
    assert (levels[15:17, 20:30, 1] == 0).all(), "a gap is hair"


def test_the_soft_border_of_a_person_without_hair_beside_it_stays() -> None:
    person = plane()
    person[:, 10:40], person[:, [9, 40]] = 1, 0.5
    levels, _ = worn(behind=plane(1.0), person=person, side=500.0,
                     changed=np.zeros(SHAPE, np.uint8))  # fmt: skip
    assert (levels == 120).all()


def test_skin_below_hair_is_in_its_shadow() -> None:
    alpha = plane()
    alpha[:15] = 1
    levels, changed = worn(alpha=alpha, oval=plane(1.0))
    assert levels[16, 40, 1] < 110 < levels[35, 40, 1]
    assert changed[16, 40] > 0 == changed[35, 40]


def test_what_the_photo_does_not_show_is_hair_on_the_scalp_only() -> None:
    scalp = np.zeros(SHAPE, np.uint8)
    scalp[:20] = 255
    color = np.full((*SHAPE, 3), 30, np.float32)
    levels, _ = worn(scalp=scalp, unseen=(color, plane(1.0)))
    assert (levels[:20] == 30).all() and (levels[20:] == 120).all()


def test_thin_hair_has_no_line_where_the_scalp_ends_and_the_face_begins() -> None:
    scalp, alpha, oval = np.full(SHAPE, 255, np.uint8), plane(), plane()
    alpha[:30], oval[12:] = 0.5, 1
    levels, _ = worn(scalp=scalp, alpha=alpha, oval=oval, side=100.0)
    steps = np.abs(np.diff(levels[:25, 25, 1].astype(int)))
    assert levels[2, 25, 1] < 35 and levels[24, 25, 1] > 50 and steps.max() < 8


def test_no_scalp_is_left_outside_of_the_hair_and_all_within() -> None:
    scalp, alpha = np.full(SHAPE, 255, np.uint8), plane()
    alpha[8:12, 10:40] = 1
    levels, _ = worn(scalp=scalp, alpha=alpha)
    assert (levels[6, 20:30, 1] == 0).all(), "above it"
    assert levels[18, 25, 1] > 100, "on the forehead"


def test_the_tone_of_new_hair_is_about_that_of_all_its_samples() -> None:
    given, count = photo(), 2
    at = Place(given.rotation, 1.2 * given.scale, np.array([150.0, 170.0]))
    track = face_track([(150.0, 170.0, 40.0), None], Box(0.0, 0.0, 240.0))
    bent = np.zeros((count, len(POINTS), 2), np.float32)
    light = np.zeros((count, 3, 3), np.float32)
    light[:, 1, 0] = -0.2
    turn, scale, shift = (
        np.stack([one] * count) for one in (at.rotation, np.array(at.scale), at.shift)
    )
    fit = PhotoFit(turn, scale, shift, bent, bent, light, given.long)
    window = HairWindow(0, 0, 1, 360, 300, 240.0)
    tone = worn_tone(track, given, fit, window)
    places = photo_places(given, at, bent[0], given.long, window)
    hair = sample(given.levels.astype(np.float32), places)
    sure = sample(given.alpha, places) > 0.95 * 255
    levels = np.rint(lit(hair, light[0], at, window)).astype(np.uint8)
    area, lab = mean_of(levels, sure)
    assert tone.area[0] == pytest.approx(area, rel=0.05) and tone.area[1] == 0
    np.testing.assert_allclose(tone.mean_lab[0], lab, atol=0.6)
    assert not tone.mean_lab[1].any()


class TestUnseen:
    @pytest.mark.parametrize(("degrees", "least", "most"), [(0, 0, 0.06), (35, 0.07, 0.4)])
    def test_only_what_has_turned_into_view(
        self, degrees: float, least: float, most: float
    ) -> None:
        head, at = mean_skull(1.0), Place(turned(degrees), 40.0, np.array([75.0, 110.0]))
        here = look(head, at, Grid(0, 0, 1, 150, 150))
        _, cover = unseen_hair(photo(), here, head, 1.0)
        share = (cover * (here.inside > 1)).sum() / (here.inside > 1).sum()
        assert least <= share <= most

    def test_it_lies_where_the_photo_shows_its_like(self) -> None:
        head, given = mean_skull(1.0), photo()
        at = Place(given.rotation, given.scale, given.shift)
        here = look(head, at, Grid(0, 0, 1, 300, 240))
        places, _ = unseen_hair(given, here, head, 1.0)
        rows, columns = np.nonzero(here.inside[:130] > 2)  # above the nape
        np.testing.assert_allclose(places[rows, columns, 0], columns, atol=0.2)
        np.testing.assert_allclose(places[rows, columns, 1], rows, atol=0.2)
