from typing import Any

import pytest

from vidhair.errors import DeviceUnavailable
from vidhair.ops.dispatch import FORCED_BY_ENVIRONMENT, Implementation, Op


def reference(x: int, *, scale: int = 1) -> tuple[str, int]:
    return "reference", x * scale


def implementation(name: str, most: int) -> Implementation:
    """Can do numbers up to `most`."""
    return Implementation(
        name,
        lambda x, *, scale=1: (name, x * scale),
        lambda x, *, scale=1: None if x <= most else f"{x} is more than {most}",
    )


@pytest.fixture
def op(monkeypatch: pytest.MonkeyPatch) -> Op:
    monkeypatch.delenv(FORCED_BY_ENVIRONMENT, raising=False)
    return Op("double", reference, [implementation("small", 10), implementation("middle", 100)])


def run(op: Op, x: int, **options: Any) -> tuple[str, int]:
    return op.choose(x, scale=2, **options)(x, scale=2)


@pytest.mark.parametrize(("x", "used"), [(5, "small"), (50, "middle"), (500, "reference")])
def test_auto_takes_the_first_that_does_not_decline(op: Op, x: int, used: str) -> None:
    assert run(op, x) == (used, 2 * x)


@pytest.mark.parametrize("name", ["small", "middle", "reference"])
def test_an_implementation_can_be_named(op: Op, name: str) -> None:
    assert run(op, 5, impl=name) == (name, 10)


def test_a_named_implementation_that_declines_says_why(op: Op) -> None:
    with pytest.raises(DeviceUnavailable, match=r"double: small declines \(50 is more than 10\)"):
        run(op, 50, impl="small")


def test_an_unknown_name_lists_the_known_ones(op: Op) -> None:
    with pytest.raises(
        DeviceUnavailable, match="'fast'; choose from auto, reference, small, middle"
    ):
        run(op, 5, impl="fast")


def test_the_environment_decides_where_the_call_does_not(
    op: Op, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDHAIR_IMPL", "reference")
    assert run(op, 5) == ("reference", 10)
    assert run(op, 5, impl="middle") == ("middle", 10)
    monkeypatch.setenv("VIDHAIR_IMPL", "middle")
    assert run(op, 5) == ("middle", 10)
    with pytest.raises(DeviceUnavailable, match="more than 100"):
        run(op, 500)
    monkeypatch.setenv("VIDHAIR_IMPL", "nonsense")
    with pytest.raises(DeviceUnavailable, match="nonsense"):
        run(op, 5)
    monkeypatch.setenv("VIDHAIR_IMPL", "auto")
    assert run(op, 5) == ("small", 10)


def test_the_environment_means_the_ops_that_have_what_it_names(
    op: Op, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Op("halve", reference, [implementation("halver", 10)])
    monkeypatch.setenv("VIDHAIR_IMPL", "halver")
    assert run(op, 5) == ("small", 10) and run(other, 5) == ("halver", 10)
    with pytest.raises(DeviceUnavailable, match="no implementation 'halver'"):
        run(op, 5, impl="halver")


def test_explain_gives_a_row_per_implementation(op: Op) -> None:
    assert op.explain(5) == [("small", "used"), ("middle", "available"), ("reference", "available")]
    assert op.explain(50) == [
        ("small", "50 is more than 10"),
        ("middle", "used"),
        ("reference", "available"),
    ]
    assert op.explain(500)[-1] == ("reference", "used")
