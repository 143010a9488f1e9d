"""Mattes that others made: every kind of file gives the levels that it was made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.media.clips import a_clip, ffmpeg
from vidhair.errors import MatteDoesNotFit, NotAVideo, SourceNotFound
from vidhair.media import open_matte, write_png

COUNT, HEIGHT, WIDTH = 12, 32, 256


def planes() -> NDArray[Any]:
    """Every level from 0 to 255, moving from frame to frame."""
    ramp = np.arange(WIDTH, dtype=np.uint8)
    rolled = np.stack([np.roll(ramp, 16 * frame) for frame in range(COUNT)])
    return np.repeat(rolled[:, None], HEIGHT, 1)


def video(path: Path, *arguments: object, pixels: str = "gray") -> Path:
    """Of the planes, as grey or as alpha over some color."""
    raw = path.with_suffix(".raw")
    made = planes()
    if pixels == "rgba":
        made = np.concatenate([np.full((*made.shape, 3), 90, np.uint8), made[..., None]], -1)
    raw.write_bytes(made.tobytes())
    size = f"{WIDTH}x{HEIGHT}"
    ffmpeg("-f", "rawvideo", "-pix_fmt", pixels, "-s", size, "-r", 10, "-i", raw, *arguments, path)
    return path


LOSSLESS = ("-c:v", "libx264", "-crf", "0", "-pix_fmt")
FULL = ("-vf", "scale=out_range=pc", "-color_range", "pc")
KINDS: dict[str, tuple[Any, ...]] = {
    "8 bits of grey": ("a.mkv", "-c:v", "ffv1"),
    "16 bits of grey": ("a.mkv", "-c:v", "ffv1", "-pix_fmt", "gray16le"),
    "limited range": ("a.mp4", *LOSSLESS, "yuv420p"),
    "full range": ("a.mp4", *FULL, *LOSSLESS, "yuv420p"),
    "10 bits, limited": ("a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv422p10le"),
    "10 bits, full": ("a.mkv", *FULL, "-c:v", "ffv1", "-pix_fmt", "yuv422p10le"),
    "tagged as HDR": (
        "a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv444p10le", "-color_trc", "smpte2084",
    ),
    "RGB": ("a.mov", "-c:v", "png", "-pix_fmt", "rgb24"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_grey_keeps_its_levels(tmp_path: Path, kind: str) -> None:
    name, *arguments = KINDS[kind]
    reader = open_matte(video(tmp_path / name, *arguments))
    assert (reader.count, reader.size) == (COUNT, (WIDTH, HEIGHT))
    found = reader.read(0, COUNT).astype(int) - planes()
    # ffmpeg rounds down where it brings grey to limited range.
    limited = kind in ("limited range", "10 bits, limited", "tagged as HDR")
    assert abs(found).max() <= limited and abs(found.mean()) < 0.5
    reader.close()


def test_grey_that_is_tagged_as_limited_is_read_so(tmp_path: Path) -> None:
    tagged = "setrange=tv"
    reader = open_matte(video(tmp_path / "a.mkv", "-vf", tagged, "-c:v", "ffv1"))
    want = ((planes().astype(float) - 16) * 255 / 219).clip(0, 255)
    assert abs(reader.read(0, COUNT) - want).max() <= 1


@pytest.mark.parametrize(
    ("name", "arguments", "worst"),
    [("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "bgra"), 0),
     ("a.mov", ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"), 1)],
)  # fmt: skip
def test_transparency_counts_where_there_is_some(
    tmp_path: Path, name: str, arguments: tuple[str, ...], worst: int
) -> None:
    reader = open_matte(video(tmp_path / name, *arguments, pixels="rgba"))
    assert abs(reader.read(0, COUNT).astype(int) - planes()).max() <= worst


def folder(path: Path, *, alpha: bool = True) -> Path:
    path.mkdir()
    for number, plane in enumerate(planes()):
        if alpha:
            picture = np.dstack([np.full((*plane.shape, 3), 90, np.uint8), plane])
            write_png(path / f"hair{number + 1}.png", picture)
        else:
            Image.fromarray(plane).save(path / f"hair{number + 1}.PNG")
    (path / "notes.txt").write_text("not a picture")
    return path


@pytest.mark.parametrize("alpha", [True, False])
def test_a_folder_is_read_by_the_numbers_in_its_names(tmp_path: Path, alpha: bool) -> None:
    """hair2 comes before hair10."""
    reader = open_matte(folder(tmp_path / "hair", alpha=alpha))
    assert (reader.count, reader.size) == (COUNT, (WIDTH, HEIGHT))
    assert np.array_equal(reader.read(0, COUNT), planes())
    assert np.array_equal(reader.read(7, 9), planes()[7:9]), "any range"


def test_a_picture_without_alpha_among_others_is_opaque(tmp_path: Path) -> None:
    """As programs write it that drop what says nothing."""
    path = folder(tmp_path / "hair")
    write_png(path / "hair1.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    found = open_matte(path).read(0, 2)
    assert (found[0] == 255).all() and np.array_equal(found[1], planes()[1])


def test_16_bits_of_grey_in_pictures(tmp_path: Path) -> None:
    (tmp_path / "hair").mkdir()
    wide = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 8
    Image.fromarray(wide).save(tmp_path / "hair" / "1.png")
    found = open_matte(tmp_path / "hair").read(0, 1)[0]
    assert abs(found - wide / 257.0).max() <= 0.5


def test_the_fingerprint_is_of_what_is_shown_and_not_of_names(tmp_path: Path) -> None:
    one, same = folder(tmp_path / "a"), folder(tmp_path / "b")
    for path in same.glob("*.png"):
        path.rename(path.with_name(f"x{path.name[4:]}"))
    before = open_matte(one).fingerprint
    assert open_matte(same).fingerprint == before
    write_png(one / "hair3.png", np.zeros((HEIGHT, WIDTH, 4), np.uint8))
    assert open_matte(one).fingerprint != before


def test_a_matte_of_another_length_or_size_is_refused(tmp_path: Path) -> None:
    reader = open_matte(folder(tmp_path / "hair"))
    reader.check(a_clip(range(COUNT), width=WIDTH, height=HEIGHT))
    with pytest.raises(MatteDoesNotFit, match="hair has 12 pictures, and made up has 10 frames"):
        reader.check(a_clip(range(10), width=WIDTH, height=HEIGHT))
    with pytest.raises(MatteDoesNotFit, match="hair is 256×32 pixels, and made up is 256×48"):
        reader.check(a_clip(range(COUNT), width=WIDTH, height=48))


def test_what_is_no_matte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        open_matte(tmp_path / "nowhere.mov")
    with pytest.raises(NotAVideo, match=r"holds no \.png picture"):
        open_matte(tmp_path)
    path = folder(tmp_path / "hair")
    write_png(path / "hair5.png", np.zeros((HEIGHT, 8, 4), np.uint8))
    with pytest.raises(MatteDoesNotFit, match=r"hair5\.png is 8×32 .* hair1\.png .* 256×32"):
        open_matte(path)
    (path / "hair5.png").write_bytes(b"no picture")
    with pytest.raises(NotAVideo, match=r"hair5\.png is not a readable picture"):
        open_matte(path)
