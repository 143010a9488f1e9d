"""Clips of any length, of which a short one is run."""

from pathlib import Path
from typing import Any

import pytest

from vidhair.bench import long, run
from vidhair.bench.options import Options
from vidhair.errors import InvalidSetting
from vidhair.flow.runner import EXECUTORS
from vidhair.media import open_clip


def test_a_looped_clip_has_no_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long, "LOOPED", 4)
    long.write_looped(tmp_path / "a.mp4", 9)
    with open_clip(tmp_path / "a.mp4") as reader:
        assert (reader.clip.frame_count, reader.clip.width, reader.clip.height) == (9, 640, 360)
        frames = reader.read(0, 9).astype(int)
    for there, back in ((0, 6), (1, 5), (2, 4), (2, 8)):
        assert abs(frames[there] - frames[back]).mean() < 2


@pytest.mark.slow
def test_every_length_has_a_row_per_executor() -> None:
    rows = long.rows(Options(seconds=[0.2]))
    assert [row.by for row in rows] == [f"{name}, a frame" for name in EXECUTORS]
    assert {row.case for row in rows} == {"0.2 s"}
    for row in rows:
        assert row.note.endswith("5 frames") and row.timing.median > 0


@pytest.mark.parametrize(
    ("what", "options", "says"),
    [
        ("long", {"seconds": [0]}, "--seconds 0 must be more than 0"),
        ("long", {"configs": ["a"]}, "bench long has no --config; leave it out"),
        ("flow", {"seconds": [3]}, "bench flow has no --seconds; leave it out"),
    ],
)
def test_what_it_does_not_take(what: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSetting, match=says):
        run.bench(what, Options(**options))
