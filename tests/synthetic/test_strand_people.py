"""People with hair of strands: nothing but hair is put on them, and it covers what is behind."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.synthetic.few import thinned
from vidhair.synthetic import strand_people
from vidhair.synthetic.people import NO_HAT, PLANES, People, paint, sample_people
from vidhair.synthetic.render import aligned_view, trace
from vidhair.synthetic.strand_people import Grown, paint_strands, sample_strands, shaven
from vidhair.synthetic.strands import BEARD_STYLES, STRAND_STYLES, grow_strands

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
HAIR, BEARD = PLANES.index("hair"), PLANES.index("beard")


@pytest.fixture(scope="module")
def person() -> Any:
    faces, looks = sample_people(1, torch.Generator().manual_seed(4))
    looks = replace(looks, hat=looks.hat + 1, beard=looks.beard + 1, grey=0 * looks.grey)
    return shaven(faces, looks)


@pytest.fixture(scope="module")
def seen(person: Any) -> Any:
    return trace(person[0], aligned_view(person[0], SIDE, margin=(8,) * 4), People(*person))


@pytest.fixture(scope="module")
def grown(person: Any) -> Any:
    hair = grow_strands(person[0], thinned(STRAND_STYLES["long"], 0.05), 1)
    beard = grow_strands(person[0], thinned(BEARD_STYLES["full"], 0.1), 1, beard=True)
    return Grown(hair, beard)


@pytest.fixture(scope="module")
def bald(person: Any, seen: Any) -> Any:
    return paint(seen, People(*person), (SIDE + 16, SIDE + 16))


def painted(person: Any, seen: Any, grown: Any, *colors: tuple[float, float, float]) -> Any:
    faces, looks = person
    whos = [(faces.replace(hair_colour=torch.tensor([color])), looks) for color in colors]
    return paint_strands(seen, whos, grown, (SIDE + 16, SIDE + 16))


def test_who_is_shaven_has_neither_hair_nor_beard_nor_hat(person: Any, bald: Any) -> None:
    assert int(person[1].hat) == NO_HAT
    assert float(bald.planes[:, HAIR].max()) == float(bald.planes[:, BEARD].max()) == 0


def test_strands_cover_what_is_behind_them(person: Any, seen: Any, grown: Any, bald: Any) -> None:
    (portrait,) = painted(person, seen, grown, (0.3, 0.2, 0.1))
    planes = portrait.planes
    hair, beard = planes[:, HAIR], planes[:, BEARD]
    assert float(hair.mean()) > 0.1 and float(beard.mean()) > 0.005
    others = [n for n in range(len(PLANES)) if n not in (HAIR, BEARD)]
    left = 1 - hair - beard
    torch.testing.assert_close(planes[:, others], bald.planes[:, others] * left[:, None])
    assert torch.equal(portrait.oval, bald.oval)
    assert float(portrait.image.min()) >= 0 and float(portrait.image.max()) <= 1 + 1e-5


def test_colorings_share_their_shapes(person: Any, seen: Any, grown: Any) -> None:
    red, blonde = painted(person, seen, grown, (0.5, 0.1, 0.05), (0.85, 0.75, 0.55))
    assert torch.equal(red.planes, blonde.planes)
    sure = red.planes[:, HAIR] > 0.9
    means = [p.image.movedim(1, -1)[sure].mean(0) for p in (red, blonde)]
    assert float(means[0][0]) > 1.8 * float(means[0][2])
    assert float(means[1].mean()) > 1.5 * float(means[0].mean())


def test_strands_without_width_leave_the_person_bald_in_light(
    person: Any, seen: Any, grown: Any, bald: Any
) -> None:
    none = replace(grown.hair, widths=np.zeros_like(grown.hair.widths))
    (portrait,) = painted(person, seen, Grown(none, None), (0.3, 0.2, 0.1))
    torch.testing.assert_close(portrait.planes, bald.planes)
    torch.testing.assert_close(portrait.image, bald.image)


def test_hair_throws_its_shadow_on_the_person(
    person: Any, seen: Any, grown: Any, bald: Any
) -> None:
    (portrait,) = painted(person, seen, grown, (0.3, 0.2, 0.1))
    bare = portrait.planes[:, HAIR] + portrait.planes[:, BEARD] < 0.02
    on_person = bare & (bald.planes.sum(1) > 0.98)
    lit, shaded = (p.image.movedim(1, -1)[on_person] for p in (bald, portrait))
    assert float(shaded.mean()) < 0.97 * float(lit.mean())


def test_a_seed_grows_one_head_of_hair(person: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: thinned(style, 0.01) for name, style in STRAND_STYLES.items()}
    monkeypatch.setattr(strand_people, "STRAND_STYLES", few)
    first, again, other = (
        sample_strands(person[0], torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.hair.points, again.hair.points)
    assert first.hair.points.shape != other.hair.points.shape or not np.array_equal(
        first.hair.points, other.hair.points
    )
