"""The second world: what is drawn where, and that the labels say so."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from vidhair.synthetic import people
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.people import (
    BEANIE,
    HOOD,
    NO_HAT,
    PLANES,
    SHAWL,
    SUNGLASSES,
    Looks,
    People,
    Portrait,
    face_oval,
    oversampled,
    paint,
    repainted,
    sample_people,
)
from vidhair.synthetic.render import aligned_view, landmarks, trace

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, MARGIN = 32, 12
SKIN, HAIR, CLOTHES, BEARD, ACCESSORY = range(len(PLANES))
PLAIN = {
    "hat": NO_HAT, "glasses": 0, "beard": 0, "moustache": 0, "stubble": 0, "beard_length": 0,
    "crown": 0, "fade": 0, "free": 0, "temple": 0, "front": 0, "tail": 0, "messy": 0, "density": 1,
    "sides": 1, "sideburn": 0.3,
}  # fmt: skip


def someone(**changes: float) -> tuple[FaceParams, Looks]:
    """One person with short hair, seen from the front in plain light, with some fields set."""
    faces, looks = sample_people(1, torch.Generator().manual_seed(3))
    head = {"yaw": 0, "pitch": 0, "light_azimuth": 0.3, "light_elevation": 0.5, "hair_volume": 0.12}
    for name in ("length", "fringe", "bun", "curl", "wave", "lift", "recede"):
        head[f"hair_{name}"] = 0
    own = {f.name for f in fields(Looks)}
    faces = faces.replace(**head | {n: v for n, v in changes.items() if n not in own})
    values = PLAIN | {n: v for n, v in changes.items() if n in own}
    return faces, replace(looks, **{n: torch.tensor([float(v)]) for n, v in values.items()})


def portrait(oversample: float = 1, **changes: float) -> Portrait:
    faces, looks = someone(**changes)
    view = aligned_view(faces, SIDE, margin=(MARGIN,) * 4)
    world = People(faces, looks)
    with torch.inference_mode():
        seen = trace(faces, oversampled(view, oversample), world)
        return paint(seen, world, (view.height, view.width))


def area(made: Portrait, plane: int, rows: slice = slice(None)) -> float:
    """Pixels of a plane, in some rows."""
    return float(made.planes[0, plane, rows].sum())


ABOVE_EYES = slice(0, MARGIN + SIDE * 2 // 5)
BELOW_EYES = slice(MARGIN + SIDE * 2 // 5, None)


@pytest.fixture(scope="module")
def plain() -> Portrait:
    return portrait()


def test_a_person_is_made_of_skin_hair_and_clothes(plain: Any) -> None:
    assert plain.planes.shape[1:] == (5, SIDE + 2 * MARGIN, SIDE + 2 * MARGIN)
    cover = plain.planes.sum(1)
    assert float(cover.max()) <= 1 + 1e-5 and float(plain.planes.min()) >= 0
    assert not plain.image[(cover == 0)[:, None].expand_as(plain.image)].any(), "black behind"
    assert min(area(plain, p) for p in (SKIN, HAIR, CLOTHES)) > 50
    assert area(plain, BEARD) == area(plain, ACCESSORY) == 0


def test_the_oval_lies_on_the_face(plain: Any) -> None:
    inside = plain.oval[0, 0] > 0.5
    assert 100 < int(inside.sum()) < 400
    on_face = plain.planes[0, SKIN] + plain.planes[0, HAIR]
    assert float(on_face[inside].mean()) > 0.97
    assert float(plain.planes[0, SKIN][inside].mean()) > 0.9


def test_the_oval_begins_as_far_above_the_eyes_as_that_of_mediapipe() -> None:
    """Which is 0.22 sides of the crop, on people of all kinds."""
    faces, looks = someone()
    view = aligned_view(faces, 128, margin=(0,) * 4)
    oval = face_oval(People(faces, looks), view, (128, 128))[0, 0]
    top = int((oval.amax(1) > 0.5).nonzero()[0])
    eyes = float(view.pixels(landmarks(faces))[0, :2, 1].mean())
    assert 0.20 < (eyes - top) / 128 < 0.24


def test_the_same_seed_gives_the_same_people() -> Any:
    def packed(seed: int) -> list[torch.Tensor]:
        faces, looks = sample_people(5, torch.Generator().manual_seed(seed))
        return [faces.pack(), *(getattr(looks, f.name) for f in fields(looks))]

    assert all(map(torch.equal, packed(1), packed(1)))
    assert not torch.equal(packed(1)[0], packed(2)[0])


def test_sampled_people_have_all_that_the_world_offers() -> None:
    _, looks = sample_people(2000, torch.Generator().manual_seed(0))
    assert set(looks.hat.tolist()) == set(range(8))
    assert set(looks.neckline.tolist()) == set(range(7))
    assert set(looks.glasses.tolist()) == set(range(3))
    for name in ("beard", "moustache", "stubble", "fade", "crown", "tail", "front", "grey"):
        share = float((getattr(looks, name) > 0.01).float().mean())
        assert 0.02 < share < 0.7, name


def test_a_shaven_head_has_no_hair() -> None:
    assert area(portrait(hair_volume=0), HAIR) == 0


def test_a_beard_is_a_beard_and_no_hair(plain: Any) -> None:
    bearded = portrait(beard=1, moustache=1, beard_width=0.9)
    assert area(bearded, BEARD, BELOW_EYES) > 30
    assert area(bearded, BEARD, ABOVE_EYES) == 0
    assert area(bearded, HAIR) == pytest.approx(area(plain, HAIR), rel=0.1)
    stubbly = portrait(stubble=0.7)
    assert torch.equal(stubbly.planes, plain.planes), "stubble is skin"
    assert not torch.equal(stubbly.image, plain.image)


def test_hair_fades_out_at_the_sides(plain: Any) -> None:
    faded = portrait(fade=0.9, sides=0.1)
    sides = slice(MARGIN + SIDE // 4, None)
    assert area(faded, HAIR, sides) < 0.5 * area(plain, HAIR, sides)
    top = slice(0, MARGIN + SIDE // 8)
    assert area(faded, HAIR, top) > 0.8 * area(plain, HAIR, top)


def test_hair_can_leave_the_ears_free_and_the_crown_bare(plain: Any) -> None:
    assert area(portrait(free=1), SKIN) > area(plain, SKIN) + 2
    assert area(portrait(crown=1), HAIR) < 0.7 * area(plain, HAIR)


@pytest.mark.parametrize(("hat", "most"), [(BEANIE, 0.75), (SHAWL, 0.05), (HOOD, 1.0)])
def test_what_is_worn_on_the_head_is_an_accessory(plain: Any, hat: Any, most: float) -> None:
    worn = portrait(hat=hat)
    assert area(worn, ACCESSORY) > 60
    assert area(worn, HAIR) <= most * area(plain, HAIR)


def test_long_hair_falls_below_the_chin_and_before_the_shoulders(plain: Any) -> None:
    low = slice(MARGIN + SIDE * 9 // 10, None)
    assert area(plain, HAIR, low) == 0
    behind, before = portrait(hair_length=0.9), portrait(hair_length=0.9, front=0.8)
    assert area(behind, HAIR, low) > 10
    assert area(before, HAIR, low) > area(behind, HAIR, low)
    assert area(portrait(tail=0.9, tail_side=1), HAIR, low) > 3


def test_glasses_change_the_picture_alone(plain: Any) -> None:
    dark = portrait(glasses=SUNGLASSES)
    assert torch.equal(dark.planes, plain.planes)
    assert float(dark.image.sum()) < float(plain.image.sum())


def test_a_repainted_person_keeps_the_shape() -> None:
    faces, looks = someone()
    view = aligned_view(faces, SIDE, margin=(MARGIN,) * 4)
    size = view.height, view.width
    other = repainted(faces, looks, torch.Generator().manual_seed(9))
    with torch.inference_mode():
        seen = trace(faces, view, People(faces, looks))
        first, second = (paint(seen, People(*who), size) for who in ((faces, looks), other))
    assert torch.equal(first.oval, second.oval)
    assert torch.equal(first.planes.sum(1), second.planes.sum(1))
    assert torch.equal(first.planes[:, CLOTHES], second.planes[:, CLOTHES])
    assert float((first.image - second.image).abs().mean()) > 0.02
    assert set(people.PAINTED_LOOKS) <= {f.name for f in fields(Looks)}


def test_finer_rays_show_the_same_view(plain: Any) -> None:
    fine = portrait(oversample=1.5)
    assert fine.planes.shape == plain.planes.shape
    for plane in (SKIN, HAIR, CLOTHES):
        assert area(fine, plane) == pytest.approx(area(plain, plane), rel=0.06)
