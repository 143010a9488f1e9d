import os
import secrets
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.media.clips import REAL_CLIPS, a_clip, ffmpeg, numbered_frames, sine, write
from vidhair.errors import DiskFull, EncodingFailed, OutputNotWritable
from vidhair.media import VideoWriter, check_target, open_clip

TIME_BASES = [
    Fraction(1, 24), Fraction(1, 1000), Fraction(1, 12288), Fraction(1, 12800),
    Fraction(1, 30000), Fraction(1001, 30000), Fraction(1001, 24000), Fraction(1, 90000),
    Fraction(1, 1_000_000), Fraction(7, 3),
]  # fmt: skip


def same_numbers(frames: NDArray[Any], originals: NDArray[Any]) -> bool:
    """Whether frames and originals show the same pictures in the same order."""
    small, large = frames[:, ::2, ::2, 0].astype(int), originals[:, ::2, ::2, 0].astype(int)
    nearest = abs(small[:, None] - large[None]).mean(axis=(2, 3)).argmin(1)
    return nearest.tolist() == list(range(len(originals)))


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@given(
    time_base=st.sampled_from(TIME_BASES),
    start=st.integers(0, 100_000),
    steps=st.lists(st.integers(1, 3000), max_size=12),
    last=st.integers(1, 3000),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_time_stamps_are_exact_in_mp4(
    tmp_path: Path, suffix: str, time_base: Fraction, start: int, steps: list[int], last: int
) -> None:
    pts = np.cumsum([start, *steps])
    clip = a_clip(pts, time_base, width=32, height=16, end_pts=int(pts[-1]) + last)
    write(tmp_path / f"a{suffix}", clip)
    with open_clip(tmp_path / f"a{suffix}") as copy:
        seen = copy.clip
        assert copy.notes == ()
        assert [p * seen.time_base for p in seen.pts.tolist()] == [p * time_base for p in pts]
        assert same_numbers(copy.read(0, seen.frame_count), numbered_frames(clip))


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@given(
    time_base=st.sampled_from(TIME_BASES),
    start=st.floats(0, 1000),
    steps=st.lists(st.floats(0.002, 3), max_size=10),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_time_stamps_are_exact_to_a_millisecond_in_matroska(
    tmp_path: Path, suffix: str, time_base: Fraction, start: float, steps: list[float]
) -> None:
    pts = [round(start / time_base)]
    for step in steps:
        pts.append(pts[-1] + max(1, round(step / time_base)))
    clip = a_clip(pts, time_base, width=32, height=16)
    write(tmp_path / f"a{suffix}", clip)
    with open_clip(tmp_path / f"a{suffix}") as copy:
        assert copy.clip.frame_count == len(pts)
        for before, after in zip(pts, copy.clip.pts.tolist(), strict=True):
            assert abs(before * time_base - after * copy.clip.time_base) <= Fraction(1, 2000)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_copy_of_a_copy_has_the_same_times(tmp_path: Path, suffix: str) -> None:
    clip = a_clip([100, 140, 181, 200, 290], Fraction(1, 1000), end_pts=330)
    write(tmp_path / f"a{suffix}", clip)
    with open_clip(tmp_path / f"a{suffix}") as first:
        write(tmp_path / f"b{suffix}", first.clip, first.read(0, 5))
        with open_clip(tmp_path / f"b{suffix}") as second:
            assert second.clip.pts.tolist() == first.clip.pts.tolist() == clip.pts.tolist()
            assert second.clip.end_pts == first.clip.end_pts
            assert second.clip.frame_rate == first.clip.frame_rate


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason=f"no real clips in {REAL_CLIPS}")
def test_a_real_clip_goes_round(tmp_path: Path) -> None:
    with open_clip(REAL_CLIPS / "speaker_684.mp4") as source:
        clip = source.clip
        with VideoWriter(tmp_path / "out.mp4", clip, crf=4, preset="veryfast") as writer:
            for start in range(0, clip.frame_count, 16):
                writer.write(source.read(start, min(start + 16, clip.frame_count)))
        with open_clip(tmp_path / "out.mp4") as copy:
            assert copy.clip.pts.tolist() == clip.pts.tolist()
            assert copy.clip.time_base == clip.time_base
            assert copy.clip.duration == clip.duration
            assert copy.clip.color == clip.color
            difference = copy.read(0, 59).astype(int) - source.read(0, 59)
    assert abs(difference).mean() < 1
    assert abs(difference.mean()) < 0.1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".m4v", ".webm"])
