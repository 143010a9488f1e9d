"""What attributes of the rendered world do to a face, seen on one person."""

import pytest

from vidhair.models.faces.landmarks import MOUTH_LEFT, MOUTH_RIGHT
from vidhair.training import effects


@pytest.mark.slow
def test_a_smile_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "AMOUNTS", {"smile": 1.0})
    found = effects.face_effects(1, seed=0)
    assert found.names == ("smile",)
    left, right = found.moved[0, [MOUTH_LEFT, MOUTH_RIGHT]].tolist()
    assert left[1] < -0.01 and right[1] < -0.01 and left[0] < 0 < right[0]
