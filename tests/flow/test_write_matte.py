"""Hair cut out of the tiny clip, in every kind of target."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests import small
from vidhair.errors import OutputNotWritable
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


def test_a_target_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    for target in (tmp_path / "none" / "a.mov", tmp_path / "a.txt"):
        with pytest.raises(OutputNotWritable):
            cut(target, tmp_path / "cache")
    with pytest.raises(OutputNotWritable, match="is the source itself"):
        write_matte(small.clip(), small.clip(), pack=small.pack(), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
