import io
from typing import Any

import pytest
from tqdm import tqdm

from vidhair.report import progress
from vidhair.report.progress import ProgressBars


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_nothing_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressBars().stage("tune", 10, "step") as meter:
        meter(5, "loss 0.1")
        meter(10)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_the_stage_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, real = Terminal(), tqdm
    monkeypatch.setattr(
        progress, "tqdm", lambda **options: real(**options, file=terminal, mininterval=0)
    )
    with ProgressBars().stage("tune", 10, "step") as meter:
        meter(4, "loss 0.1")
        meter(10)
    shown = terminal.getvalue()
    assert "tune" in shown and "4/10" in shown and "10/10" in shown
    assert "loss 0.1" in shown


def test_a_meter_is_told_what_is_done_and_not_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    def kept(**options: Any) -> Any:
        bars.append(tqdm(**options))
        return bars[-1]

    monkeypatch.setattr(progress, "tqdm", kept)
    monkeypatch.setattr("sys.stderr", Terminal())
    with ProgressBars().stage("parse", 8, "frame") as meter:
        for done in (2, 2, 5, 8):
            meter(done)
            assert bars[0].n == done


def test_an_interruption_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), ProgressBars().stage("tune", 10, "step"):
        raise KeyboardInterrupt
