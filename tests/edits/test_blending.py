"""Where each feature shows."""

import torch

from tests.models.tiny import random
from vidhair.edits.blending import blend, blend_proxy, color_mask

UNDER, OVER, PROXY = (random(2, 3, 16, 16, seed=k) for k in range(3))


def square(side: int, start: int, stop: int) -> torch.Tensor:
    mask = torch.zeros(2, 1, side, side)
    mask[..., start:stop, start:stop] = 1
    return mask


def test_an_empty_mask_changes_nothing_and_a_full_one_all() -> None:
    assert torch.equal(blend(UNDER, OVER, square(64, 0, 0)), UNDER)
    torch.testing.assert_close(blend(UNDER, OVER, square(64, 0, 64)), OVER)


def test_inside_over_and_outside_under() -> None:
    out = blend(UNDER, OVER, square(64, 20, 44))
    torch.testing.assert_close(out[..., 7:9, 7:9], OVER[..., 7:9, 7:9])
    assert torch.equal(out[..., :3, :], UNDER[..., :3, :])


def test_a_mask_of_labels_may_be_whole_numbers() -> None:
    mask = square(32, 8, 20)
    assert torch.equal(blend(UNDER, OVER, mask.long()), blend(UNDER, OVER, mask))


def test_the_proxy_lies_on_top_of_the_bald_head() -> None:
    hair, proxy_hair = square(512, 200, 312), square(512, 240, 290)
    out = blend_proxy(UNDER, OVER, PROXY, hair, proxy_hair)
    torch.testing.assert_close(out[..., 8, 8], PROXY[..., 8, 8])
    torch.testing.assert_close(out[..., 6, 6], OVER[..., 6, 6])
    assert torch.equal(out[..., 0, 0], UNDER[..., 0, 0])


def test_a_color_mask_covers_the_hair_at_the_wanted_size() -> None:
    hair = square(64, 24, 40)
    mask = color_mask(hair, 128)
    assert mask.shape == (2, 1, 128, 128)
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask[..., 48:80, 48:80].all() and mask.sum() > 4 * hair.sum()
