"""Strands grow where hair grows, as they are cut and combed, and always the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.synthetic.few import thinned
from vidhair.synthetic import shape
from vidhair.synthetic.params import sample_faces
from vidhair.synthetic.strands import (
    BEARD_STYLES,
    STRAND_STYLES,
    grow_strands,
    ramp,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def face() -> Any:
    return sample_faces(1, torch.Generator().manual_seed(3), style="bald", neutral=True)


def grown(face: Any, name: Any, *, beard: Any = False, seed: Any = 1, count: Any = 500) -> Any:
    style = (BEARD_STYLES if beard else STRAND_STYLES)[name]
    return grow_strands(face, thinned(style, count / style.count), seed, beard=beard)


def skin(face: Any, points: Any) -> Any:
    x, y, z = (torch.from_numpy(np.ascontiguousarray(c[None])) for c in points.reshape(-1, 3).T)
    head = shape.skin((x, y, z), shape.head_of(face))
    return torch.minimum(head, shape.neck(x, y, z))[0].numpy().reshape(points.shape[:-1])


def lengths(strands: Any) -> Any:
    return np.linalg.norm(np.diff(strands.points, axis=1), axis=-1).sum(1)


@pytest.mark.parametrize("name", STRAND_STYLES)
def test_every_style_grows_from_the_scalp_and_stays_outside_of_the_head(
    face: Any, name: Any
) -> None:
    hair = grown(face, name, count=200)
    assert len(hair.points) > 120
    roots = hair.points[:, 0]
    assert np.abs(skin(face, roots)).max() < 0.02
    assert skin(face, hair.points[:, 1:]).min() > -0.02
    assert not ((roots[:, 2] > 0.5) & (roots[:, 1] < 0.5)).any(), "hair on the face"
    assert hair.widths.min() > 0 and (hair.widths[:, -1] < hair.widths[:, 0]).all()


def test_the_same_seed_grows_the_same_and_another_does_not(face: Any) -> None:
    one, again, other = (grown(face, "crop", seed=s) for s in (4, 4, 5))
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(one.rank, again.rank)
    assert np.abs(one.points - other.points).max() > 0.1


def test_a_fade_is_short_below_and_longer_above(face: Any) -> None:
    hair = grown(face, "fade", count=1000)
    style, y = STRAND_STYLES["fade"], hair.points[:, 0, 1]
    long, short = lengths(hair)[y > 0.8], lengths(hair)[y < 0.05]
    assert np.median(long) == pytest.approx(style.top, rel=0.15)
    assert np.median(short) < 0.03 < 0.2 * np.median(long)


def test_long_hair_hangs_down_beside_the_face(face: Any) -> None:
    hair = grown(face, "long")
    tips = hair.points[:, -1]
    assert np.median(tips[:, 1]) < -0.9
    x, y, z = np.moveaxis(hair.points, -1, 0)
    in_face = (np.abs(x) < 0.3) & (np.abs(y) < 0.3) & (z > 0.4)
    assert in_face.any(1).mean() < 0.01


def test_a_parting_sends_hair_to_both_sides(face: Any) -> None:
    hair = grown(face, "parted", count=1000)
    side = hair.points[:, 0, 0] - STRAND_STYLES["parted"].part
    front = (hair.points[:, 0, 2] > 0.1) & (np.abs(side) > 0.15)
    went = hair.points[:, 6, 0] - hair.points[:, 0, 0]
    assert (np.sign(went) == np.sign(side))[front].mean() > 0.9


def test_locks_gather_their_strands(face: Any) -> Any:
    loose = replace(STRAND_STYLES["bob"], count=600, clumps=60, flyaway=0.0, frizz=0.0)

    def spread(clumping: Any) -> Any:
        tips = grow_strands(face, replace(loose, clumping=clumping), 2).points[:, -1]
        apart = np.linalg.norm(tips[:, None] - tips, axis=-1) + 9 * np.eye(len(tips))
        return np.median(apart.min(1))

    assert spread(0.9) < 0.6 * spread(0.0)


def test_curls_turn_often(face: Any) -> Any:
    def turning(name: Any) -> Any:
        way = np.diff(grown(face, name, count=100).points, axis=1)
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        return np.arccos(np.clip((way[:, 1:] * way[:, :-1]).sum(-1), -1, 1)).sum(1).mean()

    assert turning("curly") > 3 * turning("long")


@pytest.mark.parametrize("name", BEARD_STYLES)
def test_beards_grow_on_jaw_and_lip_and_not_in_the_mouth(face: Any, name: Any) -> None:
    beard = grown(face, name, beard=True)
    x, y, z = beard.points[:, 0].T
    assert np.abs(skin(face, beard.points[:, 0])).max() < 0.02
    assert y.max() < 0.3 and z.min() > -0.2
    mouth = float(shape.head_of(face).mouth_y)
    front = (np.abs(x) < 0.2) & (z > 0.5)
    assert (front & (y > mouth + 0.04)).any() and (front & (y < mouth - 0.1)).any()
    across, down = (torch.from_numpy(c[None]) for c in (x, y))
    lip, inner = shape.lips(across, down, shape.head_of(face))
    assert ((lip + inner)[0].numpy() > 0.5)[z > 0.3].mean() < 0.01


def test_thinned_hair_covers_as_much() -> None:
    style = thinned(STRAND_STYLES["long"], 0.1)
    assert style.count * style.width == pytest.approx(
        STRAND_STYLES["long"].count * STRAND_STYLES["long"].width
    )


def test_ramp_goes_from_0_to_1() -> None:
    assert ramp(1, 3, np.array([0, 1, 2, 3, 4.0])).tolist() == [0, 0, 0.5, 1, 1]


def test_a_fringe_hangs_before_the_forehead(face: Any) -> None:
    style = replace(thinned(STRAND_STYLES["bob"], 0.05), flyaway=0.0, comb=(0.0, 1.0))
    plain, fringed = (grow_strands(face, replace(style, fringe=length), 1) for length in (0.0, 0.5))

    def before_forehead(strands: Any) -> Any:
        x, y, z = np.moveaxis(strands.points, -1, 0)
        return ((np.abs(x) < 0.3) & (y < 0.6) & (y > 0.2) & (z > 0.5)).any(1)

    assert not before_forehead(plain).any()
    hanging = before_forehead(fringed)
    assert hanging.mean() > 0.02
    assert np.median(lengths(fringed)[hanging]) == pytest.approx(0.65, rel=0.3)
    assert (fringed.points[hanging, 0, 2] > -0.3).all(), "it grows at the front"
    assert skin(face, fringed.points[:, 1:]).min() > -0.02


def test_hair_combed_forward_falls_before_the_shoulders(face: Any) -> None:
    style = thinned(STRAND_STYLES["long"], 0.02)
    back, front = (grow_strands(face, replace(style, forward=forward), 1) for forward in (0.0, 0.5))
    depths = [s.points[s.points[..., 1] < -0.8][:, 2].mean() for s in (back, front)]
    assert depths[1] > depths[0] + 0.15
