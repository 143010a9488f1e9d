from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidhair.errors import InvalidSetting
from vidhair.settings import Curve, configure, identity, rules, setting, values
from vidhair.stages.align import AlignConfig
from vidhair.stages.smooth import SmoothConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    strength: float = setting(1.0, "how much", low=0.0, high=2.0)
    steps: int = setting(10, "how often", low=1)
    sharp: bool = setting(True, "whether edges are kept")
    color: str = setting("brown", "of the hair")
    mode: str = setting("fast", "how", choices=("fast", "good"))
    limit: float | None = setting(None, "largest value", low=0.5)
    count: int | None = setting(3, "of pictures")
    either: int | float = setting(1, "any number")


@dataclass(frozen=True, kw_only=True)
class Nothing:
    pass


def refused(match: str, **values: Any) -> None:
    with pytest.raises(InvalidSetting, match=match):
        configure(Config, values, "render")


def test_values_are_taken_and_the_rest_keeps_its_default() -> None:
    config = configure(Config, {"strength": 0.5, "mode": "good"}, "render")
    assert config == Config(strength=0.5, mode="good")
    assert configure(Config, {}, "render") == Config()


def test_an_unknown_key_gets_a_suggestion() -> None:
    refused(r"render\.strenght is no setting; did you mean render\.strength\?", strenght=1.0)
    refused(r"render\.zzz is no setting; render has strength, steps, sharp", zzz=1)
    with pytest.raises(InvalidSetting, match="bald has no settings"):
        configure(Nothing, {"strength": 1}, "bald")


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"strength": "1"}, "a number"),
        ({"strength": True}, "a number"),
        ({"strength": None}, "a number"),
        ({"strength": [1.0]}, "a number"),
        ({"steps": 1.5}, "a whole number"),
        ({"steps": 2.0}, "a whole number"),
        ({"steps": True}, "a whole number"),
        ({"steps": "3"}, "a whole number"),
        ({"sharp": 1}, "true or false"),
        ({"sharp": "true"}, "true or false"),
        ({"color": 3}, "a text"),
        ({"color": None}, "a text"),
        ({"limit": "none"}, "a number or none"),
        ({"count": 1.0}, "a whole number or none"),
        ({"either": False}, "a whole number or a number"),
    ],
    ids=str,
)
def test_wrong_types_are_refused_with_the_right_one(values: dict[str, Any], wanted: str) -> None:
    name = next(iter(values))
    about = rules(Config)[name][1].about
    refused(rf"render\.{name} = .* must be {wanted} \({about}\)", **values)


def test_a_whole_number_is_taken_for_a_number() -> None:
    config = configure(Config, {"strength": 1, "limit": 2, "either": 2}, "render")
    assert config == Config(strength=1.0, limit=2.0, either=2)
    assert type(config.strength) is float and type(config.limit) is float
    assert type(config.either) is int


def test_none_only_where_the_annotation_has_it() -> None:
    assert configure(Config, {"limit": None, "count": None}, "render").count is None
    refused("steps = None must be", steps=None)


@pytest.mark.parametrize("value", [-0.001, 2.001, float("inf"), float("-inf"), float("nan")])
def test_bounds(value: Any) -> None:
    refused(r"render\.strength = \S+ is outside 0\.0 … 2\.0 \(how much\)", strength=value)


def test_bounds_are_inclusive_and_may_be_open() -> None:
    assert configure(Config, {"strength": 0.0}, "render").strength == 0
    assert configure(Config, {"strength": 2}, "render").strength == 2
    assert configure(Config, {"steps": 10**12}, "render").steps == 10**12
    refused("steps = 0 is outside 1 … any", steps=0)
    refused("limit = 0.4 is outside 0.5 … any", limit=0.4)
    refused("limit = nan", limit=float("nan"))
    refused("either = nan is outside any … any", either=float("nan"))


def test_choices() -> None:
    assert configure(Config, {"mode": "good"}, "render").mode == "good"
    refused("mode = 'best' must be one of fast, good", mode="best")


def test_fields_can_be_listed_with_their_rules() -> None:
    listed = rules(Config)
    assert list(listed) == [
        "strength", "steps", "sharp", "color", "mode", "limit", "count", "either",
    ]  # fmt: skip
    kind, rule = listed["strength"]
    assert kind is float and (rule.about, rule.low, rule.high) == ("how much", 0, 2)
    assert listed["mode"][1].choices == ("fast", "good")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just("fast"),
    st.lists(st.integers()),
)


@given(st.dictionaries(st.sampled_from(list(rules(Config))), ANYTHING))
def test_whatever_is_given_it_is_right_or_refused(values: Any) -> None:
    try:
        config = configure(Config, values, "render")
    except InvalidSetting as error:
        assert any(f"render.{name}" in str(error) for name in values)
        return
    assert 0 <= config.strength <= 2 and config.steps >= 1 and config.mode in ("fast", "good")
    assert type(config.strength) is float and type(config.steps) is int
    assert type(config.sharp) is bool and type(config.color) is str
    assert config.limit is None or config.limit >= 0.5


