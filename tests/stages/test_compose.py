import numpy as np

from tests.stages.composing import Scene
from vidhair.stages.compose import changes, unedited
from vidhair.stages.render import Picture
from vidhair.types import Frames


def test_without_an_edit_the_rendering_is_the_edited_one() -> None:
    picture = Picture(Scene().recon)
    assert unedited(picture) is picture


def test_what_composing_changes_gives_the_composed_frames_back() -> None:
    """Brighter and darker by any number of levels."""
    chance = np.random.default_rng(0)
    source, composed = chance.integers(0, 256, (2, 3, 5, 7, 3), dtype=np.uint8)
    composed[:, :2] = source[:, :2]
    kept = changes(Frames.of_pixels(source), Frames.of_pixels(composed))
    assert not kept.levels[:, :2].any() and kept.levels.dtype == np.uint8
    assert np.array_equal(kept.over(source.copy()), composed)
