"""A stage is a function named after the value it makes, and its parameters are its wiring.

    @stage(version=2)
    def matte(
        frames: Annotated[Frames, Near(2)], labels: Annotated[Labels, Near(2)],
        hair_colors: HairColors, span: Span, config: MatteConfig,
    ) -> Matte: ...

The name of a parameter says whose value it takes, the annotation of which type it is and how much
of it the stage sees. What a stage did not declare it cannot read, so keys are complete.

    frames: Frames                       the frames of one chunk
    frames: Annotated[Frames, Near(2)]   with up to two more on either side, where there are any
    latents: Series[Latents]             any frame of the clip, by range: such a stage runs once,
                                         after its makers have finished (a barrier)
    hair_colors: HairColors              what holds for the whole clip, and is made once
    edge: Annotated[float, Setting("matte.edge")]    one setting of the recipe
    config: MatteConfig                  a table of the recipe
    stride: Annotated[int, Fact("parser.stride")]    a fact about the clip or the pack
    parser: Parser                       a network of the pack, found by its type
    span: Span, meter: Meter             which frames are made; tells how far it is
    at_once: AtOnce                      makes results of several frames at once
    progress: Progress                   how far a killed run came, and what it remembered there

A stage that runs once may make a value `-> Iterator[FaceTrack]`, a few frames after the other, so
that it is never held whole. If it takes its `progress`, it goes on where a killed run was.

A stage `-> Each[Person]` fans out: it makes a list of values, and whatever is made from `person`
is made once for every one of them, until a stage gathers it again.

    person: Person                       one of them; the taker is made once per person
    layer: Every[Layer]                  that of every one of them, in their order
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    ClassVar,
    Protocol,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
A = TypeVar("A")
B = TypeVar("B")
T_co = TypeVar("T_co", covariant=True)


class Value:
    """Base of what stages make and the cache keeps: frozen dataclasses of arrays and numbers.

    ROWS: names of the fields whose first axis is the frames; the others hold for all of them.
    """

    ROWS: ClassVar[tuple[str, ...]] = ()

    def arrays(self) -> Arrays:
        """Every field by name; those of a dataclass in a field as "field.inner"."""
        return _flat(self)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The value whose `arrays` these are."""
        value: Self = _unflat(cls, arrays, "")
        return value

    def rows(self, start: int, stop: int) -> Self:
        """The frames start … stop − 1."""
        return dataclasses.replace(  # type: ignore[type-var]
            self, **{name: getattr(self, name)[start:stop] for name in self.ROWS}
        )


def _flat(value: Any) -> Arrays:
    found: Arrays = {}
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            found |= {f"{field.name}.{name}": array for name, array in _flat(inner).items()}
        else:
            found[field.name] = np.asarray(inner)
    return found


