import secrets
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.clips import a_clip, ffmpeg, sine, sound_packets, write
from vidhair.errors import DiskFull, EncodingFailed, NotAVideo, SourceNotFound
from vidhair.media import VideoWriter, open_clip, sound


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """One second of pictures that begin at 0.5 s."""
    write(tmp_path / "silent.mp4", a_clip(range(12, 36)))
    return tmp_path / "silent.mp4"


def with_sound(silent: Path, name: str, *arguments: Any) -> Path:
    path = silent.parent / name
    ffmpeg(
        "-copyts", "-i", silent, *arguments, "-map", "0:v", "-map", "1:a", "-c:v", "copy", path
    )  # fmt: skip
    return path


def copied(source: Path, suffix: str) -> tuple[Path, VideoWriter]:
    target = source.with_name(f"out{suffix}")
    with open_clip(source) as clip_reader:
        clip = clip_reader.clip
        frames = clip_reader.read(0, clip.frame_count)
    writer = write(target, clip, frames, sound_from=source)
    assert {f.name for f in source.parent.iterdir()} <= {"silent.mp4", source.name, target.name}
    return target, writer


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v"])
@pytest.mark.parametrize("offset", [0, 0.3131, 1.7])
def test_aac_is_copied_packet_for_packet(silent: Path, suffix: str, offset: float) -> None:
    source = with_sound(silent, "in.mp4", "-itsoffset", offset, *sine(), "-c:a", "aac")
    target, writer = copied(source, suffix)
    packets = sound_packets(source)
    assert len(packets) > 40
    assert sound_packets(target) == packets
    assert writer.notes == ()
    with open_clip(source) as before, open_clip(target) as after:
        assert before.clip.pts.tolist() == after.clip.pts.tolist()
        assert before.clip.time_base == after.clip.time_base
        assert before.clip.sound == after.clip.sound


@pytest.mark.parametrize(
    ("container", "codec", "suffix"),
    [
        (".mp4", "libmp3lame", ".mp4"),
        (".mp4", "libopus", ".mp4"),
        (".mp4", "flac", ".mp4"),
        (".mp4", "ac3", ".mov"),
        (".mov", "pcm_s16le", ".mov"),
        (".mkv", "libopus", ".webm"),
        (".mkv", "libopus", ".mkv"),
        (".mkv", "libmp3lame", ".mkv"),
        (".mkv", "pcm_s16le", ".mkv"),
        (".mkv", "aac", ".mp4"),
        (".mp4", "aac", ".mkv"),
    ],
)
def test_sound_is_copied_wherever_it_fits(
    silent: Path, container: str, codec: str, suffix: str
) -> None:
    source = with_sound(silent, f"in{container}", *sine(rate=48000), "-c:a", codec)
    target, writer = copied(source, suffix)
    before, after = sound_packets(source), sound_packets(target)
    assert writer.notes == ()
    with av.open(str(source)) as a, av.open(str(target)) as b:
        scale_a, scale_b = (c.streams.audio[0].time_base for c in (a, b))
    assert scale_a is not None and scale_b is not None
    if codec == "pcm_s16le":  # containers divide it into packets as they like
        assert b"".join(p[3] for p in before) == b"".join(p[3] for p in after)
        before, after = before[:1], after[:1]
    else:
        assert [p[3] for p in before] == [p[3] for p in after]
    for p, q in zip(before, after, strict=True):
        assert abs(p[0] * scale_a - q[0] * scale_b) <= Fraction(1, 1000) / 2
    if scale_a == scale_b:
        assert [p[:3] for p in before] == [p[:3] for p in after]


def test_every_stream_is_carried_over(silent: Path) -> None:
    source = with_sound(
        silent, "in.mp4", *sine(), *sine(0.7, 22050), "-map", "2:a", "-c:a", "aac",
        "-metadata:s:a:0", "language=deu",
    )  # fmt: skip
    target, _ = copied(source, ".mp4")
    for stream in (0, 1):
        assert sound_packets(target, stream) == sound_packets(source, stream)
    with av.open(str(target)) as container:
        languages = [stream.language for stream in container.streams.audio]
    assert languages == ["deu", "und"]


