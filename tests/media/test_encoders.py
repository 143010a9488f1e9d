"""Each encoder that is here writes what reads again, or is refused by one sentence before work."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.clips import a_clip, numbered_frames, smooth_frames, write
from vidhair.errors import EncodingFailed
from vidhair.media import VideoWriter, open_clip, try_out
from vidhair.media.encoders import CONTAINERS, video_encoders
from vidhair.report.comparison import write_comparison


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_every_encoder_writes_or_is_refused_before(tmp_path: Path, suffix: str) -> None:
    clip = a_clip(np.arange(10) * 3750, Fraction(1, 90_000), end_pts=37_500)
    frames, target, written = smooth_frames(clip), tmp_path / f"a{suffix}", set()
    for codec in video_encoders():
        try:
            try_out(target, clip, codec=codec)
        except EncodingFailed as error:
            assert ("\n" not in str(error) and "take " in str(error)) or "choose" in str(error)
            assert "place" not in str(error)
            continue
        finally:
            assert list(tmp_path.iterdir()) == []
        writer = write(target, clip, frames, codec=codec)
        with open_clip(target) as copy:
            assert copy.clip.frame_count == 10, codec
            times = copy.clip.pts * float(copy.clip.time_base) - clip.pts * float(clip.time_base)
            assert abs(times).max() <= 0.0005, codec
            assert abs(copy.read(0, 10).astype(int) - frames).mean() < 6, codec
        written.add(writer._encoder.name)
        target.unlink()
    assert CONTAINERS[suffix][1] in written
    assert {".webm": {"libvpx"}, ".mov": {"prores_ks", "mjpeg", "mpeg4"}}.get(
        suffix, set()
    ) <= written


@pytest.mark.parametrize(
    ("codec", "suffix", "sentence"),
    [
        ("aac", ".mp4", "aac makes sound, not pictures; take libx264"),
        ("subrip", ".mkv", "subrip makes subtitles, not pictures"),
        ("vp7", ".mp4", "vp7 only reads"),
        ("libx246", ".mp4", "did you mean libx26"),
        ("no such thing", ".mp4", "is no encoder of this ffmpeg; take libx264, or auto"),
        ("libx264", ".webm", ".webm does not hold what libx264 makes; write to .*, or take"),
        ("prores_ks", ".mp4", ".mp4 does not hold what prores_ks makes; write to .mov or .mkv"),
        ("gif", ".mov", "gif holds no full color|does not hold"),
        ("h264_vaapi", ".mp4", "h264_vaapi needs hardware.*; take libx264"),
        ("hevc_videotoolbox", ".mov", "hevc_videotoolbox needs hardware.*; take libx265"),
        ("hevc_videotoolbox", ".webm", "needs hardware.*; take libvpx-vp9"),
        ("h264_v4l2m2m", ".mp4", "h264_v4l2m2m needs hardware.*; take libx264"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, codec: str, suffix: str, sentence: str
) -> None:
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"before")
    for refused in (
        lambda: try_out(target, a_clip(), codec=codec),
        lambda: write(target, a_clip(), codec=codec),
    ):
        with pytest.raises(EncodingFailed, match=sentence):
            refused()
    assert target.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    "codec", ["mpeg4", "mjpeg", "mpeg2video", "libvpx", "libvpx-vp9", "libsvtav1"]
)
def test_quality_counts(tmp_path: Path, codec: str) -> None:
    clip = a_clip(range(4), width=160, height=96)
    noise = np.random.default_rng(0).integers(-20, 20, (4, 96, 160, 3))
    frames = (smooth_frames(clip) + noise).clip(0, 255).astype(np.uint8)
    sizes = []
    for crf in (12, 40):
        writer = write(tmp_path / "a.mkv", clip, frames, codec=codec, crf=crf)
        sizes.append((tmp_path / "a.mkv").stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    steps = [note for note in writer.notes if "crf 40 becomes its quantiser 31, of" in note]
    assert len(steps) == (codec in ("mpeg4", "mjpeg", "mpeg2video"))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx", "libvpx-vp9", "libsvtav1"])
def test_the_best_quality_is_the_best(tmp_path: Path, codec: str) -> None:
    """crf 0 means "as you like" to some encoders, and others refuse it."""
    clip = a_clip(range(4), width=160, height=96)
    noise = np.random.default_rng(0).integers(-20, 20, (4, 96, 160, 3))
    frames = (smooth_frames(clip) + noise).clip(0, 255).astype(np.uint8)
    sizes = []
    for crf in (0, 1, 8):
        write(tmp_path / "a.mkv", clip, frames, codec=codec, crf=crf)
        sizes.append((tmp_path / "a.mkv").stat().st_size)
    assert sizes[0] >= sizes[1] > sizes[2]


@pytest.mark.parametrize(
    ("codec", "crf", "remedy"),
    [("libx264", 0, "encode.crf=1"), ("libx264rgb", 9, "libx264"), ("libx264", 1, "")],
)
def test_profiles_that_players_lack_are_told(
    tmp_path: Path, codec: str, crf: int, remedy: str
) -> None:
    notes = write(tmp_path / "a.mp4", a_clip(range(2)), codec=codec, crf=crf).notes
    with av.open(str(tmp_path / "a.mp4")) as container:
        profile = container.streams.video[0].codec_context.profile
    told = [note for note in notes if "QuickTime" in note and f"with {remedy} they" in note]
    assert bool(told) == bool(remedy) == (profile == "High 4:4:4 Predictive")


def test_what_has_no_quality_says_so(tmp_path: Path) -> None:
    clip = a_clip(range(3))
    for codec, words in {"ffv1": "lossless", "prores_ks": "profiles, and is given hq"}.items():
        (note,) = write(tmp_path / "a.mkv", clip, codec=codec).notes
        assert words in note and "knows no crf or preset" in note


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("preset", ["ultrafast", "medium", "slower"])
@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_clips_in_h265(tmp_path: Path, suffix: str, preset: str, count: int) -> None:
    clip = a_clip(np.arange(count) * 512, Fraction(1, 12288), end_pts=512 * count)
    with VideoWriter(tmp_path / f"a{suffix}", clip, codec="libx265", preset=preset) as writer:
        writer.write(numbered_frames(clip))
    with open_clip(tmp_path / f"a{suffix}") as copy:
        assert copy.clip.frame_count == count


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mov")])
@pytest.mark.parametrize(("width", "height"), [(63, 47), (63, 48), (64, 47)])
def test_odd_sizes_are_padded_on_request(
    tmp_path: Path, codec: str, suffix: str, width: int, height: int
) -> None:
    clip = a_clip(range(4), width=width, height=height)
    frames, target = smooth_frames(clip), tmp_path / f"a{suffix}"
    (note,) = write(target, clip, frames, codec=codec, crf=4, odd="pad").notes
    assert f"{width}×{height} is odd" in note and note.endswith("64×48")
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p" and context.profile in ("High", "Main")
    with open_clip(target) as copy:
        seen = copy.read(0, 4).astype(int)
        assert seen.shape[1:3] == (48, 64)
        edge = np.pad(frames, [(0, 0), (0, 48 - height), (0, 64 - width), (0, 0)], mode="edge")
        assert abs(seen - edge).mean() < 3
    (note,) = write(target, clip, frames, codec=codec).notes
    assert "4:4:4" in note and "QuickTime" in note and "encode.odd=pad" in note


def test_an_even_size_is_left_alone(tmp_path: Path) -> None:
    assert write(tmp_path / "a.mp4", a_clip(range(3)), odd="pad").notes == ()


def test_padding_is_opaque_where_the_edge_is(tmp_path: Path) -> None:
    clip = dataclasses.replace(a_clip(range(2), width=31, height=33), alpha=True)
    with VideoWriter(tmp_path / "a.mov", clip, odd="pad") as writer:
        writer.write(smooth_frames(clip), np.zeros((2, 33, 31), np.uint8))
    with open_clip(tmp_path / "a.mov") as copy:
        assert (copy.clip.width, copy.clip.height) == (32, 34)
        assert copy.alpha(0, 2).max() == 0


@pytest.mark.parametrize("odd", ["keep", "pad"])
def test_odd_sizes_are_compared(tmp_path: Path, odd: str) -> None:
    clip = a_clip(range(3), width=63, height=47)
    write(tmp_path / "a.mp4", clip, smooth_frames(clip))
    write(tmp_path / "b.mp4", clip, 255 - smooth_frames(clip), odd=odd)
    write_comparison(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "both.mp4")
    with av.open(str(tmp_path / "both.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height, context.pix_fmt) == (126, 48, "yuv420p")
