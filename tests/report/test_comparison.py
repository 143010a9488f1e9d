from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import small
from tests.media.clips import a_clip, ffmpeg, sine, smooth_frames, sound_packets, write
from vidhair.errors import NotAVideo, OutputNotWritable
from vidhair.media import open_clip
from vidhair.report.comparison import GAP, write_comparison, write_sheet

COUNT, WIDTH, HEIGHT = 20, 48, 36


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(source with sound, the same in negative)."""
    folder = tmp_path_factory.mktemp("clips")
    clip = a_clip(np.cumsum([0, *([2, 3] * COUNT)][:COUNT]), width=WIDTH, height=HEIGHT)
    frames = smooth_frames(clip)
    write(folder / "silent.mp4", clip, frames, crf=4)
    source, result = folder / "source.mp4", folder / "result.mp4"
    ffmpeg("-i", folder / "silent.mp4", *sine(1), "-c:v", "copy", "-c:a", "aac", source)
    write(result, clip, 255 - frames, crf=4)
    return source, result


def test_the_source_is_on_the_left_and_the_result_on_the_right(
    tmp_path: Path, clips: tuple[Path, Path]
) -> None:
    source, result = clips
    write_comparison(source, result, tmp_path / "both.mp4")
    with open_clip(source) as a, open_clip(result) as b, open_clip(tmp_path / "both.mp4") as both:
        assert (both.clip.width, both.clip.height) == (2 * WIDTH, HEIGHT)
        assert both.clip.pts.tolist() == a.clip.pts.tolist()
        assert both.clip.time_base == a.clip.time_base
        frames = both.read(0, COUNT).astype(int)
        left, right = frames[:, :, :WIDTH], frames[:, :, WIDTH:]
        # The codec mixes colors across the seam.
        assert np.abs(left - a.read(0, COUNT))[:, :, :-4].mean() < 4
        assert np.abs(right - b.read(0, COUNT))[:, :, 4:].mean() < 4
        assert np.abs(left - right).mean() > 20


def test_the_sound_is_the_sources(tmp_path: Path, clips: tuple[Path, Path]) -> None:
    source, result = clips
    write_comparison(source, result, tmp_path / "both.mp4")
    assert sound_packets(tmp_path / "both.mp4") == sound_packets(source) != []


def test_a_shorter_result_is_compared_as_far_as_it_goes(
    tmp_path: Path, clips: tuple[Path, Path]
) -> None:
    source, _ = clips
    clip = a_clip(range(7), width=WIDTH, height=HEIGHT)
    write(tmp_path / "short.mp4", clip)
    write_comparison(source, tmp_path / "short.mp4", tmp_path / "both.mp4")
    with open_clip(tmp_path / "both.mp4") as both:
        assert both.clip.frame_count == 7


@pytest.mark.parametrize("size", [(48, 30), (400, 300)])
def test_a_result_of_another_size_is_brought_to_the_clips(
    tmp_path: Path, clips: tuple[Path, Path], size: tuple[int, int]
) -> None:
    source, _ = clips
    frames = np.full((4, size[1], size[0], 3), 200, np.uint8)
    small.write_clip(tmp_path / "other.mp4", frames)
    write_comparison(source, tmp_path / "other.mp4", tmp_path / "both.mp4")
    before, both = small.decoded(source), small.decoded(tmp_path / "both.mp4")
    width = before.shape[2]
    assert both.shape[1:3] == (before.shape[1], 2 * width)
    assert np.abs(both[:, :, width + 8 :].astype(int) - 200).max() < 6


def test_neither_side_is_overwritten(tmp_path: Path, clips: tuple[Path, Path]) -> None:
    source, result = clips
    before = source.read_bytes()
    with pytest.raises(OutputNotWritable, match="the source itself"):
        write_comparison(source, result, source)
    assert source.read_bytes() == before


def test_what_cannot_be_read_leaves_no_comparison(tmp_path: Path, clips: tuple[Path, Path]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(NotAVideo):
        write_comparison(clips[0], tmp_path / "text.mp4", tmp_path / "both.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["text.mp4"]


def test_a_sheet_has_a_row_per_clip_and_a_column_per_time(
    tmp_path: Path, clips: tuple[Path, Path]
) -> None:
    write_sheet(list(clips), tmp_path / "sheet.png", columns=3, width=64)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    height = 64 * HEIGHT // WIDTH
    assert sheet.shape == (2 * height + GAP, 3 * 64 + 2 * GAP, 3)
    assert (sheet[height : height + GAP] == 255).all(), "white between the rows"
    assert (sheet[:, 64 : 64 + GAP] == 255).all(), "white between the columns"
    for row, clip in enumerate(clips):
        with open_clip(clip) as reader:
            frames = reader.read_at([0, 10, COUNT - 1])
        top = row * (height + GAP)
        for column, frame in enumerate(frames):
            left = column * (64 + GAP)
            tile = sheet[top : top + height, left : left + 64]
            small = np.asarray(Image.fromarray(frame).resize((64, height)))
            assert np.abs(tile - small).mean() < 2


def test_a_sheet_of_a_clip_with_few_frames(tmp_path: Path, clips: tuple[Path, Path]) -> None:
    """It has as many columns as there are frames; the rest of its row is white."""
    write(tmp_path / "two.mp4", a_clip(range(2), width=WIDTH, height=HEIGHT))
    write_sheet([tmp_path / "two.mp4", clips[0]], tmp_path / "sheet.png", columns=4, width=40)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (30 + GAP + 30, 4 * 40 + 3 * GAP, 3)
    assert (sheet[:30, 2 * 40 + GAP :] == 255).all()
    assert (sheet[:30, 40 + GAP : 2 * 40 + GAP] < 250).any()