def _unflat(cls: Any, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Any:
    hints, values = get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        name, kind = prefix + field.name, hints[field.name]
        if dataclasses.is_dataclass(kind):
            values[field.name] = _unflat(kind, arrays, f"{name}.")
        else:
            values[field.name] = arrays[name].item() if kind in (int, float) else arrays[name]
    return cls(**values)


@dataclass(frozen=True)
class Span:
    """The frames start … stop − 1, which a stage makes in one call."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def core(self, before: int) -> slice:
        """Rows of the span in a value that begins up to `before` frames earlier."""
        lead = min(before, self.start)
        return slice(lead, lead + len(self))


@dataclass(frozen=True)
class Near:
    """Frames before and after the chunk that a stage sees too."""

    before: int
    after: int = -1  # as many as before

    @property
    def reach(self) -> int:
        """Frames after the chunk."""
        return self.before if self.after < 0 else self.after

    def range(self, start: int, stop: int, count: int) -> tuple[int, int]:
        return max(0, start - self.before), min(count, stop + self.reach)


class Each(Protocol[T_co]):
    """Of a stage that fans out: a list of values. What is made from one has it in its key, and
    nothing of the others."""

    def __iter__(self) -> Iterator[T_co]: ...


class Every(Protocol[T_co]):
    """What was made of each, in their order; each is made when it is reached."""

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...


class Series(Protocol[T_co]):
    """The values of every frame of the clip, read when asked for."""

    @property
    def count(self) -> int:
        """Frames of the clip."""
        ...

    def rows(self, start: int, stop: int) -> T_co: ...

    def whole(self) -> T_co:
        """All frames at once: for what is small."""
        ...

    def field(self, name: str) -> NDArray[Any]:
        """One field of all frames, without reading the others."""
        ...


def ranges(count: int, step: int = 256, first: int = 0) -> Iterator[tuple[int, int]]:
    """first … count in steps, for what a stage that sees the whole clip reads bit by bit."""
    return ((start, min(start + step, count)) for start in range(first, count, step))


@dataclass(frozen=True)
class Setting:
    """One setting of the recipe, as "table.key"."""

    path: str


@dataclass(frozen=True)
class Fact:
    """A plain value that the flow knows of the clip or the pack."""

    name: str


class Meter(Protocol):
    """Told how much of a stage is done, in its own units."""

    def __call__(self, done: float, note: str = "") -> None: ...


class AtOnce(Protocol):
    """As the built-in `map`, which will do in its place: a function's results of items, in their
    order. Threads may make several at once; the items are taken one by one by the caller."""

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]: ...


@dataclass
class Progress:
    """How far a stage has come that makes its value bit by bit, each frame with what it remembers
    of those before. It begins with `rows` and `state` as they are given, yields what comes after
    these rows, and tells of more before it yields their last one.

    rows: frames that are made. state: arrays of any shape from which the next ones follow, bit for
    bit; none at the beginning.
    """

    rows: int = 0
    state: Arrays = dataclasses.field(default_factory=dict)

    def reached(self, rows: int, state: Arrays) -> None:
        self.rows, self.state = rows, state


# ---- what a stage is


@dataclass(frozen=True)
class Input:
    """A parameter. kind: its type; near, series: how much of a value is seen; every: whether of all
    that were fanned out to; given: the Setting or Fact that it is."""

    kind: Any
    near: Near | None = None
    series: bool = False
    every: bool = False
    given: Setting | Fact | None = None

    @classmethod
    def of(cls, hint: Any) -> "Input":
        if get_origin(hint) is Series:
            return cls(get_args(hint)[0], series=True)
        if get_origin(hint) is Every:
            return cls(get_args(hint)[0], every=True)
        if get_origin(hint) is not Annotated:
            return cls(hint)
        kind, *marks = get_args(hint)
        (mark,) = marks
        if isinstance(mark, Near):
            return cls(kind, near=mark)
        assert isinstance(mark, Setting | Fact), f"{mark!r} says nothing of a parameter"
        return cls(kind, given=mark)

    @property
    def is_value(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, Value | Derived)

    @property
    def has_rows(self) -> bool:
        return bool(getattr(self.kind, "ROWS", ()))


class Derived:
    """Base of what stages make that is no arrays, so it is not kept but made again in every run."""


@dataclass(frozen=True)
class Stage:
    """A function with what its signature says. name: of the value; several functions can make one.

    keep: whether the cache holds what it makes, and compress: how. steps: what the meter of a stage
    that runs once counts up to, given its owner or else its configuration; None where it counts
    frames. each: whether
    it fans out; streamed: whether it makes its value bit by bit; fanned: whether, in a plan, it is
    made once per value of the stage that fans out.
    """

    name: str
    make: Callable[..., Any]
    version: int
    chunk: int
    inputs: Mapping[str, Input]
    makes: Any
    keep: bool = True
    steps: Callable[[Any], int] | None = None
    compress: bool = False
    each: bool = False
    streamed: bool = False
    fanned: bool = False

    @property
    def whole(self) -> bool:
        """Whether it runs once for the clip."""
        seen = self.inputs.values()
        return any(i.series for i in seen) or not any(i.is_value and i.has_rows for i in seen)

    @property
    def kept(self) -> bool:
        return self.keep and issubclass(self.makes, Value) and not self.each

    @property
    def resumes(self) -> bool:
        """Whether it goes on in the midst of the clip."""
        return any(i.kind is Progress for i in self.inputs.values())

    @property
    def values(self) -> dict[str, Input]:
        """The parameters that other stages make."""
        return {name: i for name, i in self.inputs.items() if i.is_value}

    @property
    def owner(self) -> Any:
        """The object whose method it is, or None."""
        return getattr(self.make, "__self__", None)


Make = TypeVar("Make", bound=Callable[..., Any])


def stage(
    *,
    version: int = 1,
    chunk: int = 32,
    keep: bool = True,
    steps: Callable[[Any], int] | None = None,
    compress: bool = False,
) -> Callable[[Make], Make]:
    """Marks a stage. version: raised by hand when the meaning of its results changes. chunk: frames
    that it makes at once; 0 for as many as memory allows. keep: False for what is as quickly made
    as read. compress: in the cache, where that makes much less of it."""

    def mark(make: Make) -> Make:
        make.__stage__ = (version, chunk, keep, steps, compress)  # type: ignore[attr-defined]
        return make

    return mark


def stage_of(name: str, make: Callable[..., Any]) -> Stage:
    """The stage that makes the value `name`."""
    hints = get_type_hints(make, include_extras=True)
    makes = hints.pop("return")
    each, streamed = get_origin(makes) is Each, get_origin(makes) is Iterator
    makes = get_args(makes)[0] if each or streamed else makes
    version, chunk, keep, steps, compress = make.__stage__  # type: ignore[attr-defined]
    assert isinstance(makes, type) and issubclass(makes, Value | Derived), (
        f"{make.__name__} makes {makes}, which is no value"
    )
    assert list(hints) == list(inspect.signature(make).parameters), f"{make.__name__}: annotations"
    inputs = {parameter: Input.of(hint) for parameter, hint in hints.items()}
    found = Stage(
        name, make, version, chunk, inputs, makes, keep, steps, compress, each, streamed
    )  # fmt: skip
    assert not streamed or (found.whole and found.kept), f"{name} must run once, and be kept"
    assert streamed or not found.resumes, f"{name} is made at once, so it has no progress"
    return found


Makers = Mapping[str, Callable[..., Any]]


class WiringError(TypeError):
    """Stages that do not fit together: a mistake in the program, found before anything runs."""


def makers(*functions: Callable[..., Any], **named: Callable[..., Any]) -> dict[str, Any]:
    """Who makes which value: each function the value of its name, or the one it is given as."""
    return {f.__name__: f for f in functions} | named


def renamed(make: Callable[..., Any], names: Mapping[str, str]) -> Callable[..., Any]:
    """The same stage, taking some values by other names: parameter → value."""
    hints = get_type_hints(make, include_extras=True)
    back = {names.get(parameter, parameter): parameter for parameter in hints}
    if all(name == parameter for name, parameter in back.items()):
        return make

    def taking(**values: Any) -> Any:
        return make(**{back[name]: value for name, value in values.items()})

    signature = inspect.signature(make)
    given = [p.replace(name=names.get(p.name, p.name)) for p in signature.parameters.values()]
    marks = {
        "__name__": make.__name__,
        "__self__": getattr(make, "__self__", None),
        "__stage__": make.__stage__,  # type: ignore[attr-defined]
        "__annotations__": {name: hints[parameter] for name, parameter in back.items()},
        "__signature__": signature.replace(parameters=given),
    }
    for name, value in marks.items():
        setattr(taking, name, value)
    return taking


def plan(
    makers: Makers,
    goal: str,
    source: Mapping[str, type],
    known: Callable[[Input], bool] = lambda needed: True,
    beside: Iterable[str] = (),
) -> list[Stage]:
    """The stages that a goal needs, makers before takers.

    beside: values that are made, too, where the goal needs all that they are made from.
    source: values that nobody makes, by name. known: whether something that is no value (a network,
    a setting) can be had. Raises WiringError, which names the wire that does not fit.
    """
    stages: dict[str, Stage] = {}
    pending: list[str] = []

    def visit(name: str, asker: str, wanted: Input | None) -> None:
        if name in pending:
            raise WiringError(f"{' → '.join([*pending, name])} goes in a circle")
        if name not in source and name not in makers:
            raise WiringError(f"{asker} takes {name}, which nothing makes")
        if name not in source and name not in stages:
            made = stage_of(name, makers[name])
            pending.append(name)
            for parameter, needed in made.inputs.items():
                if needed.is_value:
                    visit(parameter, name, needed)
                elif not known(needed):
                    raise WiringError(f"{name} takes {parameter}, of which nothing is known")
            pending.pop()
            _check(made)
            stages[name] = dataclasses.replace(made, fanned=_fanned(made, stages))
        found = source[name] if name in source else stages[name].makes
        if wanted is not None and found is not wanted.kind:
            raise WiringError(
                f"{asker} takes {name} as {wanted.kind.__name__}, and it is {found.__name__}"
            )

    visit(goal, "the recipe", None)
    for name in beside:
        if name in makers and stage_of(name, makers[name]).values.keys() <= stages.keys() | source:
            visit(name, "the recipe", None)
    if goal in stages and (stages[goal].fanned or stages[goal].each):
        raise WiringError(f"{goal} is made once for each, and the recipe wants one; gather it")
    return list(stages.values())


def _fanned(made: Stage, stages: Mapping[str, Stage]) -> bool:
    """Whether a stage is made once for each of what another one fans out to. stages: its makers,
    and others."""
    takes = {name: made_for_each(stages.get(name)) for name in made.values}
    for name, needed in made.values.items():
        if needed.every and not takes[name]:
            raise WiringError(f"{made.name} takes {name} of every one, and it is made once")
    single = [name for name, needed in made.values.items() if takes[name] and not needed.every]
    gathered = [name for name, needed in made.values.items() if needed.every]
    if single and gathered:
        raise WiringError(
            f"{made.name} takes {single[0]} of one and {gathered[0]} of every one; take both alike"
        )
    if made.each and any(takes.values()):
        raise WiringError(f"{made.name} fans out what is fanned out already")
    if made.each and not (made.whole and issubclass(made.makes, Value)):
        raise WiringError(f"{made.name} fans out, so it must run once, and make values of arrays")
    others = [other.name for other in stages.values() if other.each]
    if made.each and others:
        raise WiringError(f"{made.name} fans out, and {others[0]} does so already")
    return bool(single)


def made_for_each(made: Stage | None) -> bool:
    """Whether there is one such value per value that is fanned out to. None: a source."""
    return made is not None and (made.each or made.fanned)


def _check(made: Stage) -> None:
    """A stage that runs once has no chunk of which it could see the frames."""
    if not made.whole:
        return
    for name, needed in made.values.items():
        if needed.has_rows and not needed.series:
            raise WiringError(
                f"{made.name} sees the whole clip of some values and a chunk of {name}; "
                f"take {name} as Series, too"
            )


def sweeps(stages: Iterable[Stage]) -> list[list[str]]:
    """Passes over the clip: stages between two barriers can share one decoding of a chunk."""
    # The pass in which a value of frames is made, or after which one of the clip can be.
    made_in: dict[str, int] = {}
    passes: list[list[str]] = []
    whole: dict[str, bool] = {}
    for one in stages:
        whole[one.name] = one.whole
        above = [
            made_in[name] + (whole[name] and not one.whole)
            for name in one.values
            if name in made_in
        ]
        made_in[one.name] = max([-1 if one.whole else 0, *above])
        if not one.whole:
            passes += [[] for _ in range(len(passes), made_in[one.name] + 1)]
            passes[made_in[one.name]].append(one.name)
    return [names for names in passes if names]
