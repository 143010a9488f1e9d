"""`vidhair eval` on the small clip, whose hair the tiny pack's parser sees."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import small
from vidhair import cli
from vidhair.errors import InvalidSetting
from vidhair.report.evaluation import evaluate, evaluation_text

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small.write_clip(tmp_path_factory.mktemp("eval") / "source.mp4", small.person()[:4])


@pytest.fixture(scope="module")
def edited(source: Any) -> Any:
    """All of it bluer."""
    frames = small.person()[:4].astype(int) + np.array([-20, -20, 60])
    return small.write_clip(source.parent / "edited.mp4", frames.clip(0, 255).astype(np.uint8))


def test_a_clip_is_like_itself(source: Any) -> None:
    found = evaluate(source, source, pack=small.pack_folder())
    numbers = found.numbers
    assert found.frames == 4 and 0 < numbers.hair < 1
    assert numbers.leak.change == numbers.coverage == numbers.halo == numbers.boil == 0
    assert numbers.contrast == numbers.flicker == 1


def test_what_changes_is_told_by_region(source: Any, edited: Any) -> None:
    found = evaluate(source, edited, color="blue", pack=small.pack_folder())
    assert found.numbers.coverage > 0.9 and found.numbers.leak.seen > 0.9
    assert {"face", "background"} <= {n for n, leak in found.numbers.regions.items() if leak.pixels}
    told = evaluation_text(found)
    assert "the pack's parser alone" in told and "background" in told and "nan" not in told


def test_the_command_prints_json(
    source: Any, edited: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = str(small.pack_folder())
    assert cli.main(["eval", str(source), str(edited), "--pack", pack, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 4 and found["numbers"]["leak"]["change"] > 1
    assert found["numbers"]["regions"]["ear"].keys() == {"change", "seen", "pixels"}


def test_clips_that_are_not_alike_are_refused(source: Any, tmp_path: Path) -> None:
    shorter = small.write_clip(tmp_path / "shorter.mp4", small.person()[:3])
    with pytest.raises(InvalidSetting, match=r"has 4 frames of 160×144 and .+ has 3 frames"):
        evaluate(source, shorter, pack=small.pack_folder())


def test_a_color_that_is_none_is_refused(source: Any) -> None:
    with pytest.raises(InvalidSetting, match="--color = 'blu'"):
        evaluate(source, source, color="blu", pack=small.pack_folder())
