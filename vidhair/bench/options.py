"""What is asked of a run, checked."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from vidhair.bench.baseline import Baseline
from vidhair.errors import InvalidSetting
from vidhair.precision import native

REPEATS, QUICK_REPEATS = 5, 2
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

T = TypeVar("T")
Progress = Callable[[int, int, str], None]  # cases done, of how many, the next one


def silent(done: int, total: int, name: str) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """sizes, configs, dtypes, ops: what to restrict the run to; empty: no restriction."""

    device: str = "cpu"
    repeats: int | None = None
    sizes: Sequence[int] = ()
    configs: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    ops: Sequence[str] = ()
    seconds: Sequence[float] = ()
    baseline: Baseline | None = None
    quick: bool = False

    @property
    def turns(self) -> int:
        if self.repeats is not None:
            return self.repeats
        return QUICK_REPEATS if self.quick else REPEATS

    def choose_dtypes(self, default: Sequence[str]) -> list[torch.dtype]:
        """Those asked for, else those of the default that the device does not emulate.

        Raises InvalidSetting.
        """
        check_known("--dtype", self.dtypes, DTYPES)
        skipped = self.emulated(default)
        return [DTYPES[name] for name in self.dtypes or default if name not in skipped]

    def emulated(self, default: Sequence[str]) -> list[str]:
        """Of the default, what is skipped: emulation may take two hundred times as long."""
        if self.dtypes:
            return []
        return [name for name in default if not native(self.device, DTYPES[name])]

    def choose(self, known: dict[str, tuple[int, T]], quick: Sequence[str]) -> dict[str, T]:
        """Of name → (size, what it is), those asked for; quick: the names that --quick means.

        Raises InvalidSetting.
        """
        check_known("--config", self.configs, known)
        sizes = {size for size, _ in known.values()}
        check_known("--size", self.sizes, sizes)
        names = self.configs or (quick if self.quick and not self.sizes else known)
        kept = {n: what for n, (size, what) in known.items() if n in names}
        if self.sizes:
            kept = {n: what for n, what in kept.items() if known[n][0] in self.sizes}
        if not kept:
            raise InvalidSetting(
                f"no configuration of {', '.join(names)} has size {_listed(self.sizes)}; "
                "leave out --size or --config"
            )
        return kept


def name_of(dtype: torch.dtype) -> str:
    """`torch.float32` → float32."""
    return str(dtype).removeprefix("torch.")


def check_known(option: str, values: Sequence[Any], known: Collection[Any]) -> None:
    """Raises InvalidSetting for the first value that is not known."""
    for value in values:
        if value not in known:
            raise InvalidSetting(f"{option} {value} is unknown; choose from {_listed(known)}")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(values) if isinstance(values, set) else values))
