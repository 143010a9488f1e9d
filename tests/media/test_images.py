import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vidhair.errors import DiskFull, NotAVideo, OutputNotWritable, SourceNotFound
from vidhair.media import PictureWriter, read_image, write_png


@pytest.fixture
def picture() -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def test_png_round_trip(tmp_path: Path, picture: NDArray[Any]) -> None:
    write_png(tmp_path / "a.png", picture)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(
    tmp_path: Path, picture: NDArray[Any], orientation: int, turns: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(picture, turns))


def test_other_kinds_of_pixels(tmp_path: Path, picture: NDArray[Any]) -> None:
    Image.fromarray(picture[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png")[..., 2], picture[..., 0])

    deep = picture[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png")[..., 1], picture[..., 0])

    clear = np.zeros((4, 4, 4), np.uint8)
    Image.fromarray(clear, "RGBA").save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()


def test_unreadable_pictures(tmp_path: Path, picture: NDArray[Any]) -> None:
    with pytest.raises(SourceNotFound, match="no such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(SourceNotFound, match="folder"):
        read_image(tmp_path)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(NotAVideo, match=r"text\.png"):
        read_image(tmp_path / "text.png")
    write_png(tmp_path / "a.png", picture)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:1500])
    with pytest.raises(NotAVideo, match=r"cut\.png"):
        read_image(tmp_path / "cut.png")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, picture: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "a.png", picture)
    before = (tmp_path / "a.png").read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DiskFull, match=r"a\.png"):
        write_png(tmp_path / "a.png", picture[::-1])
    assert (tmp_path / "a.png").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_missing_folder(tmp_path: Path, picture: NDArray[Any]) -> None:
    with pytest.raises(OutputNotWritable, match="missing"):
        write_png(tmp_path / "missing" / "a.png", picture)


class TestPictureWriter:
    FRAMES = np.random.default_rng(1).integers(0, 256, (5, 8, 12, 3), np.uint8)
    ALPHA = np.random.default_rng(2).integers(0, 256, (5, 8, 12), np.uint8)

    def test_frames_are_counted_through_and_keep_every_value(self, tmp_path: Path) -> None:
        with PictureWriter(tmp_path / "hair") as writer:
            writer.write(self.FRAMES[:2], self.ALPHA[:2])
            writer.write(self.FRAMES[2:], self.ALPHA[2:])
        paths = sorted((tmp_path / "hair").iterdir())
        assert [path.name for path in paths] == [f"00000{n}.png" for n in range(1, 6)]
        for path, frame, alpha in zip(paths, self.FRAMES, self.ALPHA, strict=True):
            with Image.open(path) as image:
                assert image.mode == "RGBA"
                assert np.array_equal(np.asarray(image), np.dstack([frame, alpha]))

    def test_what_a_longer_clip_has_left_goes_and_nothing_else(self, tmp_path: Path) -> None:
        frames = np.zeros((5, 4, 6, 3), np.uint8)
        with PictureWriter(tmp_path) as writer:
            writer.write(frames)
        assert writer.notes == ()
        others = ["0000009.png", "00007.png", "000004.jpg", "hair000005.png", "notes.txt"]
        for name in others:
            (tmp_path / name).write_text("mine")
        with pytest.raises(KeyError), PictureWriter(tmp_path) as writer:
            writer.write(frames[:1])
            raise KeyError
        assert len(list(tmp_path.glob("00000?.png"))) == 5, "not after an error"
        with PictureWriter(tmp_path) as writer:
            writer.write(frames[:3])
        kept = ["000001.png", "000002.png", "000003.png"]
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept + others)
        assert len(writer.notes) == 1 and writer.notes[0].endswith(
            f"are removed from {tmp_path}: 2"
        )

    def test_a_folder_that_cannot_be_is_refused_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputNotWritable, match="file is a file; name a folder"):
            PictureWriter(tmp_path / "file")
        with pytest.raises(OutputNotWritable, match=r"no folder .*none; create it"):
            PictureWriter(tmp_path / "none" / "hair")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