def test_sound_longer_and_shorter_than_the_pictures(silent: Path) -> None:
    for seconds in (0.2, 3):
        source = with_sound(silent, "in.mp4", *sine(seconds), "-c:a", "aac")
        target, _ = copied(source, ".mp4")
        assert sound_packets(target) == sound_packets(source)
        with open_clip(target) as after:
            assert after.clip.frame_count == 24


def test_adts_from_a_transport_stream(silent: Path) -> None:
    source = with_sound(silent, "in.ts", *sine(), "-c:a", "aac")
    target, writer = copied(source, ".mp4")
    assert writer.notes == ()
    assert len(sound_packets(target)) == len(sound_packets(source))
    with av.open(str(target)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 40000


@pytest.mark.parametrize(
    ("container", "codec", "suffix", "becomes"),
    [
        (".mp4", "aac", ".webm", "opus"),
        (".mkv", "libopus", ".mov", "aac"),
        (".mov", "pcm_mulaw", ".mp4", "aac"),
        (".mov", "pcm_s24le", ".mp4", "aac"),
        (".mkv", "libvorbis", ".mp4", "aac"),
        (".mkv", "dca", ".mp4", "aac"),
    ],
)
def test_sound_that_does_not_fit_is_reencoded(
    silent: Path, container: str, codec: str, suffix: str, becomes: str
) -> None:
    offset = ["-itsoffset", 0.75]
    encoder = ["-strict", -2, "-c:a", codec]
    source = with_sound(silent, f"in{container}", *offset, *sine(rate=48000), *encoder)
    target, writer = copied(source, suffix)
    assert len(writer.notes) == 1 and "re-encoded" in writer.notes[0]
    with open_clip(source) as before, open_clip(target) as after:
        assert [s.codec for s in after.clip.sound] == [becomes]
        assert abs(before.clip.seconds_T - after.clip.seconds_T).max() < 0.001
    with av.open(str(source)) as a, av.open(str(target)) as b:
        starts = [next(c.decode(audio=0)).time for c in (a, b)]
    assert starts[0] == pytest.approx(starts[1], abs=0.03)


@pytest.mark.parametrize(("layout", "channels"), [("5.1(side)", 6), ("2.1", 2), ("4.0", 5)])
def test_opus_takes_every_layout_of_speakers(silent: Path, layout: str, channels: int) -> None:
    speakers = ["-af", f"aformat=channel_layouts={layout}", "-c:a", "ac3"]
    source = with_sound(silent, "in.mkv", *sine(rate=48000), *speakers)
    target, writer = copied(source, ".webm")
    assert "re-encoded" in writer.notes[0]
    with open_clip(target) as after:
        assert [(s.codec, s.channels) for s in after.clip.sound] == [("opus", channels)]


def test_opus_is_as_long_as_what_it_replaces(silent: Path) -> None:
    source = with_sound(silent, "in.mov", *sine(rate=48000), "-c:a", "pcm_s16le")
    target, _ = copied(source, ".webm")
    assert len(heard(target)) == len(heard(source))


def test_a_failed_reencoding_is_told(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = with_sound(silent, "in.mp4", *sine(), "-c:a", "aac")
    monkeypatch.setitem(sound._REPLACEMENTS, "webm", ("no_such_encoder", "1k"))
    with pytest.raises(EncodingFailed, match="no_such_encoder"):
        copied(source, ".webm")
    assert {f.name for f in source.parent.iterdir()} == {"silent.mp4", "in.mp4"}


def test_a_clip_moved_to_zero_takes_its_sound_along(silent: Path) -> None:
    source = with_sound(silent, "in.mp4", *sine(), "-c:a", "aac")
    clip = a_clip(range(-12, 12))
    target = silent.parent / "out.mp4"
    writer = write(target, clip, sound_from=source)
    assert "0.500 s before 0" in writer.notes[0]
    with open_clip(target) as after:
        assert after.clip.pts.tolist() == list(range(24))
    moved = [(p[0] - 22050, p[3]) for p in sound_packets(target)]
    assert moved == [(p[0], p[3]) for p in sound_packets(source)]


def test_silent_sources_and_no_sound(silent: Path) -> None:
    target, writer = copied(silent, ".mp4")
    assert writer.notes == ()
    with open_clip(target) as after:
        assert after.clip.sound == ()
    source = with_sound(silent, "in.mp4", *sine(), "-c:a", "aac")
    write(target, a_clip())
    with open_clip(source) as before, open_clip(target) as after:
        assert before.clip.sound and not after.clip.sound


def test_missing_sound(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceNotFound),
        VideoWriter(tmp_path / "out.mp4", a_clip(), sound_from=tmp_path / "missing.mp4"),
    ):
        pass
    (tmp_path / "text.mp4").write_text("no sound")
    with (
        pytest.raises(NotAVideo),
        VideoWriter(tmp_path / "out.mp4", a_clip(), sound_from=tmp_path / "text.mp4"),
    ):
        pass
    assert [f.name for f in tmp_path.iterdir()] == ["text.mp4"]


def test_truncated_sources_keep_the_sound_they_have(silent: Path) -> None:
    source = with_sound(silent, "in.mkv", *sine(), "-c:a", "aac")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    target, _ = copied(source, ".mkv")
    packets = [p[3] for p in sound_packets(source)]
    assert packets and [p[3] for p in sound_packets(target)] == packets


def heard(path: Path, rate: int = 48000) -> NDArray[Any]:
    """The sound as a player gives it, from time 0 on. float32 [samples]"""
    graph = ["-af", f"aresample={rate}:async=1:first_pts=0", "-ac", "1", "-f", "f32le"]
    ffmpeg("-i", path, "-map", "0:a", *graph, path.with_suffix(".raw"))
    samples = np.fromfile(path.with_suffix(".raw"), np.float32)
    path.with_suffix(".raw").unlink()
    return samples


@pytest.mark.parametrize("offset", [0, 0.75])
@pytest.mark.parametrize("suffix", [".mp4", ".m4v"])
def test_pcm_becomes_aac_in_sync(silent: Path, suffix: str, offset: float) -> None:
    noise = ["-f", "lavfi", "-i", "anoisesrc=r=48000:d=1:a=0.3:seed=1"]
    source = with_sound(silent, "in.mov", "-itsoffset", offset, *noise, "-c:a", "pcm_s24le")
    target, writer = copied(source, suffix)
    assert "pcm_s24le" in writer.notes[0] and ".mov or .mkv" in writer.notes[0]
    before, after = heard(source), heard(target)
    size = len(before) + len(after)
    spectrum = np.fft.rfft(before, size) * np.fft.rfft(after, size).conj()
    shift = int(np.fft.irfft(spectrum, size).argmax())
    assert min(shift, size - shift) == 0
    assert np.corrcoef(before[: len(after)], after[: len(before)])[0, 1] > 0.9


def test_packets_without_a_time_follow_the_one_before() -> None:
    """As the last one of Vorbis in Ogg often is."""
    stamps = [(0, 0, 128), (128, None, 1024), (None, None, 64), (None, None, 0)]
    packets = [
        SimpleNamespace(pts=pts, dts=dts, duration=duration, size=9, stream=None)
        for pts, dts, duration in stamps
    ]
    flush = SimpleNamespace(pts=None, dts=None, duration=0, size=0)
    container = SimpleNamespace(demux=lambda stream: iter([*packets, flush]))
    stream = SimpleNamespace(container=container, time_base=Fraction(1, 1000), start_time=None)
    kept = list(sound._packets(stream, "copy", Fraction(1, 2)))
    assert [(p.pts, p.dts) for p in kept] == [(t, t) for t in (500, 628, 1652, 1716)]
    assert {p.stream for p in kept} == {"copy"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_for_the_sound(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = with_sound(silent, "in.mov", *sine(), "-c:a", "pcm_s16le")
    names = iter(["01234567", "0"])
    monkeypatch.setattr(secrets, "token_hex", lambda n: next(names))
    part = ".out.mp4.part-01234567.mp4"
    (silent.parent / f".{part}.part-0.mp4").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"out\.mp4"):
        copied(source, ".mp4")
    assert {f.name for f in silent.parent.iterdir()} == {"silent.mp4", "in.mov"}


def test_an_encoder_of_sound_ends_with_us(silent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops the wait for ffmpeg stops ffmpeg."""
    source = with_sound(silent, "in.mov", *sine(), "-c:a", "pcm_s16le")
    begun = []

    class Interrupted(subprocess.Popen[bytes]):
        def communicate(self, *_: Any, **__: Any) -> NoReturn:
            begun.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        copied(source, ".mp4")
    assert begun[0].returncode is not None
    assert {f.name for f in silent.parent.iterdir()} == {"silent.mp4", "in.mov"}
