from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest

from vidhair.edits import EDITS, Bald, HairColor, HairLength, Reconstruct
from vidhair.edits.edit import Edit
from vidhair.errors import InvalidSetting
from vidhair.imaging.named_colors import parse_color
from vidhair.settings import configure


@pytest.mark.parametrize("kind", EDITS)
def test_a_kind_is_found_by_its_own_name(kind: str) -> None:
    assert EDITS[kind].kind == kind


@pytest.mark.parametrize("kind", EDITS)
def test_defaults_are_allowed_values(kind: str) -> None:
    edit = EDITS[kind]()
    assert configure(EDITS[kind], asdict(edit), "edit") == edit


def test_the_default_color_is_one() -> None:
    parse_color(HairColor().color)


def test_kinds_with_equal_settings_differ() -> None:
    bald: Edit = Bald(strength=1.0)
    assert bald != HairColor(strength=1.0)


def test_an_edit_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Bald().strength = 0.5  # type: ignore[misc]


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
def test_values_out_of_bounds_and_unknown_settings_are_refused(
    kind: str, values: dict[str, Any]
) -> None:
    (name,) = values
    with pytest.raises(InvalidSetting, match=f"edit.{name}"):
        configure(EDITS[kind], values, "edit")


def test_bounds_themselves_are_allowed() -> None:
    assert configure(HairLength, {"amount": -1.5}, "edit").amount == -1.5
    assert configure(Bald, {"strength": 2}, "edit").strength == 2.0
    assert configure(Reconstruct, {}, "edit") == Reconstruct()
