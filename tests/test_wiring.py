"""Stages that are wired by their signatures: what is planned, what is refused, what is seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.wiring import (
    Derived,
    Each,
    Every,
    Fact,
    Near,
    Progress,
    Series,
    Setting,
    Span,
    Value,
    WiringError,
    makers,
    plan,
    renamed,
    stage,
    stage_of,
    sweeps,
)


@dataclass(frozen=True)
class Numbers(Value):
    ROWS = ("numbers",)
    numbers: NDArray[Any]


@dataclass(frozen=True)
class Place:
    left: float
    count: int


@dataclass(frozen=True)
class Mean(Value):
    mean: NDArray[Any]
    place: Place


@dataclass(frozen=True)
class Machine(Derived):
    factor: float


@stage()
def squares(numbers: Numbers) -> Numbers:
    return Numbers(numbers.numbers**2)


@stage()
def steady(squares: Annotated[Numbers, Near(2, 1)], span: Span) -> Numbers:
    return Numbers(squares.numbers[span.core(2)])


@stage()
def mean(steady: Series[Numbers]) -> Mean:
    return Mean(steady.field("numbers").mean(), Place(0.0, steady.count))


@stage(keep=False)
def centred(steady: Numbers, mean: Mean) -> Numbers:
    return Numbers(steady.numbers - mean.mean)


SOURCE: dict[str, type] = {"numbers": Numbers}
CHAIN = makers(squares, steady, mean, centred)


def names(
    chain: Any = CHAIN, goal: str = "centred", source: dict[str, type] = SOURCE, **options: Any
) -> list[str]:
    return [made.name for made in plan(chain, goal, source, **options)]


class TestPlan:
    def test_makers_come_before_takers_and_each_once(self) -> None:
        assert names() == ["squares", "steady", "mean", "centred"]

    def test_only_what_the_goal_needs_is_planned(self) -> None:
        assert names(goal="steady") == ["squares", "steady"]

    def test_what_is_wanted_beside_is_planned_where_the_goal_needs_what_it_takes(self) -> None:
        @stage()
        def note(steady: Series[Numbers], numbers: Series[Numbers]) -> Mean: ...

        chain = CHAIN | makers(note)
        assert names(chain, "steady", beside=["note"]) == ["squares", "steady", "note"]
        assert names(chain, "squares", beside=["note"]) == ["squares"]
        assert names(CHAIN, "steady", beside=["note"]) == ["squares", "steady"]

    def test_one_value_can_have_other_makers(self) -> None:
        assert names(makers(centred, mean, steady=squares)) == ["steady", "mean", "centred"]

    def test_a_parameter_that_nothing_makes_is_refused(self) -> None:
        with pytest.raises(WiringError, match="steady takes squares, which nothing makes"):
            names(makers(steady, mean, centred))

    def test_types_that_do_not_meet_are_refused(self) -> None:
        with pytest.raises(WiringError, match="centred takes mean as Mean, and it is Numbers"):
            names(CHAIN | {"mean": squares})

    def test_the_source_has_a_type_too(self) -> None:
        with pytest.raises(WiringError, match="squares takes numbers as Numbers, and it is Mean"):
            names(source={"numbers": Mean})

    def test_a_circle_is_refused(self) -> None:
        @stage()
        def back(steady: Numbers) -> Numbers: ...

        with pytest.raises(WiringError, match="squares → steady → squares goes in a circle"):
            names(CHAIN | {"squares": back}, goal="squares")

    def test_what_is_no_value_must_be_known(self) -> None:
        @stage()
        def scaled(numbers: Numbers, gain: Annotated[float, Setting("tune.gain")]) -> Numbers: ...

        assert names(makers(scaled), "scaled") == ["scaled"]
        with pytest.raises(WiringError, match="scaled takes gain, of which nothing is known"):
            names(makers(scaled), "scaled", known=lambda needed: needed.given is None)

    def test_a_stage_that_runs_once_has_no_chunk_to_see(self) -> None:
        @stage()
        def late(steady: Series[Numbers], squares: Numbers) -> Mean: ...

        with pytest.raises(WiringError, match=r"late sees .* a chunk of squares; take squares as"):
            names(CHAIN | {"late": late}, goal="late")

    def test_what_makes_no_value_is_no_stage(self) -> None:
        @stage()
        def number(numbers: Numbers) -> int: ...

        with pytest.raises(AssertionError, match="number makes"):
            names(makers(number), "number")


class TestStage:
    def test_what_sees_the_clip_runs_once(self) -> None:
        whole = {made.name: made.whole for made in plan(CHAIN, "centred", SOURCE)}
        assert whole == {"squares": False, "steady": False, "mean": True, "centred": False}

    def test_what_sees_no_frames_runs_once(self) -> None:
        @stage()
        def machine(size: Annotated[int, Fact("size")]) -> Machine: ...

        made = stage_of("machine", machine)
        assert made.whole and not made.kept and made.values == {}

    def test_what_is_no_arrays_or_quickly_made_is_not_kept(self) -> None:
        kept = {made.name: made.kept for made in plan(CHAIN, "centred", SOURCE)}
        assert kept == {"squares": True, "steady": True, "mean": True, "centred": False}

    def test_sweeps_share_a_decoding_until_a_barrier(self) -> None:
        stages = plan(CHAIN, "centred", SOURCE)
        assert sweeps(stages) == [["squares", "steady"], ["centred"]]


class TestStreamed:
    def test_a_value_may_be_made_bit_by_bit(self) -> None:
        @stage()
        def scaled(numbers: Series[Numbers]) -> Iterator[Numbers]:
            for start in range(numbers.count):
                yield numbers.rows(start, start + 1)

        made = stage_of("scaled", scaled)
        assert made.streamed and made.whole and made.makes is Numbers
        assert not stage_of("mean", mean).streamed

    def test_only_such_a_stage_has_progress(self) -> None:
        @stage()
        def smoothed(numbers: Series[Numbers], progress: Progress) -> Iterator[Numbers]:
            yield numbers.rows(progress.rows, numbers.count)

        @stage()
        def whole(numbers: Series[Numbers], progress: Progress) -> Numbers:
            return numbers.whole()

        assert stage_of("smoothed", smoothed).resumes
        assert not stage_of("mean", mean).resumes
        with pytest.raises(AssertionError, match="no progress"):
            stage_of("whole", whole)

    def test_only_once_for_the_clip(self) -> None:
        @stage()
        def scaled(numbers: Numbers) -> Iterator[Numbers]:
            yield numbers

        with pytest.raises(AssertionError, match="scaled must run once, and be kept"):
            stage_of("scaled", scaled)


class Scale:
    """An object whose method is a stage."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @stage(version=3, keep=False)
    def scaled(self, numbers: Annotated[Numbers, Near(1)], span: Span) -> Numbers:
        return Numbers(numbers.numbers[span.core(1)] * self.factor)


