"""Progress bars: one per stage or file, with what is done per second and the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from vidhair.flow.runner import Meter


class ProgressBars:
    """A reporter for the terminal. Where there is no terminal it stays silent."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        bar = tqdm(
            total=total,
            desc=f"{name:<13}",
            unit=f" {unit}s",
            disable=None,
            dynamic_ncols=True,
            leave=True,
        )

        def meter(done: float, note: str = "") -> None:
            bar.update(done - bar.n)
            if note:
                bar.set_postfix_str(note, refresh=False)

        with bar:
            yield meter


@contextmanager
def transfer_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows a file arriving: call it with the bytes that are there and those of the whole."""
    bar = tqdm(desc=name, unit="B", unit_scale=True, disable=None, dynamic_ncols=True)

    def meter(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        yield meter


@contextmanager
def case_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Shows which of many cases is at work: call it with those done, of how many, and its name."""
    bar = tqdm(unit=" cases", disable=None, dynamic_ncols=True, leave=False)

    def show(done: int, total: int, name: str) -> None:
        bar.total = total
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)
        bar.refresh()

    with bar:
        yield show