@pytest.mark.parametrize(("width", "height"), [(63, 47), (64, 47), (1, 1), (2, 2)])
def test_every_size_comes_out(tmp_path: Path, suffix: str, width: int, height: int) -> None:
    clip = a_clip(range(3), width=width, height=height)
    target = tmp_path / f"a{suffix}"
    writer = write(target, clip, np.full((3, height, width, 3), 200, np.uint8))
    with open_clip(target) as copy:
        assert (copy.clip.width, copy.clip.height) == (width, height)
        assert abs(copy.read(0, 3).astype(int) - 200).max() <= 2
    odd = bool(width % 2 or height % 2)
    assert [("4:4:4" in note) for note in writer.notes] == [True] * (odd and suffix != ".webm")


def test_frames_may_have_another_size_than_the_clips(tmp_path: Path) -> None:
    clip = a_clip([0, 40, 80], width=32, height=16)
    given = VideoWriter(tmp_path / "a.mp4", clip, crf=1, preset="ultrafast")
    assert given.sized(32, 16) is given
    frames = np.full((3, 46, 70, 3), 90, np.uint8)
    with given.sized(70, 46) as writer:
        writer.write(frames)
    with open_clip(tmp_path / "a.mp4") as copy:
        seen = copy.clip
        assert (seen.width, seen.height, seen.frame_count) == (70, 46, 3)
        assert [p * seen.time_base for p in seen.pts.tolist()] == [
            p * clip.time_base for p in clip.pts
        ]


def test_pixel_shapes_are_kept(tmp_path: Path) -> None:
    clip = a_clip(range(3), sample_aspect_ratio=Fraction(16, 11))
    for suffix in (".mp4", ".mkv", ".mov"):
        writer = write(tmp_path / f"a{suffix}", clip)
        with open_clip(tmp_path / f"a{suffix}") as copy:
            assert copy.clip.sample_aspect_ratio == Fraction(16, 11)
        assert writer.notes == ()
    assert "16/11" in write(tmp_path / "a.webm", clip).notes[0]


def test_mp4_can_be_played_while_it_loads(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip())
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_other_encoders(tmp_path: Path) -> None:
    clip = a_clip(range(5))
    write(tmp_path / "a.mkv", clip, codec="ffv1")
    write(tmp_path / "a.mp4", clip, codec="mpeg4")
    for name, codec in {"a.mkv": "ffv1", "a.mp4": "mpeg4"}.items():
        with open_clip(tmp_path / name) as copy:
            assert (copy.clip.codec, copy.clip.frame_count) == (codec, 5)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("no_such_codec", ".mp4"), ("libx264", ".webm"), ("dnxhd", ".mov")]
)
def test_encoders_that_are_missing_or_refuse(tmp_path: Path, codec: str, suffix: str) -> None:
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"before")
    with pytest.raises(EncodingFailed, match=codec), VideoWriter(target, a_clip(), codec=codec):
        pass
    assert target.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for target, reason in {
        tmp_path / "missing" / "a.mp4": "no folder .*missing; create it first",
        tmp_path / "folder.mp4": "not a file",
        tmp_path / "a.xyz": r"\.mp4, \.m4v, \.mov, \.mkv, \.webm",
        tmp_path / "a": "known suffix",
        Path("/proc/a.mp4"): "cannot be written",
    }.items():
        with pytest.raises(OutputNotWritable, match=reason):
            check_target(target)
        with pytest.raises(OutputNotWritable, match=reason):
            VideoWriter(target, a_clip())
    check_target(tmp_path / "fine.MP4")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputNotWritable, match="Permission denied"):
        check_target(tmp_path / "a.mp4")


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)))
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    os.link(tmp_path / "a.mp4", tmp_path / "hard.mp4")
    before = (tmp_path / "a.mp4").read_bytes()
    with open_clip(tmp_path / "a.mp4") as source:
        for name in ("a.mp4", "link.mp4", "hard.mp4"):
            with pytest.raises(OutputNotWritable, match="the source itself"):
                VideoWriter(tmp_path / name, source.clip)
    with pytest.raises(OutputNotWritable, match="the source itself"):
        VideoWriter(tmp_path / "a.mp4", a_clip(), sound_from=tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == before


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), VideoWriter(target, a_clip()) as writer:
        writer.write(numbered_frames(a_clip())[:10])
        raise KeyboardInterrupt
    assert target.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_foreign_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), VideoWriter(tmp_path / "a.mp4", a_clip()):
        raise FileNotFoundError("other")


