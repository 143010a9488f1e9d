"""Against the definition, at odd and even sizes and at the border."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from vidhair.imaging.morphology import dilate, enlarge_mask, erode, grown, reconstruct, span_of


def mask(seed: int = 0, share: float = 0.1) -> torch.Tensor:
    return (torch.rand(2, 17, 13, generator=torch.Generator().manual_seed(seed)) < share).to(
        torch.uint8
    )


@pytest.mark.parametrize("size", [1, 2, 3, 6, 30])
@pytest.mark.parametrize(("function", "pick"), [(dilate, max), (erode, min)])
def test_is_the_extreme_of_the_square(
    function: Callable[..., Any], pick: Callable[..., Any], size: int
) -> None:
    x = mask(share=0.1 if function is dilate else 0.9)
    got = function(x, size)
    assert got.dtype == x.dtype and got.shape == x.shape
    for i in range(17):
        for j in range(13):
            top, left = i - size // 2, j - size // 2
            seen = x[:, max(top, 0) : top + size, max(left, 0) : left + size].flatten(1)
            assert got[:, i, j].tolist() == [pick(row.tolist()) for row in seen]


@pytest.mark.parametrize("reach", [1, 7, 30])
def test_a_mask_grows_as_the_definition_says(reach: int) -> None:
    seen = mask(share=0.03)[0].bool()
    want = dilate(seen[None, None].float(), 2 * reach + 1)[0, 0].numpy() > 0
    for turn in (1, -1):
        assert np.array_equal(grown(seen.numpy()[::turn], reach), want[::turn])


def test_one_pixel_does_nothing() -> None:
    assert torch.equal(dilate(mask(), 1), mask()) and torch.equal(erode(mask(), 1), mask())


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_an_enlarged_mask_keeps_what_it_had(size: int) -> None:
    assert (enlarge_mask(mask(), size) >= mask()).all()


def test_work_grows_with_the_logarithm_of_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, maximum = [], torch.maximum

    def counted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        return maximum(a, b)

    monkeypatch.setattr(torch, "maximum", counted)
    got = dilate(mask(share=0.01), 500)
    assert len(steps) == 2 * 9 and (got == mask(share=0.01).amax((1, 2), keepdim=True)).all()


def test_gaps_close() -> None:
    x = torch.zeros(1, 1, 20, 20)
    x[..., 5:15, 5:15] = 1
    x[..., 10, 10] = 0
    assert enlarge_mask(x, 6)[..., 5:15, 5:15].all()


def test_a_square_has_pixels() -> None:
    with pytest.raises(AssertionError, match="square of 0"):
        dilate(mask(), 0)


def test_a_span_holds_what_is_seen_and_begins_with_a_cell() -> None:
    seen = np.zeros((40, 50), bool)
    seen[21, 13], seen[30, 17] = True, True
    assert span_of(seen, 0) == (slice(20, 31), slice(12, 18))
    assert span_of(seen, 2) == (slice(16, 33), slice(8, 20))
    assert span_of(seen, 60)[0].start == 0
    assert [x.stop - x.start for x in span_of(seen & False, 0)] == [0, 0]


def test_a_way_never_rises_again_and_goes_no_further_than_its_steps() -> None:
    values, limit = torch.zeros(1, 1, 3, 9), torch.zeros(1, 1, 3, 9)
    values[..., 0] = 1
    limit[..., 1, :] = torch.tensor([1, 0.8, 0.5, 0.2, 0.6, 0.2, 0.1, 0.1, 0.1])
    limit[..., 0] = 1
    found = reconstruct(values, limit, 6)
    wanted = torch.tensor([1, 0.8, 0.5, 0.2, 0.2, 0.2, 0.1, 0, 0])
    assert torch.equal(found[0, 0, 1], wanted)
    assert (found[0, 0, [0, 2], 1:] == 0).all() and (found[..., 0] == 1).all()
    assert reconstruct(values, limit, 0) is values
