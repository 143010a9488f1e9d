import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.clips import a_clip, ffmpeg, smooth_frames, write
from vidhair.media import open_clip
from vidhair.media.color import tag_codes, to_rgb, to_yuv
from vidhair.types import MATRICES, Color

# Luma weights of red and blue.
WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}


def flat_frame(yuv: tuple[int, int, int]) -> av.VideoFrame:
    frame = av.VideoFrame(32, 32, "yuv444p")
    for plane, level in zip(frame.planes, yuv, strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    return frame


def store(
    path: Path, frames: list[av.VideoFrame], tags: dict[str, int], codec: str = "libx264"
) -> None:
    """Encode YUV frames as they are, under these tags."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options={"crf": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        for name, code in tags.items():
            setattr(stream.codec_context, name, code)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def back_to_yuv(rgb: NDArray[Any], color: Color) -> NDArray[Any]:
    convert = to_yuv(color, rgb.shape[1], rgb.shape[0], "yuv444p", "left")
    return convert(av.VideoFrame.from_ndarray(rgb, "rgb24")).to_ndarray().astype(int)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("levels", ["tv", "pc"])
def test_conversion_follows_the_standard(matrix: str, levels: str) -> None:
    color = Color(matrix, levels)
    red_weight, blue_weight = WEIGHTS[matrix]
    low, luma, chroma = (0, 255, 255) if levels == "pc" else (16, 219, 224)
    for yuv in ((100, 90, 180), (128, 128, 128), (180, 140, 110), (60, 150, 120)):
        y, u, v = (yuv[0] - low) / luma, (yuv[1] - 128) / chroma, (yuv[2] - 128) / chroma
        red, blue = y + 2 * (1 - red_weight) * v, y + 2 * (1 - blue_weight) * u
        green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
        rgb = to_rgb(flat_frame(yuv), color, 32, 32)
        assert abs(rgb[0, 0] - 255 * np.array([red, green, blue])).max() <= 1
        if levels == "tv":
            assert abs(back_to_yuv(rgb, color)[:, 0, 0] - yuv).max() <= 1


COLORS = [
    Color("smpte170m", "tv", "smpte170m", "smpte170m"),
    Color("bt470bg", "tv", "bt470bg", "gamma28"),
    Color("bt709", "tv", "bt709", "bt709"),
    Color("bt709", "pc", "bt709", "iec61966_2_1"),
    Color("smpte170m", "pc"),
    Color("bt2020nc", "tv", "bt2020", "bt2020_10"),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("color", COLORS, ids=lambda color: f"{color.matrix}-{color.range}")
def test_untouched_frames_keep_their_color(tmp_path: Path, color: Color, suffix: str) -> None:
    clip = a_clip(range(6), color=color, width=96, height=64)
    frames = smooth_frames(clip)
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    write(first, clip, frames, crf=2)
    stored = dataclasses.replace(color, range="tv")
    with open_clip(first) as source:
        assert source.clip.color == stored
        decoded = source.read(0, 6)
        write(second, source.clip, decoded, crf=2)
    with open_clip(second) as copy:
        assert copy.clip.color == stored
        again = copy.read(0, 6)
    for before, after in ((frames, decoded), (decoded, again)):
        difference = after.astype(int) - before
        assert abs(difference).mean() < 1
        assert abs(difference.mean(axis=(0, 1, 2))).max() < 0.2


def test_full_range_sources(tmp_path: Path) -> None:
    clip = a_clip(range(3))
    write(tmp_path / "a.mp4", clip, smooth_frames(clip), crf=1)
    full = ["-vf", "scale=out_range=pc", "-color_range", "pc", "-pix_fmt", "yuvj420p", "-crf", 1]
    ffmpeg("-i", tmp_path / "a.mp4", *full, tmp_path / "full.mp4")
    with open_clip(tmp_path / "a.mp4") as limited, open_clip(tmp_path / "full.mp4") as source:
        assert source.clip.color.range == "pc"
        frames = source.read(0, 3)
        assert abs(frames.astype(int) - limited.read(0, 3)).mean() < 1
        write(tmp_path / "out.mp4", source.clip, frames, crf=1)
    with open_clip(tmp_path / "out.mp4") as copy:
        difference = copy.read(0, 3).astype(int) - frames
    assert abs(difference).mean() < 1
    assert abs(difference.mean(axis=(0, 1, 2))).max() < 0.2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_colors_stay_in_place(tmp_path: Path, suffix: str) -> None:
    """A red spot on grey does not wander through five generations."""
    clip = a_clip(range(2), width=96, height=64)
    y, x = np.mgrid[:64, :96]
    spot = 90 * np.exp(-((x - 48) ** 2 + (y - 32) ** 2) / 100)[..., None]
    colored = np.rint(128 + spot * [1, -0.5, -0.5]).astype(np.uint8)
    frames = original = colored[None].repeat(2, axis=0)

    def centre(frame: NDArray[Any]) -> NDArray[Any]:
        red = np.clip(frame[..., 0].astype(float) - frame[..., 1] - 8, 0, None)
        return np.array([(x * red).sum(), (y * red).sum()]) / red.sum()

    for _ in range(5):
        write(tmp_path / f"a{suffix}", clip, frames, crf=1)
        with open_clip(tmp_path / f"a{suffix}") as copy:
            frames = copy.read(0, 2)
    assert abs(centre(frames[0]) - centre(original[0])).max() < 0.15


def test_vp9_keeps_color(tmp_path: Path) -> None:
    clip = a_clip(range(4), color=COLORS[2])
    write(tmp_path / "a.webm", clip, smooth_frames(clip), crf=4)
    with open_clip(tmp_path / "a.webm") as copy:
        assert (copy.clip.codec, copy.clip.color.matrix) == ("vp9", "bt709")
        assert abs(copy.read(0, 4).astype(int) - smooth_frames(clip)).mean() < 1


@pytest.mark.parametrize(("height", "guess"), [(48, "smpte170m"), (720, "bt709")])
def test_untagged_sources_are_guessed_by_their_height(
    tmp_path: Path, height: int, guess: str
) -> None:
    frame = av.VideoFrame.from_ndarray(
        smooth_frames(a_clip([0], height=height))[0], "rgb24"
    ).reformat(format="yuv420p")
    store(tmp_path / "a.mp4", [frame], {"colorspace": 2, "color_range": 0})
    with open_clip(tmp_path / "a.mp4") as source:
        assert source.clip.color == Color(guess, "tv", "unknown", "unknown")


def test_rgb_sources(tmp_path: Path) -> None:
    clip = a_clip(range(3))
    write(tmp_path / "a.mp4", clip, smooth_frames(clip), crf=1)
    ffmpeg("-i", tmp_path / "a.mp4", "-pix_fmt", "gbrp", "-c:v", "ffv1", tmp_path / "rgb.mkv")
    with open_clip(tmp_path / "rgb.mkv") as source:
        assert abs(source.read(0, 3).astype(int) - smooth_frames(clip)).mean() < 2


def deep_frame(levels: NDArray[Any]) -> av.VideoFrame:
    """A 10-bit grey picture, [H, W] of 0–1 in limited range."""
    frame = av.VideoFrame(levels.shape[1], levels.shape[0], "yuv420p10le")
    for plane in frame.planes:
        data = np.full((plane.height, plane.line_size // 2), 512, "<u2")
        if plane is frame.planes[0] or plane.width == levels.shape[1]:
            data[:, : levels.shape[1]] = np.rint(64 + 876 * levels)
        plane.update(data.tobytes())
    return frame


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 128), (64, 1))
    tags = tag_codes(COLORS[2])
    store(tmp_path / "a.mp4", [deep_frame(ramp)], tags)
    with open_clip(tmp_path / "a.mp4") as source:
        assert source.notes == ("10-bit pictures are reduced to 8 bits",)
        assert source.clip.color == COLORS[2]
        assert abs(source.read(0, 1)[0, ..., 1] - 255 * ramp).mean() < 1
        assert np.array_equal(source.peek([0]), source.read(0, 1))


def test_hdr_is_mapped_to_sdr(tmp_path: Path) -> None:
    # PQ levels of 0, 20, 100, 200 and 1000 cd/m².
    levels = np.repeat([0, 0.329, 0.508, 0.579, 0.752], 32)
    tags = tag_codes(Color("bt2020nc", "tv", "bt2020", "smpte2084"))
    store(tmp_path / "a.mp4", [deep_frame(np.tile(levels, (64, 1)))] * 2, tags)
    with open_clip(tmp_path / "a.mp4") as source:
        assert source.clip.color == Color("bt709", "tv", "bt709", "bt709")
        assert "HDR (smpte2084)" in source.notes[0]
        frames = source.read(0, 2)
    seen = frames[1, 32, 16::32].astype(int)
    assert np.ptp(seen, axis=1).max() <= 2
    steps = seen[:, 1]
    assert steps[0] <= 2 and (np.diff(steps) > 10).all() and steps[-1] < 255
    write(tmp_path / "out.mp4", source.clip, frames)
    with open_clip(tmp_path / "out.mp4") as copy:
        assert copy.clip.color == source.clip.color and copy.notes == ()
        assert abs(copy.read(0, 2).astype(int) - frames).mean() < 1
