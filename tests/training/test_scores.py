"""What is told of drawn faces, on pictures that are known."""

import numpy as np
import pytest

from tests import small
from vidhair.models.parsers.face_parser import Label
from vidhair.training.scores import READ, Looker, Seen

pytestmark = pytest.mark.usefixtures("one_thread")


def seen(rows: slice, level: int = 40) -> Seen:
    """Hair in some rows of a picture, of a grey level."""
    planes = np.zeros((5, 20, 20), np.float32)
    planes[Label.HAIR, rows] = 255
    picture = np.full((20, 20, 3), 128, np.uint8)
    picture[rows] = level
    return Seen(picture, np.zeros((478, 2), np.float32), lambda: planes)


def test_hair_is_measured() -> None:
    short, long = seen(slice(0, 5)), seen(slice(0, 15), 90)
    for name in ("seen_hair", "seen_hair_reach", "seen_hair_lightness"):
        assert READ[name](long) > READ[name](short)
    assert READ["seen_hair"](short) == pytest.approx(0.25)
    assert READ["seen_hair_reach"](long) == pytest.approx(0.7, abs=0.05)
    assert READ["seen_hair_warmth"](short) == pytest.approx(0, abs=0.1)
    assert np.isnan(READ["seen_hair_lightness"](seen(slice(0)))) and not READ["seen_hair_reach"](
        seen(slice(0))
    )


def test_a_face_is_looked_at() -> None:
    look = Looker(small.pack().parser)
    person = np.ascontiguousarray(small.person()[3])
    found, nobody = look(person), look(np.zeros_like(person))
    assert nobody is None and found is not None
    assert found.planes.shape[1:] == person.shape[:2]
    assert abs(READ["seen_turn"](found)) < 0.3
    assert READ["seen_skin_lightness"](found) > 20 and READ["seen_hair"](found) > 0.01
    lifted = Seen(found.picture, found.mesh.copy(), lambda: found.planes)
    lifted.mesh[[61, 291], 1] -= 5
    assert READ["seen_smile"](lifted) > READ["seen_smile"](found)
    look.close()
