"""What goes through from a source to its edited copy: alpha, fields, tags; and what is said."""

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.clips import a_clip, ffmpeg, sine, smooth_frames, turn_on_display, write
from vidhair.media import VideoWriter, open_clip
from vidhair.media.color import by_field, first_field, has_alpha, sampling
from vidhair.media.source import fraction
from vidhair.media.tags import lost_tags, tags_held, tags_of
from vidhair.types import Clip


def ramp(clip: Clip) -> NDArray[Any]:
    x = np.linspace(0, 255, clip.width).astype(np.uint8)
    return np.tile(x, (clip.frame_count, clip.height, 1))


def copy(source: Path, target: Path, **options: Any) -> VideoWriter:
    """As an edit that changes nothing."""
    with open_clip(source) as reader:
        count = reader.clip.frame_count
        with VideoWriter(target, reader.clip, preset="veryfast", **options) as writer:
            writer.write(reader.read(0, count), reader.alpha(0, count) if writer.alpha else None)
    return writer


def a_transparent_source(path: Path, count: int = 4) -> tuple[NDArray[Any], NDArray[Any]]:
    clip = dataclasses.replace(a_clip(range(count)), alpha=True)
    frames, alpha = smooth_frames(clip), ramp(clip)
    with VideoWriter(path, clip) as writer:
        writer.write(frames, alpha)
    return frames, alpha


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mov", "prores"), (".webm", "vp9"), (".mkv", "ffv1")]
)
def test_transparency_is_kept(tmp_path: Path, suffix: str, codec: str) -> None:
    frames, alpha = a_transparent_source(tmp_path / "a.mov")
    writer = copy(tmp_path / "a.mov", tmp_path / f"b{suffix}")
    assert not any("transparen" in note for note in writer.notes)
    with open_clip(tmp_path / f"b{suffix}") as reader:
        assert reader.clip.alpha and reader.clip.codec == codec
        assert abs(reader.alpha(0, 4).astype(int) - alpha).max() <= 5
        assert abs(reader.read(0, 4).astype(int) - frames).mean() < 4
        assert np.array_equal(reader.alpha(2, 3)[0], reader.alpha(0, 4)[2])
        assert np.array_equal(reader.peek([1]), reader.read_at([1]))


def test_transparency_turns_with_the_picture(tmp_path: Path) -> None:
    _, alpha = a_transparent_source(tmp_path / "a.mov")
    turn_on_display(tmp_path / "a.mov", tmp_path / "b.mov", (0, 1, -1, 0))
    with open_clip(tmp_path / "b.mov") as reader:
        assert abs(reader.alpha(0, 1)[0].astype(int) - np.rot90(alpha[0], -1)).max() <= 5


@pytest.mark.parametrize(
    ("name", "codec"), [("b.mp4", "auto"), ("b.mov", "libx264"), ("b.mkv", "libx265")]
)
def test_lost_transparency_is_said(tmp_path: Path, name: str, codec: str) -> None:
    frames, _ = a_transparent_source(tmp_path / "a.mov")
    writer = copy(tmp_path / "a.mov", tmp_path / name, codec=codec)
    assert sum("write to .mov (ProRes 4444)" in note for note in writer.notes) == 1
    with open_clip(tmp_path / name) as reader:
        assert not reader.clip.alpha
        assert abs(reader.read(0, 4).astype(int) - frames).mean() < 4


def test_an_alpha_channel_without_use_is_none(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)))
    for name, form in (("a.gif", "rgb8"), ("full.mov", "yuva444p10le")):
        codec = ["-c:v", "prores_ks"] if name.endswith("mov") else []
        ffmpeg("-i", tmp_path / "a.mp4", *codec, "-pix_fmt", form, tmp_path / name)
        with open_clip(tmp_path / name) as reader:
            assert not reader.clip.alpha


