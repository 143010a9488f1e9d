"""Pictures are moved as they are said to be moved."""

import math

import pytest
import torch

from vidhair.training.placement import (
    CELL,
    Placement,
    enlarged,
    shifted,
    still,
    turned,
    unaligned,
)

SIDE = 40


def noise(batch: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("right", "down"), [(5, 0), (0, 3), (-4, 7), (6, -2)])
def test_a_shift_by_whole_pixels_shifts_by_them(right: int, down: int) -> None:
    """Each axis by its own number: neither is a share of a pixel, nor the same for both."""
    picture = noise()
    moved = shifted(torch.tensor([right / SIDE]), torch.tensor([down / SIDE]))(picture)
    want = picture.roll((down, right), (2, 3))
    inside = (..., slice(8, -8), slice(8, -8))
    assert torch.allclose(moved[inside], want[inside], atol=1e-4)
    assert (moved - picture)[inside].abs().mean() > 0.1


def test_one_change_after_the_other() -> None:
    """Shifted, then enlarged twice about the middle: twice as far."""
    share = torch.tensor([2 / SIDE])
    both = shifted(share, 0 * share).then(enlarged(torch.tensor([2.0]), torch.tensor([2.0])))
    dot = torch.zeros(1, 1, SIDE, SIDE)
    dot[..., 18:22, 18:22] = 1
    moved = both(dot)[0, 0]
    middle = torch.arange(SIDE) + 0.5
    x, y = (moved.sum(0) * middle).sum() / moved.sum(), (moved.sum(1) * middle).sum() / moved.sum()
    assert x.item() == pytest.approx(SIDE / 2 + 4, abs=0.1)
    assert y.item() == pytest.approx(SIDE / 2, abs=0.1)
    assert moved.sum().item() == pytest.approx(4 * dot.sum().item(), rel=0.1)


def test_it_turns_anticlockwise_by_its_angle() -> None:
    dot = torch.zeros(1, 1, SIDE, SIDE)
    dot[..., 18:22, 30:34] = 1  # to the right of the middle
    moved = turned(torch.tensor([math.pi / 2]))(dot)[0, 0]
    assert moved[6:10, 18:22].mean() > 0.95


def test_beyond_the_border_it_goes_on_mirrored() -> None:
    picture = noise()
    moved = shifted(torch.tensor([3 / SIDE]), torch.zeros(1))(picture)
    assert torch.allclose(moved[..., 8:-8, :3], picture[..., 8:-8, :3].flip(3), atol=1e-4)


def test_random_shifts_reach_far_and_differ_between_axes() -> None:
    matrix = unaligned(4000, torch.Generator().manual_seed(0)).matrix
    plain = (matrix[:, :, :2] - torch.eye(2)).abs().amax((1, 2)) < 1e-6
    pixels = matrix[plain, :, 2] * SIDE / 2
    moved = pixels[pixels.abs().amax(1) > 1e-4]
    assert 0.2 < len(moved) / plain.sum() < 0.5  # of those that are not turned or scaled
    assert moved.abs().mean() > 0.04 * SIDE
    assert (moved[:, 0] - moved[:, 1]).abs().mean() > 0.04 * SIDE
    together = torch.corrcoef(moved.t())[0, 1]
    assert abs(float(together)) < 0.15


def test_most_pictures_are_not_turned_and_none_is_mirrored() -> None:
    matrix = unaligned(2000, torch.Generator().manual_seed(0)).matrix
    angle = torch.atan2(matrix[:, 1, 0] - matrix[:, 0, 1], matrix[:, 0, 0] + matrix[:, 1, 1])
    assert 0.1 < (angle.abs() > 1e-3).float().mean() < 0.3
    assert angle.abs().max() <= math.pi / 2 + 0.1
    assert (torch.linalg.det(matrix[:, :, :2]) > 0.5).all()


def test_unmoved_it_is_as_it_was() -> None:
    picture = noise(2)
    assert torch.allclose(still(2)(picture), picture, atol=1e-5)


def test_of_labels_nothing_in_between_is_made_up() -> None:
    labels = (noise(1, 2) > 0.5).float()
    generator = torch.Generator().manual_seed(3)
    placed = next(p for p in (unaligned(1, generator) for _ in range(50)) if
                  (p.matrix - torch.eye(2, 3)).abs().max() > 0.1)  # fmt: skip
    assert placed(labels, labels=True).unique().tolist() == [0, 1]


def test_crops_lie_on_cells_of_the_encoder() -> None:
    picture, sizes = noise(), set()
    for seed in range(20):
        placed = still(1).cropped(SIDE, torch.Generator().manual_seed(seed))
        part = placed(picture)
        height, width = part.shape[2:]
        assert height % CELL == width % CELL == 0 and min(height, width) >= 0.8 * SIDE
        top, left = (round(share * SIDE) for share in placed.crop[:2])
        assert top % CELL == left % CELL == 0
        want = picture[..., top : top + height, left : left + width]
        assert torch.allclose(part, want, atol=1e-5)
        # Of a picture of twice the side the same part is kept.
        assert placed(picture.repeat_interleave(2, 2).repeat_interleave(2, 3)).shape[2:] == (
            2 * height,
            2 * width,
        )
        sizes.add((height, width))
    assert len(sizes) > 2


def test_the_aligned_face_is_found_again_in_a_moved_and_cropped_picture() -> None:
    """What the loss of identities looks at."""
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(4)),
        size=(SIDE, SIDE), mode="bicubic",
    )  # fmt: skip
    want = still(1).aligned(smooth, 32, 0.8)
    assert torch.allclose(want, smooth[..., 4:-4, 4:-4], atol=0.02)
    angle = torch.tensor(0.2)
    matrix = torch.tensor([[[angle.cos(), -angle.sin(), 0.1], [angle.sin(), angle.cos(), -0.1]]])
    placed = Placement(matrix, (0.0, 0.2, 0.8, 0.8))
    moved = placed(smooth)
    assert moved.shape[2:] == (32, 32)
    got = placed.aligned(moved, 32, 0.8)
    middle = (..., slice(8, -8), slice(8, -8))
    assert torch.allclose(got[middle], want[middle], atol=0.03)
    assert (moved - want)[middle].abs().mean() > 0.05
