"""Edits along one attribute of a pack."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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
from vidhair.edits import Attribute, Fringe, HairLength, Volume, Wave
from vidhair.edits.edit import GradedEdit, Strength
from vidhair.errors import InvalidSetting
from vidhair.stages.render import Codes


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


@pytest.mark.parametrize("edit", [HairLength(), Fringe(), Wave(), Volume(), Attribute()])
def test_a_pack_without_attributes_cannot(edit: GradedEdit) -> None:
    edit.check(pack_of(SPACE), "edit")
    with pytest.raises(InvalidSetting, match=rf"edit\.3\.kind = '{edit.kind}'.*another pack"):
        edit.check(pack_of(None), "edit.3")


def test_an_unknown_attribute_is_said_with_those_there_are() -> None:
    with pytest.raises(InvalidSetting) as error:
        Attribute(name="height").check(pack_of(SPACE), "edit")
    assert "edit.name = 'height'" in str(error.value)
    assert all(name in str(error.value) for name in NAMES)


def test_hair_length_where_the_pack_has_none() -> None:
    with pytest.raises(InvalidSetting, match="hair_length"):
        HairLength().check(pack_of(space_of(("smile", "yaw"))), "edit")