def two_fields(clip: Clip) -> NDArray[Any]:
    """Red in the even lines and blue in the odd ones."""
    frames = np.empty((clip.frame_count, clip.height, clip.width, 3), np.uint8)
    frames[:, ::2], frames[:, 1::2] = (180, 60, 60), (60, 60, 180)
    return frames


@pytest.mark.parametrize("first", ["top", "bottom"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_fields_stay_fields(tmp_path: Path, first: str, suffix: str) -> None:
    """Color of 4:2:0 never mixes lines of two times."""
    clip = dataclasses.replace(a_clip(range(4)), fields=first)
    frames = two_fields(clip)
    written = write(tmp_path / f"a{suffix}", clip, frames, crf=4)
    assert written.notes == ()
    writer = copy(tmp_path / f"a{suffix}", tmp_path / "b.mp4", crf=4)
    assert writer.notes == ()
    for path in (tmp_path / f"a{suffix}", tmp_path / "b.mp4"):
        with av.open(str(path)) as container:
            decoded = next(container.decode(video=0))
            assert decoded.interlaced_frame and first_field(decoded) == first
        with open_clip(path) as reader:
            assert reader.clip.fields == first and reader.clip.chroma == "4:2:0"
            assert [f"{first} field first" in note for note in reader.notes] == [True]
            assert abs(reader.read(0, 4).astype(int) - frames).max() < 16
            assert np.array_equal(reader.peek([2]), reader.read_at([2]))


def test_fields_of_other_software(tmp_path: Path) -> None:
    clip = dataclasses.replace(a_clip(range(3)), alpha=True)  # ffv1 with 4:4:4 color
    with VideoWriter(tmp_path / "a.mkv", clip) as writer:
        writer.write(two_fields(clip))
    weave = ["-vf", "setfield=bff,scale=interl=1,format=yuv420p", "-flags", "+ildct+ilme"]
    ffmpeg("-i", tmp_path / "a.mkv", *weave, "-c:v", "mpeg2video", "-q:v", 1, tmp_path / "b.mpg")
    with open_clip(tmp_path / "b.mpg") as reader:
        assert reader.clip.fields == "bottom"
        assert abs(reader.read(0, 1).astype(int) - two_fields(clip)[:1]).max() < 20


def test_fields_that_share_a_row_of_color_are_read_as_one_picture() -> None:
    """swscale would read past the end of the plane."""
    heights = {"yuv420p": [48, 52, 56], "yuv410p": [48, 56], "yuv422p": [], "gray": []}
    for form, whole in heights.items():
        found = [h for h in range(48, 58) if by_field(av.VideoFrame(64, h, form))]
        assert found == whole


def test_lost_fields_are_said(tmp_path: Path) -> None:
    clip = dataclasses.replace(a_clip(range(4)), fields="top")
    odd = dataclasses.replace(clip, height=50)
    for name, described, options in (
        ("a.webm", clip, {}),
        ("a.mp4", clip, {"codec": "libx265"}),
        ("b.mp4", odd, {}),
    ):
        writer = write(tmp_path / name, described, smooth_frames(described), **options)
        assert sum("does not keep the fields" in note for note in writer.notes) == 1
        with open_clip(tmp_path / name) as reader:
            assert reader.clip.fields == "progressive"


def test_fields_of_turned_pictures(tmp_path: Path) -> None:
    clip = dataclasses.replace(a_clip(range(2)), fields="top")
    write(tmp_path / "a.mp4", clip, two_fields(clip), crf=4)
    for matrix, fields in (((0, 1, -1, 0), "progressive"), ((-1, 0, 0, -1), "bottom")):
        turn_on_display(tmp_path / "a.mp4", tmp_path / "b.mp4", matrix)
        with open_clip(tmp_path / "b.mp4") as reader:
            assert reader.clip.fields == fields
            assert any("interlaced" in note for note in reader.notes)


TAGS = {
    "title": "Take 3 — Übung",
    "artist": "A. Person",
    "comment": "handheld",
    "location": "+52.5200+013.4050/",
    "timecode": "01:00:00:00",
    "creation_time": "2024-05-01T10:00:00.000000Z",
}
CAMERA = {"make": "Maker", "model": "Model 4"}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_tags_are_kept_or_named(tmp_path: Path, suffix: str) -> None:
    clip = dataclasses.replace(a_clip(frame_rate=Fraction(24)), tags=TAGS | CAMERA)
    write(tmp_path / "a.mkv", clip)
    writer = copy(tmp_path / "a.mkv", tmp_path / f"b{suffix}")
    lost = CAMERA if suffix == ".mp4" else {}
    assert writer.notes == ((".mp4 does not keep the tags make, model",) if lost else ())
    with open_clip(tmp_path / f"b{suffix}") as reader:
        assert dict(reader.clip.tags) == {k: v for k, v in (TAGS | CAMERA).items() if k not in lost}
        assert reader.notes == ()


def test_tags_of_phones_come_under_common_names(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)))
    apple = {"location.ISO6709": "+52.5+013.4/", "make": "Apple", "model": "iPhone 15"}
    keys = [x for k, v in apple.items() for x in ("-metadata", f"com.apple.quicktime.{k}={v}")]
    ffmpeg("-i", tmp_path / "a.mp4", "-c", "copy", "-movflags", "use_metadata_tags", *keys,
           tmp_path / "phone.mov")  # fmt: skip
    copy(tmp_path / "phone.mov", tmp_path / "b.mov")
    with open_clip(tmp_path / "b.mov") as reader:
        assert reader.clip.tags == {
            "location": "+52.5+013.4/", "make": "Apple", "model": "iPhone 15"
        }  # fmt: skip