class TestMethods:
    def test_a_method_is_a_stage_of_its_owner(self) -> None:
        owner = Scale(3.0)
        made = stage_of("scaled", owner.scaled)
        assert made.owner is owner and (made.version, made.keep) == (3, False)
        assert list(made.inputs) == ["numbers", "span"]
        assert stage_of("squares", squares).owner is None

    def test_other_names_leave_the_rest_as_it_is(self) -> None:
        owner = Scale(3.0)
        made = stage_of("scaled_2", renamed(owner.scaled, {"numbers": "squares", "other": "x"}))
        plain = stage_of("scaled", owner.scaled)
        assert made.owner is owner and (made.version, made.keep) == (3, False)
        assert made.inputs == {"squares": plain.inputs["numbers"], "span": plain.inputs["span"]}
        got = made.make(squares=Numbers(np.arange(5.0)), span=Span(1, 4))
        assert got.numbers.tolist() == [3, 6, 9]
        chain = CHAIN | {"scaled": renamed(owner.scaled, {"numbers": "squares"})}
        assert names(chain, "scaled") == ["squares", "scaled"]
        assert renamed(squares, {"squares": "steady"}) is squares

    def test_names_can_be_exchanged(self) -> None:
        @stage()
        def difference(squares: Numbers, steady: Numbers) -> Numbers:
            return Numbers(squares.numbers - steady.numbers)

        turned = renamed(difference, {"squares": "steady", "steady": "squares"})
        one, two = Numbers(np.ones(2)), Numbers(np.full(2, 5.0))
        assert stage_of("turned", turned).make(squares=one, steady=two).numbers.tolist() == [4, 4]


@stage()
def sign(mean: Mean) -> Each[Mean]: ...


@stage()
def half(numbers: Numbers, sign: Mean) -> Numbers: ...


@stage(keep=False)
def joined(numbers: Numbers, half: Every[Numbers]) -> Numbers: ...


FANNED = CHAIN | makers(sign, half, joined)