@pytest.mark.parametrize("stage", [AlignConfig, SmoothConfig])
def test_defaults_of_stages_obey_their_own_rules(stage: Any) -> None:
    assert is_dataclass(stage) and isinstance(stage, type)
    assert list(values(stage())) == list(rules(stage))
    assert configure(stage, values(stage()), "stage") == stage()


# ---- curves


@dataclass(frozen=True, kw_only=True)
class Graded:
    degree: float | Curve = setting(1.0, "how far", low=-1.0, high=2.0)


def graded(value: Any) -> float | Curve:
    return configure(Graded, {"degree": value}, "edit.2").degree


def test_points_are_a_curve_and_a_number_stays_one() -> None:
    assert graded(1) == 1.0 and type(graded(1)) is float
    curve = graded([[0, 0], (1.5, 1)])
    assert type(curve) is Curve and curve == ((0.0, 0.0), (1.5, 1.0))
    assert all(type(number) is float for point in curve for number in point)
    assert graded(curve) == curve


def test_a_curve_is_linear_between_its_points_and_held_outside() -> None:
    curve, constant = graded([[-1, 2], [1, 0], [2, -1]]), graded([[3, 0.25]])
    assert isinstance(curve, Curve) and isinstance(constant, Curve)
    seconds = np.array([-5, -1, 0, 0.5, 1, 1.75, 2, 9])
    np.testing.assert_allclose(curve.at(seconds), [2, 2, 1, 0.5, 0, -0.75, -1, -1])
    assert constant.at(seconds).tolist() == [0.25] * 8


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], r"= \[\] has no point"),
        ([[0, 0], [1]], r"point 2, \[1\], must be two numbers, \[seconds, value\]"),
        ([[0, 0, 0]], "point 1, .* must be two numbers"),
        ([0, 1], "point 1, 0, must be two numbers"),
        ([[0, "1"]], "must be two numbers"),
        ([[True, 1]], "must be two numbers"),
        ([[0, False]], "must be two numbers"),
        ([[0, 0], [0, 1]], r"0 s comes after 0 s; give the points in order of time"),
        ([[1, 0], [0.5, 1]], r"0\.5 s comes after 1 s"),
        ([[float("nan"), 0]], "is at no time"),
        ([[0, 0], [float("inf"), 1]], "is at no time"),
        ([[-float("inf"), 0]], "is at no time"),
        ([[10**400, 0]], "is at no time"),
        ([[0, 0], [1, 2.5]], r" at 1 s = 2\.5 is outside -1\.0 … 2\.0 \(how far\)"),
        ([[0, -1.01]], "is outside"),
        ([[0, 10**400]], "is outside"),
        ([[0, float("nan")]], "nan is outside"),
        ("[[0, 1]]", r"must be a number or points \[\[seconds, value\], …\]"),
    ],
)
def test_what_is_no_curve_is_refused_in_a_sentence(value: Any, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        graded(value)
    assert str(caught.value).startswith("edit.2.degree") and "\n" not in str(caught.value)


def test_where_no_curve_is_allowed_points_are_a_wrong_type() -> None:
    refused("strength = .* must be a number", strength=[[0, 1]])


def test_the_bounds_are_those_of_the_setting_at_every_point() -> None:
    assert graded([[0, -1], [1, 2]]) == ((0.0, -1.0), (1.0, 2.0))


def test_results_depend_on_the_points_and_on_the_number_where_there_is_one() -> None:
    assert identity(Graded(degree=graded([[0, 0], [1, 1]]))) == {"degree": ((0.0, 0.0), (1.0, 1.0))}
    assert type(identity(Graded(degree=graded([[0, 0], [1, 1]])))["degree"]) is tuple
    for steady in ([[0, 0.5]], [[0, 0.5], [3, 0.5]]):
        assert identity(Graded(degree=graded(steady))) == {"degree": 0.5}


@pytest.mark.parametrize("name", ["strength", "steps", "limit"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_of_hundreds_of_digits_is_refused_without_them(name: str, digits: int) -> None:
    for value in (10**digits, -(10**digits)):
        with pytest.raises(
            InvalidSetting, match=f"render.{name} = .*hundreds of digits is"
        ) as said:
            configure(Config, {name: value}, "render")
        assert len(str(said.value)) < 200


@pytest.mark.parametrize("point", [[10**5000, 0], [0, 10**5000], [10**5000], [0, 10**400]])
def test_nor_are_they_shown_of_a_curves_points(point: list[int]) -> None:
    with pytest.raises(InvalidSetting, match="number of hundreds of digits") as said:
        graded([point])
    assert len(str(said.value)) < 200
