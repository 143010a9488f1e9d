"""Cartoons of rendered people: the same people in the same places, drawn."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from vidhair.synthetic.clips import ClipSpec, perform, render_frame
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import RenderedTruth, aligned_view, render
from vidhair.synthetic.toon import LOOKS, banded, drawn, render_toon

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 56


def people() -> FaceParams:
    parts = [
        sample_faces(1, torch.Generator().manual_seed(seed), style=style)
        for seed, style in enumerate(("short", "curly", "bald"))
    ]
    return FaceParams.concatenate(parts).replace(blink_left=0.0, blink_right=0.0)


@pytest.fixture(scope="module", autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def faithful() -> RenderedTruth:
    return render(people(), aligned_view(people(), SIZE), oversample=1)


@pytest.fixture(scope="module", params=LOOKS)
def toon(request: pytest.FixtureRequest) -> RenderedTruth:
    return render_toon(people(), aligned_view(people(), SIZE), LOOKS[request.param], oversample=1)


def overlap(a: Tensor, b: Tensor) -> float:
    return float(torch.minimum(a, b).sum() / torch.maximum(a, b).sum())


def test_everything_stays_in_its_place(faithful: RenderedTruth, toon: RenderedTruth) -> None:
    """By pairs of masks; a smaller chin and simpler hair move their borders a little."""
    assert toon.image.shape == faithful.image.shape
    assert torch.allclose(toon.masks.sum(1), torch.ones(()), atol=1e-5)
    for name in ("hair", "skin", "background"):
        assert overlap(getattr(toon, name), getattr(faithful, name)) > 0.75, name
    eyes_and_mouth = (toon.landmarks - faithful.landmarks)[:, :4].abs().max()
    assert eyes_and_mouth < 0.04 * SIZE


def test_a_person_keeps_the_colors(faithful: RenderedTruth, toon: RenderedTruth) -> None:
    """Who is lightest and darkest, and about how much."""
    for part in ("hair", "skin"):
        means = []
        for truth in (faithful, toon):
            mask = getattr(truth, part)
            means.append((truth.image * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1))
        rows = slice(0, 2) if part == "hair" else slice(0, 3)
        assert (means[0] - means[1])[rows].abs().max() < 0.22, part


def test_it_is_flat(faithful: RenderedTruth, toon: RenderedTruth) -> None:
    """Inside skin and hair neighbours are mostly alike."""

    def smooth(truth: RenderedTruth) -> float:
        person = 1 - truth.background
        inside = (person[..., 1:] > 0.99) & (person[..., :-1] > 0.99)
        change = truth.image.diff(dim=3).abs().amax(1, keepdim=True)[inside]
        return float((change < 0.004).float().mean())

    assert smooth(toon) > 1.5 * smooth(faithful)


def eye_white(truth: RenderedTruth) -> float:
    """Pixels around the eyes that are bright and grey, of the first person."""
    left, right = truth.landmarks[0, :2]
    low, high = int(left[1] - 0.08 * SIZE), int(left[1] + 0.08 * SIZE)
    part = truth.image[0, :, low:high, int(left[0]) - 5 : int(right[0]) + 6]
    return float(((part.amin(0) > 0.55) & (part.amax(0) - part.amin(0) < 0.15)).sum())


def test_eyes_are_larger(faithful: RenderedTruth) -> None:
    view = aligned_view(people(), SIZE)
    doll = render_toon(people(), view, LOOKS["doll"], oversample=1)
    assert eye_white(doll) > 1.3 * eye_white(faithful)


def test_lines_are_dark_and_only_where_a_look_has_them() -> None:
    view = aligned_view(people(), SIZE)
    bright = people().replace(
        background_centre=(0.7, 0.7, 0.7), background_edge=(0.7, 0.7, 0.7), melanin=0.0,
        hair_colour=(0.7, 0.6, 0.4), brow_colour=(0.5, 0.5, 0.4), clothes_colour=(0.7, 0.7, 0.7),
    )  # fmt: skip
    black = {
        name: float((render_toon(bright, view, look, oversample=1).image.amax(1) < 0.2).sum())
        for name, look in LOOKS.items()
    }
    assert black["comic"] > 100 and black["cel"] > 100 and black["doll"] < 0.4 * black["cel"]


def test_proportions_change_and_the_rest_of_a_person_does_not() -> None:
    faces = people()
    other = drawn(faces, LOOKS["doll"])
    assert (other.eye_size > faces.eye_size + 4).all()
    for name in ("yaw", "smile", "mouth_open", "hair_colour", "hair_length", "melanin", "gaze_x"):
        assert torch.equal(getattr(other, name), getattr(faces, name)), name


@pytest.mark.parametrize("soft", [0.0, 0.5, 1.0])
def test_bands_rise_from_nothing_to_all(soft: float) -> None:
    light = torch.linspace(0, 1, 1001)
    got = banded(light, 4, soft)
    assert got[0] == 0 and got[-1] == 1 and (got.diff() >= 0).all()
    flat = (got.diff() < 1e-6).float().mean()
    assert abs(float(flat) - (1 - soft)) < 0.05


def test_a_clip_has_cartoons_of_its_frames() -> None:
    spec = ClipSpec(name="t", seed=1, style="short", seconds=0.2, size=(32, 32))
    plain, toon = render_frame(perform(spec), 2, spec, [{}], ["cel"])
    assert toon.picture.shape == plain.picture.shape and toon.picture.dtype == plain.picture.dtype
    both = (plain.hair > 127) & (toon.hair > 127)
    assert both.sum() > 0.75 * max((plain.hair > 127).sum(), (toon.hair > 127).sum())
    assert abs(plain.picture.astype(int) - toon.picture).mean() > 5