class TestFanOut:
    """sign → half, once for each; joined takes every half."""

    def test_what_is_made_from_one_of_each_is_made_for_each(self) -> None:
        stages = {made.name: made for made in plan(FANNED, "joined", SOURCE)}
        assert [name for name, made in stages.items() if made.fanned] == ["half"]
        assert stages["sign"].each and stages["sign"].whole
        assert stages["joined"].inputs["half"].every and not stages["joined"].whole

    def test_it_goes_on_until_it_is_gathered(self) -> None:
        @stage()
        def doubled(half: Numbers, mean: Mean) -> Numbers: ...

        @stage()
        def total(doubled: Every[Numbers]) -> Numbers: ...

        stages = plan(FANNED | makers(doubled, total), "total", SOURCE)
        assert [made.name for made in stages if made.fanned] == ["half", "doubled"]

    def test_what_fans_out_is_kept_by_no_key_of_its_own(self) -> None:
        stages = {made.name: made for made in plan(FANNED, "joined", SOURCE)}
        assert not stages["sign"].kept and stages["half"].kept

    def test_a_goal_is_one(self) -> None:
        for goal in ("half", "sign"):
            with pytest.raises(WiringError, match=f"{goal} is made once for each"):
                names(FANNED, goal)

    def test_only_what_was_fanned_out_can_be_gathered(self) -> None:
        @stage()
        def joined(half: Every[Numbers], squares: Every[Numbers]) -> Numbers: ...

        with pytest.raises(WiringError, match="joined takes squares of every one, and it is made"):
            names(FANNED | makers(joined), "joined")

    def test_one_and_every_one_do_not_go_together(self) -> None:
        @stage()
        def joined(half: Every[Numbers], sign: Mean) -> Numbers: ...

        with pytest.raises(WiringError, match="joined takes sign of one and half of every one"):
            names(FANNED | makers(joined), "joined")

    def test_no_fan_out_within_another_nor_beside_it(self) -> None:
        @stage()
        def finer(sign: Mean) -> Each[Mean]: ...

        @stage()
        def other(mean: Mean) -> Each[Mean]: ...

        @stage()
        def both(numbers: Numbers, half: Every[Numbers], other: Every[Mean]) -> Numbers: ...

        with pytest.raises(WiringError, match="finer fans out what is fanned out already"):
            names(FANNED | makers(finer), "finer")
        with pytest.raises(WiringError, match="other fans out, and sign does so already"):
            names(FANNED | makers(other, both), "both")

    def test_what_fans_out_is_known_before_any_of_them_is_made(self) -> None:
        @stage()
        def sign(numbers: Numbers) -> Each[Numbers]: ...

        @stage()
        def machines(mean: Mean) -> Each[Machine]: ...

        for one in (sign, machines):
            with pytest.raises(WiringError, match=f"{one.__name__} fans out, so it must run once"):
                names(FANNED | makers(one), one.__name__)


class TestNear:
    @pytest.mark.parametrize(
        ("span", "seen"), [((0, 4), (0, 5)), ((1, 4), (0, 5)), ((4, 8), (2, 9)), ((8, 10), (6, 10))]
    )
    def test_neighbours_end_with_the_clip(
        self, span: tuple[int, int], seen: tuple[int, int]
    ) -> None:
        assert Near(2, 1).range(span[0], span[1], 10) == seen

    def test_it_is_as_many_after_as_before_unless_said(self) -> None:
        assert Near(2).range(4, 8, 20) == (2, 10)
        assert Near(2, 0).range(4, 8, 20) == (2, 8)

    @pytest.mark.parametrize("start", [0, 1, 2, 7])
    def test_the_core_is_the_span(self, start: int) -> None:
        span, count = Span(start, start + 3), 20
        early, late = Near(2, 1).range(span.start, span.stop, count)
        seen = np.arange(early, late)[span.core(2)]
        assert seen.tolist() == list(range(span.start, span.stop))


class TestValue:
    MEAN = Mean(np.array([1.5, 2.5]), Place(0.25, 7))

    def test_arrays_and_back(self) -> None:
        arrays = self.MEAN.arrays()
        assert sorted(arrays) == ["mean", "place.count", "place.left"]
        back = Mean.of({name: array.copy() for name, array in arrays.items()})
        assert back.place == self.MEAN.place and type(back.place.count) is int
        assert np.array_equal(back.mean, self.MEAN.mean)

    def test_rows_cut_what_belongs_to_frames(self) -> None:
        assert Numbers(np.arange(9)).rows(2, 5).numbers.tolist() == [2, 3, 4]
        assert self.MEAN.rows(2, 5).mean is self.MEAN.mean
