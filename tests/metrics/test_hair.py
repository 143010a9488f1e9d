"""Numbers of recolored hair, on pictures of which they are known."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_mesh
from vidhair.imaging.color import delta_e_2000, levels_to_lab
from vidhair.metrics.hair import (
    AWAY,
    BAND,
    REGIONS,
    Recoloring,
    RecoloringMeter,
    lightest_beside,
    local_contrast,
    measure_recoloring,
    regions_of,
)
from vidhair.models.faces.landmarks import POINTS

SIDE = 96
LEFT = 48  # columns of hair; the right half is none
BROWN, WALL, BLUE = (70, 50, 40), (150, 150, 140), (40, 50, 140)


def prior() -> NDArray[Any]:
    found = np.zeros((SIDE, SIDE), np.float32)
    found[:, :LEFT] = 1
    return found


def picture(
    hair: tuple[int, ...] = BROWN, wall: tuple[int, ...] = WALL, noise: int = 6
) -> NDArray[Any]:
    """Hair on the left with strands of some noise, a plain wall on the right."""
    random = np.random.default_rng(1)
    found = np.zeros((SIDE, SIDE, 3), np.uint8)
    strands = random.integers(-noise, noise + 1, (SIDE, LEFT, 1))
    found[:, :LEFT] = np.clip(np.array(hair) + strands, 0, 255)
    found[:, LEFT:] = wall
    return found


def measured(edited: NDArray[Any], source: NDArray[Any] | None = None, **more: Any) -> Recoloring:
    return measure_recoloring(
        [picture() if source is None else source], [edited], [prior()], **more
    )


def lab(color: tuple[int, ...]) -> NDArray[Any]:
    return levels_to_lab(torch.tensor(color, dtype=torch.uint8)[None, None, None])[
        0, :, 0, 0
    ].numpy()


def difference(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    return float(delta_e_2000(torch.tensor(lab(a)), torch.tensor(lab(b)), dim=0))


def test_what_was_not_edited_neither_leaks_nor_changes() -> None:
    found = measured(picture())
    assert found.leak.change == found.leak.seen == found.coverage == found.halo == 0
    assert found.progress == 0
    assert found.contrast == 1
    assert found.hair == LEFT / SIDE
    assert np.isnan(found.flicker) and np.isnan(found.boil), "one frame does not flicker"


def test_leaks_are_told_by_region_and_only_away_from_hair() -> None:
    edited, spot = picture(), np.zeros((SIDE, SIDE), bool)
    edited[:, LEFT : LEFT + AWAY] = BLUE  # too near to count
    edited[:48, SIDE - 10 :] = BLUE
    spot[:48, SIDE - 10 :] = True
    found = measured(edited, regions=[{"ear": spot, "neck": ~spot}])
    away = SIDE * (SIDE - LEFT - AWAY)
    assert found.leak.pixels == away
    assert found.leak.seen == pytest.approx(480 / away)
    assert found.leak.change == pytest.approx(480 / away * difference(WALL, BLUE), rel=1e-4)
    assert found.regions["ear"].change == pytest.approx(difference(WALL, BLUE), rel=1e-4)
    assert found.regions["ear"].seen == 1 and found.regions["ear"].pixels == 480
    assert found.regions["neck"].change == 0 and found.regions["neck"].pixels == away - 480


def test_hair_that_is_no_hair_at_all_may_leak_to_its_border() -> None:
    faint = prior()
    faint[0, SIDE - 1] = 0.03  # not surely none
    edited = picture()
    edited[: AWAY + 1, SIDE - AWAY - 1 :] = BLUE
    found = measure_recoloring([picture()], [edited], [faint])
    assert found.leak.change == 0
    edited[AWAY + 1, SIDE - 1] = BLUE
    assert measure_recoloring([picture()], [edited], [faint]).leak.change > 0


def test_progress_is_the_share_of_pixels_that_went_most_of_the_way() -> None:
    target = lab(BLUE)[1:]
    assert measured(picture(BLUE), target=target).progress > 0.99
    assert measured(picture(), target=target).progress == 0
    half = picture(BLUE)
    half[: SIDE // 2] = picture()[: SIDE // 2]
    assert measured(half, target=target).progress == pytest.approx(0.5, abs=0.03)


def test_a_color_that_is_there_already_is_reached() -> None:
    found = measured(picture((90, 70, 60)), target=lab(BROWN)[1:])
    assert found.progress > 0.9


def test_without_a_target_progress_is_how_evenly_it_changed() -> None:
    assert measured(picture(BLUE)).progress > 0.95
    uneven = picture(BLUE)
    uneven[: SIDE // 2, :LEFT] = picture()[: SIDE // 2, :LEFT]
    assert measured(uneven).progress == pytest.approx(0.5, abs=0.03)


def test_contrast_is_that_of_strands() -> None:
    flat = np.zeros((SIDE, SIDE, 3), np.uint8)
    flat[:, :LEFT], flat[:, LEFT:] = BROWN, WALL
    assert measured(flat).contrast < 0.01
    assert measured(picture(noise=12), picture(noise=6)).contrast == pytest.approx(2, abs=0.25)


def test_local_contrast_is_the_deviation_in_a_window() -> None:
    stripes = np.tile(np.array([40.0, 60.0], np.float32), (20, 10))
    assert local_contrast(stripes)[10, 10] == pytest.approx(10, rel=0.02)
    assert local_contrast(np.full((20, 20), 50, np.float32)).max() == 0


def test_a_bright_rim_is_a_halo() -> None:
    edited = picture()
    edited[:, LEFT : LEFT + 2] = 220
    found = measured(edited)
    assert found.halo == pytest.approx(2 / (2 * BAND), abs=0.01)


def test_a_rim_that_was_there_before_is_none() -> None:
    source = picture()
    source[:, LEFT : LEFT + 2] = 220
    assert measured(source.copy(), source).halo == 0


def test_hair_lighter_than_the_wall_is_no_halo() -> None:
    assert measured(picture((230, 220, 200))).halo < 0.02


def test_both_sides_are_looked_at_nearby() -> None:
    """A lamp in a far corner does not allow a bright rim here."""
    lightness = np.full((SIDE, SIDE), 50, np.float32)
    hair, band = prior() > 0.5, np.zeros((SIDE, SIDE), bool)
    band[:, LEFT - BAND : LEFT + BAND] = True
    lightness[-8:, -8:] = 100
    limit = lightest_beside(lightness, hair, ~hair, band)
    assert limit[0, LEFT] == 50
    assert np.isinf(limit[0, 0])  # no band in that tile


def test_flicker_is_that_of_the_edit_over_the_sources() -> None:
    sources = [picture((70 + d, 50 + d, 40 + d)) for d in (0, 2, 0, 2)]
    edited = [picture((70 + d, 50 + d, 40 + d)) for d in (0, 4, 0, 4)]
    same = measure_recoloring(sources, sources, [prior()] * 4)
    more = measure_recoloring(sources, edited, [prior()] * 4)
    assert same.flicker == 1 and more.flicker == pytest.approx(2, rel=0.1)
    assert same.boil == 0


def test_a_border_that_jumps_boils() -> None:
    source, edited = picture(), [picture(BLUE), picture(BLUE)]
    edited[1][:, LEFT - 4 : LEFT] = source[:, LEFT - 4 : LEFT]
    found = measure_recoloring([source] * 2, edited, [prior()] * 2)
    assert found.boil == pytest.approx(4 / (2 * BAND), abs=0.02)


def test_nothing_is_compared_over_a_cut() -> None:
    meter = RecoloringMeter()
    meter.add(picture(), picture(), prior())
    meter.cut()
    meter.add(picture(BLUE), picture(), prior())
    assert np.isnan(meter.result().flicker)


def test_coverage_is_of_all_hair() -> None:
    edited = picture(BLUE)
    edited[:24] = picture()[:24]
    assert measured(edited).coverage == pytest.approx(0.75, abs=0.01)


def test_clips_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        measure_recoloring([picture()], [picture()] * 2, [prior()] * 2)


class TestRegions:
    def test_lie_around_the_face_and_share_no_pixel(self) -> None:
        person = np.zeros((200, 160), np.float32)
        person[30:200, 30:130] = 1
        mesh = face_mesh(80, 80, 40)
        mesh[[234, 454]] = [[50, 80], [110, 80]]
        mesh[[10, 152, 172, 397]] = [[80, 40], [80, 120], [62, 108], [98, 108]]
        mesh[2], mesh[9] = [80, 90], [80, 60]
        found = regions_of(mesh, person)
        assert set(found) == set(REGIONS)
        assert (np.sum(list(found.values()), axis=0) == 1).all()
        for name, (x, y) in {
            "face": (80, 70), "beard": (80, 112), "ear": (45, 80), "neck": (80, 135),
            "clothes": (40, 190), "person": (80, 33), "background": (5, 5),
        }.items():  # fmt: skip
            assert found[name][y, x], name

    def test_without_a_face_there_are_a_person_and_what_is_none(self) -> None:
        person = np.zeros((20, 20), np.float32)
        person[5:] = 1
        found = regions_of(np.full((POINTS, 2), np.nan, np.float32), person)
        assert {name for name, mask in found.items() if mask.any()} == {"person", "background"}
        assert (found["person"] == (person > 0.5)).all()
