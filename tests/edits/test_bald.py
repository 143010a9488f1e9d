from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.edits.codes import (
    CUTS,
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
from tests.stages.series import InMemory
from vidhair.edits import Bald
from vidhair.edits.bald import NO_HAIR
from vidhair.edits.edit import Strength
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.mappers import BaldMapper
from vidhair.stages.render import Codes

SHOTS = slice(0, 4), slice(4, 7)


def bared(
    strength: Strength, space: AttributeSpace | None = SPACE, mapper: BaldMapper | None = None
) -> NDArray[Any]:
    given = styles()
    edit, codes = Bald(), Codes(given)
    changes = edit.shot_changes(InMemory(codes), InMemory(TRACK), space, mapper)
    got = edit.bared(codes, TRACK, strength, changes).styles
    assert np.array_equal(given, styles()), "what is given is left alone"
    return got


def mapper_of() -> BaldMapper:
    return BaldMapper(D, depth=2, strength=0.7).requires_grad_(False)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_the_mean_of_every_shot_comes_towards_no_hair(strength: float) -> None:
    got = bared(steady(strength))
    for shot in SHOTS:
        rows = np.flatnonzero(PRESENT[shot]) + shot.start
        before, after = (
            SPACE.read(torch.from_numpy(codes[rows].mean(0))) for codes in (styles(), got)
        )
        bare = list(range(len(NO_HAIR)))
        torch.testing.assert_close(after[bare], before[bare] * (1 - strength), atol=1e-5, rtol=0)
        torch.testing.assert_close(after[len(bare) :], before[len(bare) :])


@pytest.mark.parametrize("space", [None, SPACE])
def test_a_mapper_goes_before_attributes(space: AttributeSpace | None) -> None:
    mapper = mapper_of()
    change = bared(steady(0.5), space, mapper) - styles()
    for shot in SHOTS:
        mean = torch.from_numpy(styles()[shot][PRESENT[shot]].mean(0))
        want = (0.5 * 0.7 * mapper(mean[None])).numpy()
        got = change[shot][PRESENT[shot]]
        np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-6)


@pytest.mark.parametrize("mapper", [None, mapper_of()], ids=["attributes", "mapper"])
def test_all_frames_of_a_shot_change_alike_each_by_its_share(mapper: BaldMapper | None) -> None:
    full, change = (bared(s, mapper=mapper) - styles() for s in (steady(1.0), RAMP))
    assert np.array_equal((full != 0).any((1, 2)), PRESENT)
    for shot in SHOTS:
        assert np.ptp(full[shot][PRESENT[shot]], axis=0).max() < 1e-6
    assert CUTS[4] and np.abs(full[0] - full[4]).max() > 1e-3
    np.testing.assert_allclose(change, RAMP.values[:, None, None] * full, atol=1e-6)


def test_a_pack_needs_a_mapper_or_all_of_the_hairs_attributes() -> None:
    Bald().check(pack_of(SPACE), "edit")
    Bald().check(pack_of(None, "bald_mapper"), "edit")
    with pytest.raises(InvalidSetting, match=r"edit\.2\.kind = 'bald'.*another pack"):
        Bald().check(pack_of(None), "edit.2")
    with pytest.raises(InvalidSetting, match="'hair_length', which this pack does not have"):
        Bald().check(pack_of(space_of(("hair_volume", "yaw"))), "edit")
