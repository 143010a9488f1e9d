"""A sheet of hairstyles: what is refused before any work, and what is told meanwhile."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests import small
from vidhair.errors import InvalidSetting, NoFaceFound, OutputNotWritable, SourceNotFound
from vidhair.flow.runner import Meter
from vidhair.media import ClipReader, read_image, write_png
from vidhair.report import hairstyles
from vidhair.synthetic.wigs import HAIRSTYLES


class Listed:
    """A reporter that writes down what it is told of."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.done: list[float] = []

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        self.stages.append((name, total))
        yield lambda done, note="": self.done.append(done)


@pytest.mark.parametrize("name", ["edit.style", "edit.1.style"])
def test_a_style_among_the_settings_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    with pytest.raises(InvalidSetting, match=f"{name} = 'a.jpg' says whose hair is worn"):
        hairstyles.hairstyles(
            tmp_path / "no clip.mp4", [small.portrait()], target, settings={name: "a.jpg"}
        )
    assert not target.exists()


def test_what_cannot_be_written_or_read_is_refused_before_any_work(tmp_path: Path) -> None:
    photo = small.portrait()
    for target, said in (
        (tmp_path / "sheet.mp4", r"known suffix; use \.png"),
        (tmp_path / "none" / "sheet.png", "there is no folder"),
        (tmp_path, "known suffix"),
    ):
        with pytest.raises(OutputNotWritable, match=said):
            hairstyles.hairstyles(tmp_path / "no clip.mp4", [photo], target)
    with pytest.raises(SourceNotFound, match=r"second\.jpg"):
        hairstyles.hairstyles(
            tmp_path / "no clip.mp4", [photo, tmp_path / "second.jpg"], tmp_path / "sheet.png"
        )
    nobody = tmp_path / "nobody.png"
    write_png(nobody, np.full((64, 64, 3), 128, np.uint8))
    with pytest.raises(NoFaceFound, match=r"no face in .*nobody\.png"):
        hairstyles.hairstyles(tmp_path / "no clip.mp4", [photo, nobody], tmp_path / "sheet.png")


def test_what_takes_several_steps_is_shown_and_stages_of_one_frame_are_not() -> None:
    told = Listed()
    shown = hairstyles._OfSteps(told)
    for name, total in (("matte", 1), ("proxy", 40)):
        with shown.stage(name, total, "step") as meter:
            meter(total)
    assert told.stages == [("proxy", 40)] and told.done == [40]


@pytest.mark.slow
def test_the_sheet_says_how_many_photos_are_done(tmp_path: Path) -> None:
    told = Listed()
    photos = [small.portrait(), tmp_path / "another.png"]
    shutil.copy(*photos)
    hairstyles.hairstyles(small.clip(), photos, tmp_path / "sheet.png", reporter=told)
    assert ("hairstyles", 2) in told.stages and {1, 2} <= set(told.done)
    assert all(total > 1 for _, total in told.stages)


def test_without_photos_all_that_have_a_name_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def worn(reader: ClipReader, style: str, *_: object) -> hairstyles.Picture:
        shown.append(style)
        return reader.read(0, 1)[0]

    monkeypatch.setattr(hairstyles, "_worn", worn)
    hairstyles.hairstyles(small.clip(), [], tmp_path / "sheet.png")
    assert shown == list(HAIRSTYLES)
    hairstyles.hairstyles(small.clip(), ["bob"], tmp_path / "one.png")
    all_of_them, one = (read_image(tmp_path / f"{name}.png") for name in ("sheet", "one"))
    assert all_of_them.shape[0] > 2 * one.shape[0], "in several rows"
    with pytest.raises(InvalidSetting, match="'mohawk' is no photo"):
        hairstyles.hairstyles(small.clip(), ["bob", "mohawk"], tmp_path / "none.png")
