from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.clips import a_clip, ffmpeg, smooth_frames, write
from tests.media.test_color import deep_frame, flat_frame, store
from vidhair.errors import NotAVideo
from vidhair.media import open_clip
from vidhair.media.color import UNREAD_MATRICES
from vidhair.media.light import KNEE, decoded, shoulder, to_sdr_rgb, to_xyz, tone_mapped
from vidhair.types import READ_MATRICES, Color

PQ = Color("bt2020nc", "tv", "bt2020", "smpte2084")
HLG = Color("bt2020nc", "tv", "bt2020", "arib_std_b67")


def pq(light: NDArray[Any] | float) -> NDArray[Any]:
    """ST 2084's signal of cd/m²."""
    y = (np.asarray(light, float) / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def oetf_2020(light: NDArray[Any]) -> NDArray[Any]:
    bent = 1.09929682680944 * np.maximum(light, 1e-9) ** 0.45 - 0.09929682680944
    return np.where(light < 0.018053968510807, 4.5 * light, bent)


def mapped(signal: NDArray[Any], color: Color) -> NDArray[Any]:
    """Levels of greys with these signals."""
    grey = np.repeat(np.reshape(signal, (1, -1, 1)), 3, axis=2).astype(np.float32)
    rgb = tone_mapped(decoded(grey, color.transfer), color)
    assert np.ptp(rgb.astype(int), axis=2).max() <= 1
    return rgb[0, :, 1].astype(int)


@pytest.mark.parametrize(
    ("color", "white", "grey"), [(PQ, pq(203), pq(26)), (HLG, 0.75, 0.38)], ids=["pq", "hlg"]
)
def test_diffuse_white_and_grey_lie_where_sdr_has_them(color: Color, white: Any, grey: Any) -> None:
    levels = mapped(np.array([0, grey, white, 1]), color)
    assert levels[0] == 0 and levels[3] == 255
    assert 100 <= levels[1] <= 112  # 18 % in BT.709: 104 by the camera's curve, 106 by BT.1886
    assert 235 <= levels[2] <= 250


@pytest.mark.parametrize("color", [PQ, HLG], ids=["pq", "hlg"])
def test_brighter_stays_brighter(color: Color) -> None:
    signals = np.linspace(0, 1, 1024)
    levels = mapped(signals, color)
    assert (np.diff(levels) >= 0).all()
    thousand = np.searchsorted(decoded(signals.astype(np.float32), "smpte2084"), 1000)
    top = thousand if color is PQ else 1023
    white = np.searchsorted(signals, pq(203) if color is PQ else 0.75)
    assert len(np.unique(levels[white:top])) >= 14
    assert levels[top - 1] >= 253


def test_the_shoulder_begins_smoothly_and_ends_at_the_peak() -> None:
    light = np.linspace(0, 5, 5001)
    out = shoulder(light, 5.0)
    slopes = np.diff(out) / np.diff(light)
    assert np.array_equal(out[light <= KNEE], light[light <= KNEE])
    assert out[-1] == pytest.approx(1) and (slopes > 0).all()
    assert abs(np.diff(slopes)).max() < 0.01


def test_hue_is_kept_and_nothing_leaves_the_gamut() -> None:
    colors = np.array(
        [[[300, 100, 100], [1000, 30, 30], [20, 900, 40], [10, 10, 2000]]], np.float32
    )
    seen = tone_mapped(colors, PQ)[0].astype(int)
    assert (seen.argmax(1) == [0, 0, 1, 2]).all()
    within = np.array([[[40, 60, 90]]], np.float32)
    light = (tone_mapped(within, PQ)[0, 0] / 255) ** 2.4
    expected = np.linalg.solve(to_xyz("bt709"), to_xyz("bt2020") @ within[0, 0]) / 203
    assert abs(light - expected).max() < 0.01


def test_luminance_of_the_primaries() -> None:
    assert abs(to_xyz("bt2020")[1] - [0.2627, 0.6780, 0.0593]).max() < 1e-4
    assert abs(to_xyz("bt709")[1] - [0.2126, 0.7152, 0.0722]).max() < 1e-4


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_sdr_in_an_hdr_file_comes_back(tmp_path: Path, transfer: str) -> None:
    """ffmpeg's zscale puts SDR white at 203 cd/m²; what is below the knee returns as it was."""
    clip = a_clip(range(2), color=Color("bt709", "tv", "bt709", "bt709"))
    frames = (smooth_frames(clip) * 0.8).astype(np.uint8)
    write(tmp_path / "sdr.mp4", clip, frames, crf=1)
    to_hdr = (
        "zscale=t=linear:npl=203,format=gbrpf32le,"
        f"zscale=tin=linear:t={transfer}:p=bt2020:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
    )
    ffmpeg("-i", tmp_path / "sdr.mp4", "-vf", to_hdr, "-c:v", "ffv1", tmp_path / "hdr.mkv")
    with open_clip(tmp_path / "hdr.mkv") as source:
        assert source.reading
        difference = source.read(0, 2).astype(int) - frames
    assert abs(difference).mean() < 4 and abs(difference.mean()) < 2


def encoded(rgb: NDArray[Any], matrix: str) -> NDArray[Any]:
    """Forward equations of ISO/IEC 23091-2. R'G'B' 0–1 to limited 8-bit levels."""
    r, g, b = rgb
    if matrix == "gbr":
        return 16 + 219 * np.array([g, b, r])
    if matrix == "ycgco":
        y, cg, co = (r + 2 * g + b) / 4, (2 * g - r - b) / 4, (r - b) / 2
        return np.array([16, 128, 128]) + 219 * np.array([y, cg, co])
    if matrix == "bt2020c":
        light = np.where(
            rgb < 4.5 * 0.018053968510807,
            rgb / 4.5,
            ((rgb + 0.09929682680944) / 1.09929682680944) ** (1 / 0.45),
        )
        y = float(oetf_2020(light @ [0.2627, 0.6780, 0.0593]))
        cb = (b - y) / (1.9404 if b < y else 1.5816)
        cr = (r - y) / (1.7184 if r < y else 0.9936)
    else:
        kr, kg, kb = to_xyz("smpte432")[1]
        y = kr * r + kg * g + kb * b
        cb, cr = (b - y) / 2 / (1 - kb), (r - y) / 2 / (1 - kr)
    return np.array([16, 128, 128]) + np.array([219 * y, 224 * cb, 224 * cr])


@pytest.mark.parametrize("matrix", ["gbr", "ycgco", "bt2020c", "chroma-derived-nc"])
def test_matrices_that_swscale_lacks(matrix: str, tmp_path: Path) -> None:
    color = Color(matrix, "tv", "smpte432" if matrix == "chroma-derived-nc" else "unknown")
    for rgb in ([0.6, 0.4, 0.3], [0.2, 0.5, 0.8], [0.5, 0.5, 0.5], [0.1, 0.7, 0.3]):
        levels = np.rint(encoded(np.array(rgb), matrix)).astype(int).tolist()
        seen = to_sdr_rgb(flat_frame(tuple(levels)), color, 32, 32)
        assert abs(seen[5, 5] - 255 * np.array(rgb)).max() <= 2.5
    store(tmp_path / "a.mkv", [flat_frame(tuple(levels))] * 2, _tags(READ_MATRICES[matrix]), "ffv1")
    with open_clip(tmp_path / "a.mkv") as source:
        assert source.reading in (matrix, "")  # GBR may arrive as RGB
        if matrix != "chroma-derived-nc":  # whose primaries this file does not name
            assert abs(source.read(0, 2)[1, 9, 9] - 255 * np.array(rgb)).max() <= 2.5
        write(tmp_path / "out.mp4", source.clip, source.read(0, 2), crf=1)
        with open_clip(tmp_path / "out.mp4") as copy:
            difference = copy.read(0, 2).astype(int) - source.read(0, 2)
            assert copy.reading == "" and abs(difference).max() <= 3


def _tags(matrix: int) -> dict[str, int]:
    return {"colorspace": matrix, "color_range": 1}


@pytest.mark.parametrize("color", [PQ, HLG], ids=["pq", "hlg"])
def test_ictcp_shows_the_same_as_rgb(color: Color) -> None:
    """BT.2100's equations forward, on 10 bits."""
    lms = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
    if color is PQ:
        ictcp = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
    else:
        ictcp = np.array([[2048, 2048, 0], [3625, -7465, 3840], [9500, -9212, -288]]) / 4096
    for signal in ([0.45, 0.4, 0.35], [0.3, 0.5, 0.4], [0.5, 0.5, 0.5]):
        light = decoded(np.array(signal, np.float32), color.transfer)
        steps = np.linspace(0, 1, 65536)
        table = decoded(steps.astype(np.float32), color.transfer)
        i, ct, cp = ictcp @ np.interp(lms @ light, table, steps)
        frame = av.VideoFrame(32, 32, "yuv444p10le")
        levels = 64 + 876 * i, 512 + 896 * ct, 512 + 896 * cp
        for plane, level in zip(frame.planes, levels, strict=True):
            plane.update(np.full(plane.buffer_size // 2, round(level), "<u2").tobytes())
        tagged = Color("ictcp", "tv", "bt2020", color.transfer)
        seen = to_sdr_rgb(frame, tagged, 32, 32)[3, 3].astype(int)
        assert abs(seen - tone_mapped(light[None, None], color)[0, 0]).max() <= 3


@pytest.mark.parametrize("code", UNREAD_MATRICES)
def test_what_is_not_read_is_refused(tmp_path: Path, code: int) -> None:
    store(tmp_path / "a.mkv", [flat_frame((90, 120, 140))], _tags(code), "ffv1")
    with pytest.raises(NotAVideo, match=UNREAD_MATRICES[code]):
        open_clip(tmp_path / "a.mkv")


def test_matrices_that_need_another_transfer_are_refused(tmp_path: Path) -> None:
    store(tmp_path / "a.mkv", [flat_frame((90, 120, 140))], _tags(14), "ffv1")
    with pytest.raises(NotAVideo, match="only HLG and PQ"):
        open_clip(tmp_path / "a.mkv")
    tags = _tags(10) | {"color_trc": 16, "color_primaries": 9}
    store(tmp_path / "b.mkv", [deep_frame(np.full((48, 64), 0.5))], tags, "ffv1")
    with pytest.raises(NotAVideo, match="only SDR"):
        open_clip(tmp_path / "b.mkv")
