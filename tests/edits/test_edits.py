from dataclasses import FrozenInstanceError, asdict

import pytest

from vidhair.edits import EDITS, Bald, HairColor, HairLength, Reconstruct
from vidhair.edits.colors import parse_color
from vidhair.errors import InvalidSetting
from vidhair.settings import configure


@pytest.mark.parametrize("kind", EDITS)
def test_a_kind_is_found_by_its_own_name(kind):
    assert EDITS[kind].kind == kind


@pytest.mark.parametrize("kind", EDITS)
def test_defaults_are_allowed_values(kind):
    edit = EDITS[kind]()
    assert configure(EDITS[kind], asdict(edit), "edit") == edit


def test_the_default_color_is_one():
    parse_color(HairColor().color)


def test_kinds_with_equal_settings_differ():
    assert Bald(strength=1.0) != HairColor(strength=1.0)


def test_an_edit_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Bald().strength = 0.5


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("hair_color", {"strength": 2.5}),
        ("hair_color", {"strength": float("nan")}),
        ("hair_color", {"color": 7}),
        ("hair_length", {"amount": -1.6}),
        ("bald", {"strength": -0.1}),
        ("attribute", {"strength": "much"}),
        ("reconstruct", {"strength": 1.0}),
        ("hair_color", {"colour": "red"}),
    ],
)
def test_values_out_of_bounds_and_unknown_settings_are_refused(kind, values):
    (name,) = values
    with pytest.raises(InvalidSetting, match=f"edit.{name}"):
        configure(EDITS[kind], values, "edit")


def test_bounds_themselves_are_allowed():
    assert configure(HairLength, {"amount": -1.5}, "edit").amount == -1.5
    assert configure(Bald, {"strength": 2}, "edit").strength == 2.0
    assert configure(Reconstruct, {}, "edit") == Reconstruct()
