"""Settings: small frozen dataclasses whose fields know their bounds and what they are for."""

import dataclasses
import difflib
import itertools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import InvalidSetting

T = TypeVar("T")

LAST_SECOND = 1e9  # of a curve
LARGEST = 10**300  # of whole numbers; a float is hardly larger
SHOWN = 10**60  # up to which a message writes digits


@dataclass(frozen=True)
class Rule:
    """What a setting means and which values it may take (bounds inclusive).

    affects: whether it changes results, and not only how fast they come.
    """

    about: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    affects: bool = True


class Curve(tuple[tuple[float, float], ...]):
    """A value that changes over time: points (seconds from the clip's first frame, value), linear
    between them and held outside."""

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(value for _, value in self)

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its values, float64 of the shape of `seconds`."""
        return np.interp(seconds, [time for time, _ in self], self.values)


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    affects: bool = True,
) -> Any:
    """A dataclass field with a rule."""
    rule = Rule(about, low, high, choices, affects)
    return dataclasses.field(default=default, metadata={"rule": rule})


def rules(cls: type) -> dict[str, tuple[Any, Rule]]:
    """name → (type, rule) of every setting of a configuration class."""
    hints = typing.get_type_hints(cls)
    return {_name(f.name): (hints[f.name], f.metadata["rule"]) for f in dataclasses.fields(cls)}


def _name(field: str) -> str:
    """A setting that is called as a word of Python has an underscore behind it where it is a
    field."""
    return field.removesuffix("_")


def values(config: Any) -> dict[str, Any]:
    """Every setting of a configuration with its value."""
    return {_name(f.name): getattr(config, f.name) for f in dataclasses.fields(config)}


def identity(config: Any) -> dict[str, Any]:
    """The settings of a configuration that results depend on, as plain values."""
    known = rules(type(config))
    return {n: _plain(value) for n, value in values(config).items() if known[n][1].affects}


def _plain(value: Any) -> Any:
    """A curve that never changes is the number that it holds."""
    if not isinstance(value, Curve):
        return value
    return value[0][1] if len(set(value.values)) == 1 else tuple(value)


def configure(cls: type[T], given: Mapping[str, Any], table: str) -> T:
    """Build a configuration from plain values. table: its name in messages.

    Raises InvalidSetting for unknown keys, wrong types and values out of bounds.
    """
    known = rules(cls)
    checked = {}
    for name, value in given.items():
        if name not in known:
            raise InvalidSetting(f"{table}.{name} is no setting; {_suggest(name, known, table)}")
        kind, rule = known[name]
        checked[name] = _check(value, kind, rule, f"{table}.{name}")
    fields = {_name(f.name): f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{fields[name]: value for name, value in checked.items()})


def _suggest(name: str, known: Mapping[str, Any], table: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {table}.{close[0]}?"
    return f"{table} has {', '.join(known)}" if known else f"{table} has no settings"


def _check(value: Any, kind: Any, rule: Rule, where: str) -> Any:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and types.NoneType in options:
        return None
    if Curve in options and isinstance(value, list | tuple):
        return _checked_curve(value, rule, where)
    if float in options and isinstance(value, int) and not isinstance(value, bool):
        _check_bounds(value, rule, where)
        value = value if int in options else float(value)
    if not any(isinstance(value, o) and isinstance(value, bool) == (o is bool) for o in options):
        wanted = " or ".join(_TYPE_NAMES.get(o, o.__name__) for o in options)
        raise InvalidSetting(f"{where} = {_shown(value)} must be {wanted} ({rule.about})")
    if rule.choices is not None and value not in rule.choices:
        raise InvalidSetting(f"{where} = {_shown(value)} must be one of {', '.join(rule.choices)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_bounds(value, rule, where)
    return value


def _shown(value: Any) -> str:
    """A value in a message; of a number of hundreds of digits so many as tell it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if not isinstance(value, int) or abs(value) < SHOWN:
        return repr(value)
    return f"{'−' if value < 0 else ''}a number of hundreds of digits"


def _check_bounds(value: float, rule: Rule, where: str) -> None:
    low = float("-inf") if rule.low is None else rule.low
    high = float("inf") if rule.high is None else rule.high
    if not low <= value <= high:  # NaN is in no range
        bounds = f"{'any' if rule.low is None else rule.low} … "
        bounds += f"{'any' if rule.high is None else rule.high}"
        raise InvalidSetting(f"{where} = {_shown(value)} is outside {bounds} ({rule.about})")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise InvalidSetting(f"{where} = {_shown(value)} is too large ({rule.about})")


def _checked_curve(points: Any, rule: Rule, where: str) -> Curve:
    for index, point in enumerate(points, 1):
        numbers = isinstance(point, list | tuple) and len(point) == 2
        if not numbers or any(isinstance(n, bool) or not isinstance(n, int | float) for n in point):
            raise InvalidSetting(
                f"{where}: point {index}, {_shown(point)}, must be two numbers, [seconds, value]"
            )
        if not abs(point[0]) < LAST_SECOND:  # NaN is none
            raise InvalidSetting(
                f"{where}: point {index}, {_shown(point)}, is at no time; give seconds from the "
                "first frame"
            )
        _check_bounds(point[1], rule, f"{where} at {point[0]!r} s")
    if not points:
        raise InvalidSetting(f"{where} = [] has no point; give [[seconds, value], …] or a number")
    for (early, _), (late, _) in itertools.pairwise(points):
        if late <= early:
            raise InvalidSetting(
                f"{where}: {late!r} s comes after {early!r} s; give the points in order of time"
            )
    return Curve((float(time), float(value)) for time, value in points)


_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Curve: "points [[seconds, value], …]",
    types.NoneType: "none",
}
