"""Hair cut out of the tiny clip, in every kind of target."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests import small
from vidhair.errors import InvalidSetting, MatteDoesNotFit, OutputNotWritable
from vidhair.flow.edit_video import Result, write_matte
from vidhair.media import VideoWriter, open_clip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that hair is found once."""
    return tmp_path_factory.mktemp("cut-out") / "cache"


def cut(target: Path, cache: Path, source: Path | None = None) -> Result:
    return write_matte(
        source or small.clip(), target, settings=small.QUICK, pack=small.pack(), device="cpu",
        cache=cache,
    )  # fmt: skip


def alphas(path: Path) -> NDArray[Any]:
    with open_clip(path) as reader:
        assert reader.clip.alpha
        return reader.alpha(0, reader.clip.frame_count)


@pytest.mark.slow
def test_every_target_holds_the_same_matte(tmp_path: Path, cache: Path) -> None:
    result = cut(tmp_path / "pictures", cache)
    paths = sorted((tmp_path / "pictures").iterdir())
    exact = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert result.frames == len(paths) == small.FRAMES
    assert "changes" not in [stage.name for stage in result.stages], "nothing is dyed"
    source = small.decoded(small.clip())
    assert np.array_equal(exact[..., :3], source)
    middle = small.SIZE[0] // 2
    hair, corner = exact[:, 18:28, middle - 12 : middle + 12, 3], exact[:, -8:, :8, 3]
    assert hair.mean() > 100 and corner.max() == 0

    for name, worst in (("a.mov", 3), ("a.mkv", 1)):
        assert (
            np.abs(alphas(cut(tmp_path / name, cache).path).astype(int) - exact[..., 3]).max()
            <= worst
        )

    shown = cut(tmp_path / "a.mp4", cache)
    assert not any("transparency" in note for note in shown.notes)
    grey = small.decoded(shown.path).astype(int)
    assert np.abs(grey - exact[..., 3:]).mean() < 3


@pytest.mark.slow
def test_a_clip_with_transparency_shows_its_hair_and_not_itself(
    tmp_path: Path, cache: Path
) -> None:
    frames, source = small.decoded(small.clip()), tmp_path / "clear.mkv"
    with open_clip(small.clip()) as reader:
        clip = dataclasses.replace(reader.clip, alpha=True)
    with VideoWriter(source, clip) as writer:
        writer.write(frames, np.full(frames.shape[:3], 90, np.uint8))
    shown = small.decoded(cut(tmp_path / "a.mp4", cache, source).path).astype(int)
    assert shown[:, -8:, :8].max() < 12, "black where there is no hair"
    assert np.ptp(shown, axis=-1).max() < 12, "and grey"


@pytest.mark.slow
def test_a_matte_that_is_given_back_dyes_as_before(tmp_path: Path, cache: Path) -> None:
    """Whatever it was written into, and without anything that looks for hair."""
    changes = {"edit.color": "blue", "encode.crf": 0}
    want = dyed(tmp_path / "own.mkv", cache, changes)
    source = small.decoded(small.clip())
    assert psnr(want, source) < 35, "something is dyed"
    for name, least in (("m.mov", 50), ("m.mkv", 60), ("m", 60), ("m.mp4", 38)):
        cut(tmp_path / name, cache)
        given = changes | {"matte.from": str(tmp_path / name)}
        result = edit_given(tmp_path / f"{name}-back.mkv", cache, given)
        assert psnr(small.decoded(result.path), want) >= least, name
        made = {stage.name for stage in result.stages}
        assert not {"prior", "labels", "hair_colors"} & made
        assert any(f"hair is where {tmp_path / name} says" in note for note in result.notes)


def edit_given(target: Path, cache: Path, changes: dict[str, Any]) -> Result:
    return small.edit(target, cache, name="hair_color", changes=changes)


def dyed(target: Path, cache: Path, changes: dict[str, Any]) -> NDArray[Any]:
    return small.decoded(edit_given(target, cache, changes).path)


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    error = np.square(a.astype(float) - b).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_a_matte_that_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    path = str(small.matte())
    with pytest.raises(MatteDoesNotFit, match=r"has 1 picture, and .*small.mp4 has"):
        edit_given(tmp_path / "a.mp4", tmp_path / "cache", {"matte.from": path})
    with pytest.raises(InvalidSetting, match=r"matte.from = .* leave it out"):
        changes = {"matte.from": path}
        small.edit(tmp_path / "a.mp4", tmp_path / "c", name="reconstruct", changes=changes)
    mine = tmp_path / "mine.mov"
    mine.write_bytes(b"years of work")
    with pytest.raises(OutputNotWritable, match=r"mine.mov is the matte that is read"):
        edit_given(mine, tmp_path / "cache", {"matte.from": str(mine)})
    assert mine.read_bytes() == b"years of work"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.mov"]


def test_a_target_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    for target in (tmp_path / "none" / "a.mov", tmp_path / "a.txt"):
        with pytest.raises(OutputNotWritable):
            cut(target, tmp_path / "cache")
    with pytest.raises(OutputNotWritable, match="is the source itself"):
        write_matte(small.clip(), small.clip(), pack=small.pack(), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
