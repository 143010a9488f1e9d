"""Hair along lines: which way they run, where hair is wanted, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests import small
from vidhair.edits import HairSketch
from vidhair.edits.hair_losses import course_loss, courses
from vidhair.edits.hair_sketch import around
from vidhair.errors import InvalidSetting
from vidhair.media import open_clip, write_png

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 48
Y, X = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")


def strands(degrees: float) -> Tensor:
    """A picture of stripes, [1, 3, H, W], that run this way: 0 is along x."""
    angle = torch.tensor(degrees).deg2rad()
    across = -X * angle.sin() + Y * angle.cos()
    return (across * 0.7).sin().expand(1, 3, -1, -1)


def line(degrees: float) -> Tensor:
    """[1, 1, H, W], through the middle."""
    angle = torch.tensor(degrees).deg2rad()
    across = -(X - SIDE / 2) * angle.sin() + (Y - SIDE / 2) * angle.cos()
    return (1.5 - across.abs()).clamp(0, 1)[None, None]


@pytest.mark.parametrize("degrees", [0.0, 30, 90, 135])
def test_strands_along_a_line_lose_nothing_and_those_across_most(degrees: float) -> None:
    losses = [float(course_loss(strands(degrees + turn), line(degrees))) for turn in (0, 45, 90)]
    assert losses[0] < 0.1 and losses[1] == pytest.approx(1, abs=0.25) and losses[2] > 1.9


def test_a_lines_two_ways_are_one() -> None:
    torch.testing.assert_close(courses(line(20)), courses(line(200)), atol=1e-4, rtol=0)


def test_a_picture_turns_towards_its_lines() -> None:
    picture = strands(60).clone().requires_grad_()
    optimiser = torch.optim.Adam([picture], lr=0.05)
    before = course_loss(strands(60), line(0))
    for _ in range(20):
        optimiser.zero_grad()
        course_loss(picture, line(0)).backward()
        optimiser.step()
    assert float(course_loss(picture, line(0)).detach()) < 0.5 * before


def test_nothing_that_runs_any_way_is_in_between() -> None:
    flat = torch.zeros(1, 3, SIDE, SIDE)
    assert float(course_loss(flat, line(10))) == pytest.approx(1)
    assert course_loss(strands(3), torch.zeros(1, 1, SIDE, SIDE)).isfinite()


def test_hair_is_around_the_lines() -> None:
    lines = torch.zeros(1, 1, 256, 256)
    lines[..., 100:102, 50:200] = lines[..., 106:108, 50:200] = 1
    area = around(lines)
    assert (area >= lines).all() and (area[..., 103, 60:190] == 1).all()
    assert not area[..., :90, :].any() and not area[..., 120:, :].any()


def sketch(path: Path) -> str:
    levels = np.zeros((small.SIZE[1], small.SIZE[0], 3), np.uint8)
    levels[20:24, 30:80] = 255
    write_png(path, levels)
    return str(path)


@pytest.mark.parametrize(
    ("level", "said"),
    [(0, r"edit\.sketch = .* allows the edit nowhere"), (255, r"light on 100% of it, which is no")],
)
def test_what_is_no_sketch_is_refused(tmp_path: Path, level: int, said: str) -> None:
    write_png(tmp_path / "all.png", np.full((8, 8, 3), level, np.uint8))
    with pytest.raises(InvalidSetting, match=said):
        HairSketch(sketch=str(tmp_path / "all.png")).check(small.pack(), "edit")
    with pytest.raises(InvalidSetting, match=r"edit\.sketch is not given; name a picture"):
        HairSketch().check(small.pack(), "edit")


def test_a_sketch_of_another_size_is_refused(tmp_path: Path) -> None:
    edit: Any = HairSketch(sketch=sketch(tmp_path / "a.png"), sketch_frame=99)
    edit.check(small.pack(), "edit")
    with (
        open_clip(small.clip()) as reader,
        pytest.raises(InvalidSetting, match=r"edit\.sketch_frame = 99 is beyond the 12 frames"),
    ):
        edit.check_clip(reader.clip, "edit")


@pytest.mark.slow
def test_a_run_follows_the_lines(tmp_path: Path) -> None:
    changes = {
        "edit.sketch": sketch(tmp_path / "a.png"), "edit.steps": 2, "edit.refine_steps": 1,
        "edit.frames": 2,
    }  # fmt: skip
    result = small.edit(
        tmp_path / "out.mp4", tmp_path / "cache", name="hair_sketch", changes=changes,
        models=small.stylegan3_pack(),
    )  # fmt: skip
    assert result.frames == small.FRAMES and "proxy" in small.computed(result)
