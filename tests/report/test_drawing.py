"""`vidhair eval --drawn` on a few frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import small
from vidhair import cli
from vidhair.errors import InvalidSetting
from vidhair.report.drawing import drawing_text, evaluate_drawing

pytestmark = pytest.mark.usefixtures("one_thread")
COUNT = 4


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """A clip, its drawing in half the way to the truth, and that."""
    folder, frames = tmp_path_factory.mktemp("drawn"), small.person()[:COUNT].astype(int)
    drawn = {"source": frames, "drawn": frames // 2 + 30, "truth": frames // 4 + 60}
    return [
        small.write_clip(folder / f"{name}.mp4", pixels.astype(np.uint8))
        for name, pixels in drawn.items()
    ]


def test_a_drawing_of_less_contrast_changes_less(clips: list[Any]) -> None:
    found = evaluate_drawing(clips[0], clips[1], pack=small.pack_folder())
    assert found.frames == COUNT and found.likeness is None
    assert 0.3 < found.numbers.change < 0.75 and "×" in drawing_text(found)


def test_nearer_to_the_truth_is_told(clips: list[Any]) -> None:
    source, drawn, truth = clips
    found = evaluate_drawing(source, drawn, truth=truth, pack=small.pack_folder())
    assert found.likeness is not None and 0 < found.likeness.drawn < found.likeness.source
    assert "distance to the truth" in drawing_text(found)
    itself = evaluate_drawing(source, truth, truth=truth, pack=small.pack_folder())
    assert itself.likeness is not None and itself.likeness.drawn == pytest.approx(0, abs=1e-6)


def test_the_command_prints_json(clips: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    source, drawn, truth = map(str, clips)
    pack = str(small.pack_folder())
    given = ["eval", source, drawn, "--drawn", "--truth", truth, "--pack", pack, "--json"]
    assert cli.main(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == COUNT and found["numbers"]["change"] > 0
    assert found["likeness"].keys() == {"source", "drawn"}


def test_clips_that_are_not_alike_are_refused(clips: list[Any], tmp_path: Path) -> None:
    shorter = small.write_clip(tmp_path / "shorter.mp4", small.person()[:2])
    with pytest.raises(InvalidSetting, match="compare a clip with an edit of itself"):
        evaluate_drawing(clips[0], clips[1], truth=shorter, pack=small.pack_folder())
