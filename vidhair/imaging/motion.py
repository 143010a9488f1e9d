"""What moved where between two pictures, and means along it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.imaging.morphology import span_of
from vidhair.imaging.opencv import opencv

UNLIKE = 12.0  # difference of two pixels, in levels of 255, from which they show different things
NEARBY = 5  # side in pixels over which that is judged
SURROUNDINGS = 24  # pixels around the values that motion is looked for in, too
LEAST_SIDE = 16  # of pictures in which motion is looked for


def _solver() -> Any:
    """A new one for every pair: for small pictures it takes finer settings, and keeps them."""
    cv2 = opencv()
    # Dense inverse search (Kroeger et al. 2016).
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)


def flow(start: NDArray[np.uint8], end: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where every pixel of a picture lies in another one, [H, W, 2]: by how far right and down.

    start, end: uint8 [H, W, 3] of the same size.
    """
    if min(start.shape[:2]) < LEAST_SIDE:
        return np.zeros((*start.shape[:2], 2), np.float32)
    cv2 = opencv()
    grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (start, end))
    found: NDArray[np.float32] = _solver().calc(*grey, None)
    return found


def fetch(values: NDArray[Any], motion: NDArray[np.float32]) -> NDArray[Any]:
    """What a picture [H, W] or [H, W, C] holds where `flow` says that pixels went."""
    height, width = motion.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return sample(values, np.stack([motion[..., 0] + x, motion[..., 1] + y[:, None]], -1))


def sample(values: NDArray[Any], places: NDArray[np.float32], sharp: bool = False) -> NDArray[Any]:
    """What a picture [H, W] or [H, W, C], which goes on as at its border, holds at places
    [h, w, 2]: columns and rows, of which whole numbers are samples. sharp: by cubics between
    them."""
    cv2 = opencv()
    how = cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR
    found: NDArray[Any] = cv2.remap(
        values, places[..., 0], places[..., 1], how, borderMode=cv2.BORDER_REPLICATE
    )
    return found


def seen_in_others(
    pictures: Sequence[NDArray[np.uint8]], index: int, weight: float
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Of every other picture uint8 [H, W, 3], its index, where the pixels of one of them went, as
    of `flow`, and how far what it shows there counts, [H, W].

    weight: 0 … 1, of the frames next to it; those further away count by its powers. What looks
    different in another frame does not count.
    """
    for other in range(len(pictures)):
        if other == index or weight <= 0:
            continue
        motion = flow(pictures[index], pictures[other])
        unlike = fetch(pictures[other], motion).astype(np.float32) - pictures[index]
        error = np.einsum("ijk,ijk->ij", unlike, unlike) / unlike.shape[-1]
        error = opencv().blur(error, (NEARBY, NEARBY))
        yield other, motion, weight ** abs(other - index) * np.exp(-error / (2 * UNLIKE**2))


def mean_along_motion(
    values: Sequence[NDArray[np.float32]],
    pictures: Sequence[NDArray[np.uint8]],
    index: int,
    weight: float,
) -> NDArray[np.float32]:
    """Of one of several neighbouring frames and of what it shows in the others, [H, W].

    values: [H, W] each; pictures and weight: of `seen_in_others`. Motion is looked for around what
    is not zero in all of them.
    """
    rows, columns = span_of(np.any([v > 0 for v in values], axis=0), SURROUNDINGS)
    mean = values[index].copy()
    total = mean[rows, columns]  # a part of it
    if not total.size or weight <= 0:
        return mean
    parts = [np.ascontiguousarray(picture[rows, columns]) for picture in pictures]
    weights = np.ones_like(total)
    for other, motion, share in seen_in_others(parts, index, weight):
        total += share * fetch(values[other][rows, columns], motion)
        weights += share
    total /= weights
    return mean
