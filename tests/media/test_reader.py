import os
import socket
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.media.clips import (
    REAL_CLIPS,
    a_clip,
    ffmpeg,
    numbered_frames,
    sine,
    smooth_frames,
    turn_on_display,
    write,
)
from vidhair.errors import NoFrames, NotAVideo, SourceNotFound
from vidhair.media import open_clip, reader
from vidhair.media.orientation import orientation_of
from vidhair.media.scan import whole_pts
from vidhair.media.source import decoded_frames

CLIPS = sorted(REAL_CLIPS.glob("*.mp4"))
real_clips = pytest.mark.parametrize(
    "path",
    CLIPS or [pytest.param(None, marks=pytest.mark.skip(f"no real clips in {REAL_CLIPS}"))],
    ids=lambda path: path.stem if path else "none",
)


def decoded(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def decode_count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames that the reader has decoded since it was opened."""
    original, count = decoded_frames, [0]

    def counting(*args: Any) -> Iterator[Any]:
        for frame in original(*args):
            count[0] += 1
            yield frame

    monkeypatch.setattr(reader, "decoded_frames", counting)
    return count


@real_clips
def test_chunks_and_random_access_equal_one_whole_read(path: Path) -> None:
    with open_clip(path) as clip_reader:
        clip = clip_reader.clip
        assert clip.frame_count == decoded(path)
        assert clip_reader.notes == ()
        whole = clip_reader.read(0, clip.frame_count)
        for start in range(0, clip.frame_count, 16):
            stop = min(start + 16, clip.frame_count)
            assert np.array_equal(clip_reader.read(max(start - 4, 0), stop)[-16:],
                                  whole[max(start - 4, 0) : stop][-16:])  # fmt: skip
        scattered = np.random.default_rng(0).integers(0, clip.frame_count, 20)
        assert np.array_equal(clip_reader.read_at(scattered), whole[scattered])


@real_clips
def test_peek_shows_the_same_pictures(path: Path) -> None:
    with open_clip(path) as clip_reader:
        wanted = np.linspace(0, clip_reader.clip.frame_count - 1, 9).astype(int)[::-1]
        seen = clip_reader.peek(wanted).astype(int)
        assert bool(clip_reader._decord) == clip_reader._scan.plain
        exact = clip_reader.read_at(wanted)
        difference = abs(seen[:, None] - exact[None]).mean(axis=(2, 3, 4))
    assert (difference.argmin(1) == np.arange(len(wanted))).all()
    assert difference.diagonal().max() < 2


def test_what_a_clip_tells(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    clip = a_clip(range(5, 25), Fraction(1001, 30000), sample_aspect_ratio=Fraction(4, 3))
    write(tmp_path / "silent.mp4", clip)
    ffmpeg("-i", tmp_path / "silent.mp4", *sine(), "-c:v", "copy", "-c:a", "aac", "-copyts", path)
    with open_clip(path) as clip_reader:
        seen = clip_reader.clip
    assert (seen.width, seen.height, seen.frame_count) == (64, 48, 20)
    assert seen.frame_rate == Fraction(30000, 1001)
    assert seen.sample_aspect_ratio == Fraction(4, 3)
    assert seen.rotation == 0
    assert seen.codec == "h264" and "mp4" in seen.container
    assert [(s.codec, s.rate, s.channels) for s in seen.sound] == [("aac", 44100, 1)]
    assert seen.duration == pytest.approx(20 * 1001 / 30000)
    assert np.diff(seen.pts).min() > 0


def test_reading_forward_with_overlap_decodes_each_frame_once(
    tmp_path: Path, decode_count: list[int]
) -> None:
    clip = a_clip(range(100))
    write(tmp_path / "a.mp4", clip)
    with open_clip(tmp_path / "a.mp4") as clip_reader:
        for start in range(0, 100, 10):
            clip_reader.read(max(start - 4, 0), start + 10)
    assert decode_count[0] == 100


def test_a_distant_frame_is_reached_by_its_keyframe(
    tmp_path: Path, decode_count: list[int]
) -> None:
    clip = a_clip(range(400))
    write(tmp_path / "a.mp4", clip, smooth_frames(clip))  # x264: a keyframe every 250 frames
    with open_clip(tmp_path / "a.mp4") as clip_reader:
        assert clip_reader._scan.keyframes.tolist() == [0, 250]
        late = clip_reader.read_at([260])
        assert decode_count[0] < 40
        assert np.array_equal(late, clip_reader.read(0, 261)[-1:])


def test_memory_is_bounded_by_the_chunk(tmp_path: Path) -> None:
    clip = a_clip(range(120), width=160, height=120)
    write(tmp_path / "a.mp4", clip)
    chunk = 10 * 160 * 120 * 3
    with open_clip(tmp_path / "a.mp4") as clip_reader:
        clip_reader.read(0, 10)
        tracemalloc.start()
        for start in range(10, 120, 10):
            clip_reader.read(start, start + 10)
            assert len(clip_reader._recent) <= reader._KEPT
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2.5 * chunk


def test_frame_numbers_in_any_order_and_repeated(tmp_path: Path) -> None:
    clip = a_clip()
    write(tmp_path / "a.mkv", clip)
    with open_clip(tmp_path / "a.mkv") as clip_reader:
        whole = clip_reader.read(0, 24)
        order = [23, 0, 5, 5, 11, 4]
        assert np.array_equal(clip_reader.read_at(order), whole[order])
        assert clip_reader.read_at([]).shape == (0, 48, 64, 3)
        assert clip_reader.peek([]).shape == (0, 48, 64, 3)
        clip_reader.close()
        assert np.array_equal(clip_reader.read(3, 4), whole[3:4])
        for outside in (-1, 24):
            with pytest.raises(AssertionError, match="0–23"):
                clip_reader.read_at([outside])


# Sources in which decord finds other pictures than it is asked for.
TRAPS = {
    "open_gop.mp4": ["-x264-params", "open-gop=1:keyint=12:bframes=3"],
    "intra_refresh.mp4": ["-x264-params", "intra-refresh=1:keyint=20"],
    "stream.ts": ["-x264-params", "keyint=12"],
    "open_gop.ts": ["-x264-params", "open-gop=1:keyint=12:bframes=3"],
    "untagged_hd.mp4": ["-vf", "scale=64:720", "-bsf:v", "h264_metadata=matrix_coefficients=2"],
    "raw.h264": [],
}


@pytest.mark.parametrize("name", TRAPS)
def test_traps_of_seeking(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.mkv", a_clip(range(70)), crf=4)
    ffmpeg("-i", tmp_path / "a.mkv", "-c:v", "libx264", *TRAPS[name], tmp_path / name)
    with open_clip(tmp_path / name) as clip_reader:
        assert clip_reader.clip.frame_count == 70
        whole = clip_reader.read(0, 70)
        for wanted in ([69], [30], [50, 2], [13, 12, 11], [48]):
            assert np.array_equal(clip_reader.read_at(wanted), whole[wanted])
            assert np.array_equal(clip_reader.peek(wanted), whole[wanted])


def test_a_cut_by_edit_list_is_respected(tmp_path: Path) -> None:
    clip = a_clip(range(48), Fraction(1, 24))
    write(tmp_path / "a.mp4", clip, crf=1)
    ffmpeg("-ss", 0.5, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "cut.mp4")
    with open_clip(tmp_path / "a.mp4") as before, open_clip(tmp_path / "cut.mp4") as after:
        assert after.notes == ()
        assert after.clip.frame_count == 36
        assert after.clip.pts[0] == 0
        assert np.array_equal(after.read(0, 36), before.read(12, 48))
        assert np.array_equal(after.peek([7]), before.read_at([19]))


# Display matrices (a, b, c, d) as phones write them, and what they do to a picture.
TURNS: dict[tuple[int, int, int, int], tuple[int, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    (1, 0, 0, 1): (0, lambda image: image),
    (0, 1, -1, 0): (90, lambda image: np.rot90(image, -1, (1, 2))),
    (-1, 0, 0, -1): (180, lambda image: np.rot90(image, 2, (1, 2))),
    (0, -1, 1, 0): (270, lambda image: np.rot90(image, 1, (1, 2))),
    (-1, 0, 0, 1): (0, lambda image: image[:, :, ::-1]),
    (0, 1, 1, 0): (270, lambda image: image.swapaxes(1, 2)),
}


@pytest.mark.parametrize("matrix", [m for m in TURNS if m[0] * m[3] - m[1] * m[2] > 0])
def test_a_turn_is_seen_beside_side_data_that_is_not_known(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    write(tmp_path / "a.mp4", a_clip())
    turn_on_display(tmp_path / "a.mp4", tmp_path / "turned.mp4", matrix)
    with av.open(str(tmp_path / "turned.mp4")) as container:
        frame = next(container.decode(video=0))
    known = orientation_of(frame)
    assert known is not None

    class Veiled:
        rotation = frame.rotation

        @property
        def side_data(self) -> None:
            raise ValueError("31 is not a valid Type")

    veiled: Any = Veiled()
    found = orientation_of(veiled)
    assert found is not None and np.array_equal(found, known)


@pytest.mark.parametrize("matrix", TURNS)
def test_turned_sources_come_out_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    clip = a_clip(range(3), sample_aspect_ratio=Fraction(4, 3))
    frames = np.full((3, 48, 64, 3), 90, np.uint8)
    frames[:, :24, :32] = 255, 0, 0
    frames[:, :24, 32:] = 0, 255, 0
    frames[:, 24:, :32] = 0, 0, 255
    write(tmp_path / "a.mp4", clip, frames, crf=1)
    turn_on_display(tmp_path / "a.mp4", tmp_path / "turned.mp4", matrix)
    rotation, turn = TURNS[matrix]
    with open_clip(tmp_path / "a.mp4") as stored, open_clip(tmp_path / "turned.mp4") as turned:
        expected = turn(stored.read(0, 3))
        assert (turned.clip.height, turned.clip.width) == expected.shape[1:3]
        assert turned.clip.rotation == rotation
        assert turned.clip.sample_aspect_ratio == (
            Fraction(3, 4) if turned.clip.height > turned.clip.width else Fraction(4, 3)
        )
        assert np.array_equal(turned.read(0, 3), expected)
        assert abs(turned.peek([1]).astype(int) - expected[1]).mean() < 5

        # An upright copy shows the same and is no longer turned.
        write(tmp_path / "out.mp4", turned.clip, turned.read(0, 3), crf=1)
    with open_clip(tmp_path / "out.mp4") as copy:
        assert copy.clip.rotation == 0
        assert copy.clip.sample_aspect_ratio == turned.clip.sample_aspect_ratio
        assert abs(copy.read(0, 3).astype(int) - expected).mean() < 5


@pytest.mark.parametrize("quarters", (1, 2, 3))
def test_a_reader_can_be_turned_further(tmp_path: Path, quarters: int) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3), sample_aspect_ratio=Fraction(4, 3)))
    with open_clip(tmp_path / "a.mp4") as plain, plain.turned(quarters) as turned:
        expected = np.rot90(plain.read(0, 3), quarters, (1, 2))
        assert (turned.clip.height, turned.clip.width) == expected.shape[1:3]
        assert np.array_equal(turned.read(0, 3), expected)
        assert np.array_equal(turned.peek([2])[0], expected[2])
        assert np.array_equal(turned.grey(0, 1), np.rot90(plain.grey(0, 1), quarters, (1, 2)))
        ratio = Fraction(4, 3) if quarters == 2 else Fraction(3, 4)
        assert turned.clip.sample_aspect_ratio == ratio
        assert turned.clip.rotation == 360 - 90 * quarters
        assert turned.reading != plain.reading, "results are kept apart"


def test_upright_is_what_ffmpeg_shows(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)), crf=1)
    turn_on_display(tmp_path / "a.mp4", tmp_path / "turned.mp4", (0, 1, -1, 0))
    ffmpeg("-i", tmp_path / "turned.mp4", "-pix_fmt", "rgb24", "-f", "rawvideo", tmp_path / "raw")
    shown = np.fromfile(tmp_path / "raw", np.uint8).reshape(3, 64, 48, 3).astype(int)
    with open_clip(tmp_path / "turned.mp4") as turned:
        assert abs(shown - turned.read(0, 3)).mean() < 4


def test_a_crooked_display_matrix_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)))
    turn_on_display(tmp_path / "a.mp4", tmp_path / "turned.mp4", (1, 1, -1, 1))
    with open_clip(tmp_path / "turned.mp4") as turned:
        assert (turned.clip.width, turned.clip.rotation) == (64, 0)
        assert "no quarter turn" in turned.notes[0]


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_stem("short")
    short.write_bytes(data[: int(len(data) * share)])
    return short


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_source_gives_what_decodes(tmp_path: Path, suffix: str) -> None:
    clip = a_clip(range(60), width=160, height=120)
    write(tmp_path / f"a{suffix}", clip, crf=4)
    with open_clip(tmp_path / f"a{suffix}") as whole:
        expected = whole.read(0, 60)
    with open_clip(cut(tmp_path / f"a{suffix}", 0.6)) as clip_reader:
        count = clip_reader.clip.frame_count
        assert 10 < count < 60
        assert "announces" in clip_reader.notes[-1]
        frames = clip_reader.read(0, count)
        assert np.array_equal(clip_reader.read_at([count - 1, 3]), frames[[-1, 3]])
        assert np.array_equal(frames[:10], expected[:10])


def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(60)), codec="libx264")
    ffmpeg("-i", tmp_path / "a.mp4", "-c:v", "mpeg4", "-g", 1, "-q:v", 2, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size][20]
        place, size = hit.pos, hit.size
        assert place is not None
    data = bytearray((tmp_path / "b.mp4").read_bytes())
    data[place : place + size] = bytes(size)
    (tmp_path / "b.mp4").write_bytes(data)
    with open_clip(tmp_path / "b.mp4") as clip_reader:
        assert clip_reader.clip.frame_count in (59, 60)
        assert clip_reader.notes
        frames = clip_reader.read(0, clip_reader.clip.frame_count)
        assert np.array_equal(clip_reader.read_at([40, 10]), frames[[40, 10]])
        assert clip_reader.clip.seconds_T[-1] == pytest.approx(59 / 24)


def test_missing_time_stamps_are_filled_in(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(30)))
    ffmpeg("-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "a.h264")
    with open_clip(tmp_path / "a.h264") as clip_reader:
        steps = np.diff(clip_reader.clip.pts)
        assert (steps == steps[0]).all()
        assert "time stamps" in clip_reader.notes[0]


@given(st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1), st.integers(1, 10_000))
def test_filled_in_time_stamps_increase(pts: list[int | None], step: int) -> None:
    filled, trusted = whole_pts(pts, step)
    assert filled.dtype == np.int64 and len(filled) == len(pts)
    assert (np.diff(filled) > 0).all()
    if trusted:
        assert filled.tolist() == pts


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=30), st.data())
def test_known_time_stamps_are_kept(steps: list[int], data: Any) -> None:
    pts = np.cumsum(steps).tolist()
    lost = data.draw(st.sets(st.integers(1, len(pts) - 2)))
    # Where frames follow each other tick by tick there is no room to err.
    filled, _ = whole_pts([None if i in lost else p for i, p in enumerate(pts)], 7)
    kept = [i for i in range(len(pts)) if i not in lost]
    assert filled[kept].tolist() == [pts[i] for i in kept]


def test_missing_sources(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        open_clip(tmp_path / "missing.mp4")
    with pytest.raises(SourceNotFound, match="folder"):
        open_clip(tmp_path)


def test_sources_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        bound.bind("socket")
    sources: dict[str | Path, str] = {
        tmp_path / "pipe": "it is a pipe.* write it to a file first",
        "socket": "it is a socket",
        "/dev/null": "it is a device; record it",
        "-": "standard input.* write it to a file first",
        "https://example.org/clip.mp4": "it is an address.* download it first",
        "file:///tmp/clip.mp4": "it is an address",
        "rtsp://camera/1": "it is an address",
        "12:30.mp4": "no such file",
        "nul\0.mp4": "check the name",
    }
    for source, reason in sources.items():
        with pytest.raises(SourceNotFound, match=reason) as caught:
            open_clip(source)
        assert caught.value.exit_code == 10


def test_nothing_is_missed_without_decord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4", a_clip())
    monkeypatch.setitem(sys.modules, "decord", None)  # importing it is an ImportError
    with open_clip(tmp_path / "a.mp4") as clip_reader:
        assert np.array_equal(clip_reader.peek([20, 3]), clip_reader.read_at([20, 3]))
        assert clip_reader._decord is False


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is a shopping list\n" * 200)
    (tmp_path / "text.txt").write_text("this is a shopping list\n" * 200)
    (tmp_path / "empty.mp4").touch()
    ffmpeg(*sine(), tmp_path / "sound.mp3")
    write(tmp_path / "a.mp4", a_clip(range(2)))
    ffmpeg("-i", tmp_path / "a.mp4", "-frames:v", 1, "-update", 1, tmp_path / "still.png")
    ffmpeg("-i", tmp_path / "sound.mp3", "-i", tmp_path / "still.png", "-map", 0, "-map", 1,
           "-c", "copy", "-disposition:v", "attached_pic", tmp_path / "cover.mp3")  # fmt: skip
    for name, reason in {
        "text.mp4": "no media file",
        "text.txt": "text",
        "empty.mp4": "is empty",
        "sound.mp3": "no moving picture",
        "cover.mp3": "no moving picture",
        "still.png": r"still picture.*`ffmpeg -i still\.png -c:v ffv1 still\.mkv`",
    }.items():
        with pytest.raises(NotAVideo, match=reason) as caught:
            open_clip(tmp_path / name)
        assert name in str(caught.value)
    ffmpeg("-i", tmp_path / "still.png", "-c:v", "ffv1", tmp_path / "still.mkv")
    with open_clip(tmp_path / "still.mkv") as reader:
        assert reader.clip.frame_count == 1


@pytest.mark.parametrize(("name", "codec"), [("none.avi", "mpeg4"), ("none.mp4", "libx264")])
def test_a_video_without_frames(tmp_path: Path, name: str, codec: str) -> None:
    options = {"movflags": "empty_moov"} if name.endswith("mp4") else {}
    with av.open(str(tmp_path / name), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    with pytest.raises(NoFrames, match=name):
        open_clip(tmp_path / name)


def test_a_video_of_which_nothing_decodes(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(5)))
    with av.open(str(tmp_path / "a.mp4")) as container:
        places = [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    for place, size in places:
        data[place : place + size] = bytes(size)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(NotAVideo, match="no frame decodes"):
        open_clip(tmp_path / "a.mp4")


def test_an_unknown_codec(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(5)))
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    with pytest.raises(NotAVideo, match=r"a\.mp4"):
        open_clip(tmp_path / "a.mp4")


def test_names_that_look_like_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4", a_clip(range(3)))
    (tmp_path / "a.mp4").rename(tmp_path / "12:30 %d.mp4")
    monkeypatch.chdir(tmp_path)
    with open_clip("12:30 %d.mp4") as clip_reader:
        assert clip_reader.peek([2]).shape == (1, 48, 64, 3)


def test_a_source_that_changes_while_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", a_clip(range(60)))
    write(tmp_path / "b.mp4", a_clip(range(5)))
    with open_clip(tmp_path / "a.mp4") as clip_reader:
        (tmp_path / "b.mp4").replace(tmp_path / "a.mp4")
        with pytest.raises(NotAVideo, match="changed"):
            clip_reader.read(0, 60)


def test_numbered_frames_keep_their_order(tmp_path: Path) -> None:
    clip = a_clip(range(40))
    frames = numbered_frames(clip)
    write(tmp_path / "a.mp4", clip, frames, crf=8)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    with open_clip(tmp_path / "a.mp4") as clip_reader:
        seen = clip_reader.read(0, 40).astype(int)
    difference = abs(seen[:, None] - frames[None]).mean(axis=(2, 3, 4))
    assert (difference.argmin(1) == np.arange(40)).all()