def test_tags_that_are_no_utf_8(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", dataclasses.replace(a_clip(range(3)), tags={"title": "abcXYZ"}))
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data.replace(b"abcXYZ", b"abc\xe9\xfc\xff"))
    with open_clip(tmp_path / "a.mp4") as reader:
        assert reader.clip.tags["title"] == "abc\ufffd\ufffd\ufffd"
    copy(tmp_path / "a.mp4", tmp_path / "b.mkv")
    with open_clip(tmp_path / "b.mkv") as reader:
        assert reader.clip.tags["title"] == "abc\ufffd\ufffd\ufffd"


@pytest.mark.parametrize("code", ["later", "01:00:00;00", "1:0:0:0"])
def test_a_time_code_that_would_stop_the_muxer_is_left_out(tmp_path: Path, code: str) -> None:
    clip = dataclasses.replace(a_clip(range(3), frame_rate=Fraction(24)), tags={"timecode": code})
    assert write(tmp_path / "a.mov", clip).notes == (".mov does not keep the tags timecode",)
    assert tags_held({"timecode": code}, "matroska", Fraction(24)) == {"timecode": code}


def test_a_variable_rate_has_no_time_code(tmp_path: Path) -> None:
    clip = dataclasses.replace(a_clip([0, 1, 9], Fraction(1, 24)), tags={"timecode": "01:00:00:00"})
    assert "timecode" in write(tmp_path / "a.mp4", clip).notes[0]


def test_what_is_left_behind_is_named_once(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip())
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    (tmp_path / "chapters").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n"
    )
    ffmpeg("-i", tmp_path / "a.mp4", "-i", tmp_path / "a.srt", "-i", tmp_path / "chapters",
           *sine(), "-map", "0:v", "-map", "0:v", "-map", "1", "-map", "3",
           "-map_chapters", "2", "-c:v", "copy", tmp_path / "b.mkv")  # fmt: skip
    with open_clip(tmp_path / "b.mkv") as reader:
        assert reader.notes == (
            "not carried over: 1 further picture track, 1 subtitle track, chapters",
        )
        assert reader._scan.plain


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_frames_within_one_millisecond(tmp_path: Path, suffix: str) -> None:
    clip = a_clip([0, 3000, 3010, 6000], Fraction(1, 90_000), end_pts=9000)
    writer = write(tmp_path / f"a{suffix}", clip)
    assert [("1 frames come" in note) for note in writer.notes] == [True] * (suffix == ".mkv")


