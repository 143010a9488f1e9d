"""Cases, comparison, report."""

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class CannotServe(Exception):
    """A case asks for what the adapter cannot compute: a failure that names the option."""

    def __init__(self, option: str, value: object, why: str):
        super().__init__(f"option {option} is {value!r}: {why}")


PROSE = ("note", "meaning", "edit", "names")  # options that only explain the others


class Options(Mapping[str, Any]):
    """The options of a case, or of a part of it, by name; remembers which have been read."""

    def __init__(self, values: Mapping[str, Any], path: str = ""):
        self._path = path
        self._values = {name: _watched(value, f"{path}{name}.") for name, value in values.items()}
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        self._read.add(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def expect(self, name: str, served: object, why: str = "") -> None:
        """Raises CannotServe unless the option is this one or is not given."""
        value = self.get(name, served)
        if value != served:
            raise CannotServe(self._path + name, value, why or f"only {served!r} is served")

    def unread(self) -> Iterator[tuple[str, object]]:
        """Options, with their paths, that nobody has read."""
        for name, value in self._values.items():
            if parts := _parts(value):
                for part in parts:
                    yield from part.unread()
            elif name not in self._read and name not in PROSE:
                yield self._path + name, value


def _watched(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return Options(value, path)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return [Options(v, f"{path}{v.get('set', index)}.") for index, v in enumerate(value)]
    return value


def _parts(value: Any) -> list[Options]:
    """The options that an option consists of."""
    if isinstance(value, Options):
        return [value]
    return [item for item in value if isinstance(item, Options)] if isinstance(value, list) else []


@dataclass
class Case:
    """One case of a golden folder: its description, arrays and weights."""

    folder: Path
    name: str

    @cached_property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads((self.folder / f"{self.name}.json").read_text())
        return spec

    @cached_property
    def data(self) -> dict[str, NDArray[Any]]:
        with np.load(self.folder / f"{self.name}.npz") as file:
            return dict(file)

    @cached_property
    def options(self) -> Any:
        """`Options`, or a list of them."""
        return _watched(self.spec["options"], "")

    def said(self, array: str, pattern: str, default: str) -> str:
        """What the group of a pattern finds in the note on an array; without one, the default."""
        for names, text in self.spec.get("array_notes", []):
            if array in re.split(r",\s*|\s+/\s+", names) and (match := re.search(pattern, text)):
                return match[1]
        return default

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.data[name])

    def optional(self, name: str) -> torch.Tensor | None:
        return self.tensor(name) if name in self.data else None

    def weights(self, model: str = "G") -> dict[str, torch.Tensor]:
        """Official parameter name → tensor, by the folder's own `fill.py`."""
        filled = _load_fill(self.folder).fill(self.spec, model, self.data)
        return {name: torch.from_numpy(np.asarray(value)) for name, value in filled.items()}

    def as_stored(self, name: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
        """An output of which a case may hold only the first samples of the batch."""
        return name, value[: len(self.data[name])]

    @property
    def outputs(self) -> list[str]:
        return [name for name, entry in self.spec["arrays"].items() if entry["role"] == "output"]

    def bound(self, array: str) -> float:
        tolerance = self.spec["tolerance"]
        gradient = "grad/" in array or array.rsplit("/")[-1] in ("dx", "db")
        if gradient and "rel_absmax_gradients" in tolerance:
            return float(tolerance["rel_absmax_gradients"])
        return float(tolerance.get("rel_absmax", tolerance.get("geometry_abs", 0.0)))


def _load_fill(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_fill", folder / "fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Check:
    """One compared array: `error` in the same measure as `bound`."""

    array: str
    error: float
    bound: float

    @property
    def passed(self) -> bool:
        return self.error <= self.bound  # NaN fails

    @property
    def share(self) -> float:
        """Error as a share of what is allowed."""
        return self.error / self.bound if self.bound else float("inf") if self.error else 0.0


@dataclass
class Report:
    case: str
    checks: list[Check] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def passed(self) -> bool:
        return not self.missing and bool(self.checks) and all(c.passed for c in self.checks)

    def line(self) -> str:
        if self.note:
            return f"{'ERROR' if not self.skipped else 'skip ':5} {self.case:28} {self.note}"
        worst = max(self.checks, key=lambda c: (not c.passed, c.share))
        text = (
            f"{'ok' if self.passed else 'FAIL':5} {self.case:28} worst {worst.error:.2e} "
            f"of {worst.bound:.0e} allowed ({worst.array}), {len(self.checks)} arrays"
        )
        return text + (f"; not computed: {', '.join(self.missing[:5])}" if self.missing else "")

    skipped: bool = False


def relative_error(got: object, reference: NDArray[Any]) -> float:
    """max |got − ref| / max |ref|; infinite if the shapes differ."""
    got = got.detach().numpy() if isinstance(got, torch.Tensor) else np.asarray(got)
    if got.shape != reference.shape:
        return float("inf")
    if not reference.size:
        return 0.0
    scale = np.abs(reference.astype(np.float64)).max()
    difference = np.abs(got.astype(np.float64) - reference.astype(np.float64)).max()
    return float(difference / scale) if scale else float(difference)


def check_as(case: Case, array: str, how: str, value: object) -> Check:
    """Of an array that was computed in another way too."""
    return Check(f"{array}/{how}", relative_error(value, case.data[array]), case.bound(array))


# An adapter yields (array, value) to be compared by relative error, or a finished Check.
Results = Iterator[tuple[str, object] | Check]
Adapter = Callable[[Case], Results]
ADAPTERS: dict[str, Adapter] = {}


def adapter(*names: str) -> Callable[[Adapter], Adapter]:
    """Register a function for cases of these names (or of names that begin with one)."""

    def register(function: Adapter) -> Adapter:
        ADAPTERS.update(dict.fromkeys(names, function))
        return function

    return register


def find_adapter(case: str) -> Adapter | None:
    fitting = [name for name in ADAPTERS if case == name or case.startswith(name + "_")]
    return ADAPTERS[max(fitting, key=len)] if fitting else None


def run(case: Case) -> Report:
    report = Report(case.name)
    compute = find_adapter(case.name)
    if compute is None:
        report.note, report.skipped = "no adapter for this kind of case", True
        return report
    seen = set()
    for item in compute(case):
        if not isinstance(item, Check):
            name, value = item
            error = relative_error(value, case.data[name])
            item = Check(name, error, case.bound(name))
        seen.add(item.array)
        report.checks.append(item)
    for part in _parts(case.options):
        for option, value in part.unread():
            raise CannotServe(
                option, value, f"{compute.__module__}.{compute.__name__} does not read it"
            )
    report.missing = [name for name in case.outputs if name not in seen]
    return report


def cases(folder: Path) -> list[Case]:
    """All cases of a folder, by name."""
    names = sorted(p.stem for p in folder.glob("*.json") if p.with_suffix(".npz").exists())
    return [Case(folder, name) for name in names]