def test_too_few_frames_are_no_video(tmp_path: Path) -> None:
    with (
        pytest.raises(EncodingFailed, match="10 of 24 frames"),
        VideoWriter(tmp_path / "a.mp4", a_clip()) as writer,
    ):
        writer.write(numbered_frames(a_clip())[:10])
    assert list(tmp_path.iterdir()) == []


def test_frames_of_the_wrong_kind(tmp_path: Path) -> None:
    frames = numbered_frames(a_clip())
    for wrong in (
        frames[..., :2],
        frames[:, :-1],
        frames[0],
        frames.astype(float),
        frames.repeat(2, 0),
    ):
        with pytest.raises(AssertionError), VideoWriter(tmp_path / "a.mp4", a_clip()) as writer:
            writer.write(wrong)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_not_contiguous(tmp_path: Path) -> None:
    clip = a_clip(range(5))
    frames = numbered_frames(clip)
    write(tmp_path / "a.mp4", clip, frames)
    write(tmp_path / "b.mp4", clip, np.flip(np.flip(frames, 2).copy(), 2))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_result_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write(tmp_path / "a.mp4", a_clip(range(2)))
    assert (tmp_path / "a.mp4").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The hidden file is led to a device on which every write fails for want of room."""
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"before")
    monkeypatch.setattr(secrets, "token_hex", lambda n: "0")
    (tmp_path / f".a{suffix}.part-0{suffix}").symlink_to("/dev/full")
    clip = a_clip(range(200), width=160, height=120)
    with pytest.raises(DiskFull, match=rf"a\{suffix}"):
        write(target, clip, crf=0)
    assert target.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_a_killed_writer_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    code = """
import sys, time
from tests.media.clips import a_clip, numbered_frames
from vidhair.media import VideoWriter
clip = a_clip(range(300), width=160, height=120)
with VideoWriter(sys.argv[1], clip, preset="ultrafast") as writer:
    writer.write(numbered_frames(clip)[:250])
    print("half way", flush=True)
    time.sleep(60)
"""
    target = tmp_path / "a.mp4"
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], cwd=root, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half way\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert all(file.name.startswith(".a.mp4.part") for file in tmp_path.iterdir())


def test_sound_and_pictures_lie_side_by_side(tmp_path: Path) -> None:
    """Interleaved all along, so that neither writing nor playing needs to hold one of them."""
    clip = a_clip(range(240), width=160, height=120)
    write(tmp_path / "silent.mp4", clip)
    ffmpeg("-i", tmp_path / "silent.mp4", *sine(10), "-c:v", "copy", "-c:a", "aac",
           tmp_path / "in.mp4")  # fmt: skip
    write(tmp_path / "out.mp4", clip, sound_from=tmp_path / "in.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = [
            (packet.pos, packet.stream.type, float((packet.dts or 0) * packet.time_base))
            for packet in container.demux()
            if packet.size
        ]
    latest = {"video": 0.0, "audio": 0.0}
    for _, kind, seconds in sorted(packets):
        latest[kind] = seconds
        assert abs(latest["video"] - latest["audio"]) < 1.5


def test_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["12:30 café %03d.mp4", "a" * 251 + ".mp4", "é" * 125 + ".mkv"]
    for name in names:
        write(Path(name), a_clip(range(3)))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    with pytest.raises(OutputNotWritable, match="name too long"):
        write(Path("a" * 300 + ".mp4"), a_clip(range(3)))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_tints_are_kept_faithfully(
    tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Blotches of skin in 8×8 pixels, each of its own lightness and tint."""
    rng = np.random.default_rng(0)
    blotches = rng.normal((190, 140, 120), 9, (6, 8, 8, 3)).repeat(8, 1).repeat(8, 2)
    frames = blotches.clip(0, 255).astype(np.uint8)
    clip = a_clip(np.arange(6) * 512, Fraction(1, 12800), width=64, height=64, end_pts=6 * 512)
    with VideoWriter(tmp_path / "out.mp4", clip, codec=codec, crf=22) as writer:
        writer.write(frames)
    with open_clip(tmp_path / "out.mp4") as copy:
        error = copy.read(0, 6)[:, 4::8, 4::8].astype(float) - frames[:, 4::8, 4::8]
    tint = error - error.mean(-1, keepdims=True)
    assert tint.std() < 1  # of 255; 1.3 and 1.9 as these encoders come
    assert capfd.readouterr().err == ""