@pytest.mark.parametrize(
    ("form", "name"), [("yuv422p", "4:2:2"), ("yuv444p", "4:4:4"), ("gbrp", "4:4:4")]
)
def test_finer_color_is_reduced_with_a_word(tmp_path: Path, form: str, name: str) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)))
    ffmpeg("-i", tmp_path / "a.mp4", "-c:v", "ffv1", "-pix_fmt", form, tmp_path / "b.mkv")
    with open_clip(tmp_path / "b.mkv") as reader:
        assert reader.clip.chroma == name
    assert copy(tmp_path / "b.mkv", tmp_path / "c.mp4").notes == (
        f"{name} color is stored as 4:2:0",
    )
    assert copy(tmp_path / "c.mp4", tmp_path / "d.mp4").notes == ()


def test_sampling_of_pixel_formats() -> None:
    for form, name in {
        "yuv420p": "4:2:0", "nv12": "4:2:0", "yuv420p10le": "4:2:0", "yuva420p": "4:2:0",
        "yuv422p": "4:2:2", "uyvy422": "4:2:2", "yuv411p": "4:1:1", "yuv440p": "4:4:0",
        "yuv410p": "4:1:0", "yuva444p10le": "4:4:4", "gbrp": "4:4:4", "rgba": "4:4:4",
        "pal8": "4:4:4", "gray": "4:0:0", "gray10le": "4:0:0", "ya8": "4:0:0",
    }.items():  # fmt: skip
        assert sampling(av.VideoFormat(form)) == name
    assert [has_alpha(av.VideoFormat(f)) for f in ("yuva420p", "ya8", "bgra", "pal8")] == [True] * 4
    assert not any(has_alpha(av.VideoFormat(f)) for f in ("yuv420p", "bgr0", "gray"))


def test_a_size_that_changes_is_named_and_scaled(tmp_path: Path) -> None:
    for name, size in (("a", (64, 48)), ("b", (96, 64))):
        clip = a_clip(range(3), width=size[0], height=size[1])
        write(tmp_path / f"{name}.mp4", clip, smooth_frames(clip), crf=2)
        ffmpeg("-i", tmp_path / f"{name}.mp4", "-c", "copy", tmp_path / f"{name}.h264")
    both = (tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes()
    (tmp_path / "both.h264").write_bytes(both)
    with open_clip(tmp_path / "both.h264") as reader:
        assert reader.clip.frame_count == 6
        assert sum("(64×48, 96×64)" in note for note in reader.notes) == 1
        frames = reader.read(0, 6).astype(int)
        assert np.array_equal(reader.peek([5]), frames[5:])
    with open_clip(tmp_path / "b.mp4") as reader:
        larger = reader.read(0, 3)
    assert abs(frames[3:].mean(axis=(1, 2)) - larger.mean(axis=(1, 2))).max() < 2


def test_rationals_of_any_pyav() -> None:
    class Rational:
        def __init__(self, numerator: int, denominator: int) -> None:
            self.numerator, self.denominator = numerator, denominator

    assert fraction(Rational(30000, 1001)) == Fraction(30000, 1001)
    assert [fraction(Rational(0, 1)), fraction(Rational(0, 0)), fraction(None)] == [None] * 3


def test_lost_tags_are_those_that_a_file_does_not_show(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", dataclasses.replace(a_clip(range(2)), tags={"title": "one"}))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert lost_tags({"title": "one", "foo": "bar"}, container) == ["foo"]
        assert tags_of(container, container.streams.video[0]) == {"title": "one"}
