"""Cases, comparison, report."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import torch


class CannotServe(Exception):
    """A case asks for what the adapter cannot compute: a failure that names the option."""

    def __init__(self, option: str, value: object, why: str):
        super().__init__(f"option {option} is {value!r}: {why}")


@dataclass
class Case:
    """One case of a golden folder: its description, arrays and weights."""

    folder: Path
    name: str

    @cached_property
    def spec(self) -> dict:
        return json.loads((self.folder / f"{self.name}.json").read_text())

    @cached_property
    def data(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{self.name}.npz") as file:
            return dict(file)

    @property
    def options(self):
        return self.spec["options"]

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
            return tolerance["rel_absmax_gradients"]
        return tolerance.get("rel_absmax", tolerance.get("geometry_abs", 0.0))


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


def relative_error(got, reference: np.ndarray) -> float:
    """max |got − ref| / max |ref|; infinite if the shapes differ."""
    got = got.detach().numpy() if isinstance(got, torch.Tensor) else np.asarray(got)
    if got.shape != reference.shape:
        return float("inf")
    if not reference.size:
        return 0.0
    scale = np.abs(reference.astype(np.float64)).max()
    difference = np.abs(got.astype(np.float64) - reference.astype(np.float64)).max()
    return float(difference / scale) if scale else float(difference)


def check_as(case: Case, array: str, how: str, value) -> Check:
    """Of an array that was computed in another way too."""
    return Check(f"{array}/{how}", relative_error(value, case.data[array]), case.bound(array))


# An adapter yields (array, value) to be compared by relative error, or a finished Check.
Adapter = Callable[[Case], Iterator["tuple[str, object] | Check"]]
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
    report.missing = [name for name in case.outputs if name not in seen]
    return report


def cases(folder: Path) -> list[Case]:
    """All cases of a folder, by name."""
    names = sorted(p.stem for p in folder.glob("*.json") if p.with_suffix(".npz").exists())
    return [Case(folder, name) for name in names]
