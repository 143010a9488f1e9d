"""The stages of an edit, timed on the tiny clip with the tiny pack."""

from pathlib import Path

import pytest

from tests import small
from vidhair.bench import flow
from vidhair.bench.flow import SHORT, Counter, Lap, cut
from vidhair.bench.memory import Peak
from vidhair.bench.options import Options
from vidhair.errors import UnknownRecipe
from vidhair.media import open_clip
from vidhair.models.pack import Pack
from vidhair.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_stage_counts_as_far_as_it_came() -> None:
    counter = Counter()
    with counter.stage("tune", 40, "step") as meter:
        meter(7, "loss 1")
        meter(12)
    with counter.stage("smooth", 9, "frame"):
        pass
    assert counter.counts["tune"] == ("step", 12)
    assert counter.counts["smooth"] == ("frame", 9), "no word of the way there: all of it"


@pytest.mark.parametrize("frames", [5, 99])
def test_cutting_a_clip(tmp_path: Path, frames: int) -> None:
    with open_clip(small.clip()) as whole, open_clip(
        cut(small.clip(), tmp_path / "short.mp4", frames)
    ) as short:  # fmt: skip
        count = min(frames, small.FRAMES)
        assert short.clip.frame_count == count
        assert list(short.clip.seconds_T) == list(whole.clip.seconds_T[:count])
        assert short.clip.duration == pytest.approx(sum(small.STEPS[:count]) / 1000)


def test_every_stage_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "QUICK_SETTINGS", small.QUICK)
    shown = []
    rows = flow.rows(
        Options(quick=True),
        lambda *progress: shown.append(progress),
        source=small.clip(),
        pack=small.pack(),
    )
    assert {row.case for row in rows} == {"hair_color"}
    stages = [row.by.rpartition(", a ")[0] for row in rows]
    assert stages == [
        *small.DYEING, "encode", "opening, storing, closing", "decoding alone", "encoding alone",
        "no networks, in-order", "no networks, overlapped",
        "all, in-order", "all, overlapped",
    ]  # fmt: skip
    units = {row.by.rpartition(", a ")[2]: row for row in rows}
    assert set(units) == {"frame"}
    *parts, _, _, _, _, whole, _ = rows
    assert whole.note.endswith(f" s, {SHORT} frames")
    counts = [float(row.note.split(", ")[1].split()[0]) for row in parts]
    spent = sum(row.timing.seconds[0] * n for row, n in zip(parts, counts, strict=True))
    assert spent == pytest.approx(whole.timing.seconds[0] * SHORT)
    assert shown == [(0, 2, "hair_color, warming up"), (1, 2, "hair_color")]


def test_recipes_take_turns_and_every_run_counts_but_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []

    def run(source: Path, recipe: Recipe, pack: Pack, folder: Path) -> list[Lap]:
        ran.append((recipe.name, source.name))
        return [Lap("faces", "frame", 10, float(len(ran)), Peak(len(ran), 0))]

    monkeypatch.setattr(flow, "_run", run)
    options = Options(repeats=2, configs=["bald", "hair_color"])
    rows = flow.rows(options, source=small.clip(), pack=small.pack())
    warm = [("bald", "short.mp4"), ("hair_color", "short.mp4")]
    assert ran == warm + [("bald", "small.mp4"), ("hair_color", "small.mp4")] * 2
    bald, color = rows
    assert (bald.case, bald.by, bald.note) == ("bald", "faces, a frame", "3.00 s, 10 frames")
    assert bald.timing.seconds == (0.3, 0.5) and color.timing.seconds == (0.4, 0.6)
    assert bald.timing.peak == Peak(5, 0)


def test_an_unknown_recipe() -> None:
    with pytest.raises(UnknownRecipe):
        flow.rows(Options(configs=["perm"]), source=small.clip(), pack=small.pack())
