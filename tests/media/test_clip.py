import dataclasses
import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media.clips import a_clip
from vidhair.errors import SourceNotFound
from vidhair.types import Color


def test_times_in_seconds() -> None:
    clip = a_clip([10, 20, 50], Fraction(1, 100), end_pts=60)
    assert clip.frame_count == 3
    assert clip.seconds_T.dtype == np.float64
    assert clip.seconds_T.tolist() == [0.1, 0.2, 0.5]
    assert clip.duration == 0.5


def test_times_cannot_be_changed() -> None:
    ticks = np.arange(3)
    clip = dataclasses.replace(a_clip(), pts=ticks, end_pts=9)
    ticks[0] = -5
    assert clip.pts[0] == 0
    with pytest.raises(ValueError):
        clip.pts[0] = 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"pts": np.array([0, 2, 2])},
        {"pts": np.array([3, 2, 1])},
        {"pts": np.array([], np.int64)},
        {"pts": np.arange(6).reshape(2, 3)},
        {"pts": np.arange(3.0)},
        {"end_pts": 0},
        {"width": 0},
        {"rotation": 45},
        {"time_base": Fraction(0)},
        {"time_base": Fraction(1, 2**40)},
        {"sample_aspect_ratio": Fraction(0)},
    ],
)
def test_a_clip_checks_itself(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        dataclasses.replace(a_clip(), **wrong)


@pytest.mark.parametrize("wrong", [{"matrix": "ycgco-re"}, {"range": "full"}])
def test_a_color_checks_itself(wrong: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        Color(**wrong)


def test_fingerprint_is_the_sha256_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(b"anything" * 1000)
    clip = dataclasses.replace(a_clip(), path=file)
    assert clip.fingerprint == hashlib.sha256(file.read_bytes()).hexdigest()


def test_fingerprint_of_a_file_that_went_away(tmp_path: Path) -> None:
    clip = dataclasses.replace(a_clip(), path=tmp_path / "gone.mp4")
    with pytest.raises(SourceNotFound, match=r"gone\.mp4"):
        _ = clip.fingerprint
