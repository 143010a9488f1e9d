"""Small renderings: masks, landmarks, crops and colors agree with each other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidhair.geometry import Similarity
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import (
    LANDMARKS,
    RenderedTruth,
    View,
    Visible,
    aligned_view,
    landmarks,
    render,
    rotation,
    shade,
    trace,
    true_crop,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 40


@pytest.fixture(scope="module", autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def sampled(count: int, seed: int = 0, **options: Any) -> FaceParams:
    return sample_faces(count, torch.Generator().manual_seed(seed), **options)


def still(style: str) -> FaceParams:
    return sampled(1, style=style, neutral=True)


FACES = FaceParams.concatenate(
    [sampled(1, seed=k, style=s) for k, s in enumerate(("bald", "long", "afro", "bob_fringe"))]
)


@pytest.fixture(scope="module")
def truth() -> RenderedTruth:
    return render(FACES, aligned_view(FACES, SIZE), oversample=1)


def similarity(
    angle: float = 0.0, tx: float = 0.0, ty: float = 0.0, scale: float = 1.0, count: int = 1
) -> Similarity:
    return Similarity(*(np.full(count, float(v)) for v in (angle, tx, ty, scale)))


class TestMasks:
    def test_every_pixel_is_shared_out_among_them(self, truth: RenderedTruth) -> None:
        assert truth.masks.shape == (4, 4, SIZE, SIZE)
        assert truth.masks.min() >= 0 and truth.masks.max() <= 1
        torch.testing.assert_close(truth.masks.sum(1), torch.ones(4, SIZE, SIZE))

    def test_pictures_lie_in_their_range(self, truth: RenderedTruth) -> None:
        assert truth.image.shape == (4, 3, SIZE, SIZE) and truth.image.isfinite().all()
        assert truth.image.min() >= 0 and truth.image.max() <= 1

    def test_each_head_has_what_its_style_promises(self, truth: RenderedTruth) -> None:
        hair = truth.hair.mean((1, 2, 3))
        assert hair[0] == 0 and (hair[1:] > 0.08).all()
        assert (truth.skin.mean((1, 2, 3)) > 0.15).all()
        assert (truth.background.mean((1, 2, 3)) > 0.05).all()

    def test_hair_is_above_clothes(self, truth: RenderedTruth) -> None:
        rows = torch.arange(SIZE).float().view(-1, 1)
        for k in (1, 2, 3):
            height = [(m[k, 0] * rows).sum() / m[k, 0].sum() for m in (truth.hair, truth.clothes)]
            assert height[0] < height[1]

    def test_finer_sampling_softens_the_borders_and_keeps_the_areas(
        self, truth: RenderedTruth
    ) -> None:
        fine = render(FACES, aligned_view(FACES, SIZE), oversample=2)
        soft = ((fine.skin > 0.01) & (fine.skin < 0.99)).sum()
        assert soft > ((truth.skin > 0.01) & (truth.skin < 0.99)).sum()
        torch.testing.assert_close(
            fine.masks.mean((2, 3)), truth.masks.mean((2, 3)), atol=0.01, rtol=0
        )
        assert F.l1_loss(fine.image, truth.image) < 0.03

    def test_faces_of_a_batch_do_not_mix(self, truth: RenderedTruth) -> None:
        one = FACES[2:3]
        alone = render(one, aligned_view(one, SIZE), oversample=1)
        torch.testing.assert_close(alone.masks, truth.masks[2:3], atol=1e-3, rtol=0)
        assert F.l1_loss(alone.image, truth.image[2:3]) < 1e-3

    def test_the_same_faces_give_the_same_pictures(self, truth: RenderedTruth) -> None:
        again = render(FACES, aligned_view(FACES, SIZE), oversample=1)
        assert torch.equal(again.image, truth.image) and torch.equal(again.masks, truth.masks)


def at(mask: torch.Tensor, point: torch.Tensor) -> float:
    """Value of a mask [1, H, W] at a pixel position."""
    x, y = point.floor().long()
    return float(mask[0, y, x])


class TestLandmarks:
    def test_they_lie_on_the_skin_of_the_head(self, truth: RenderedTruth) -> None:
        assert truth.landmarks.shape == (4, len(LANDMARKS), 2)
        for k in range(4):
            for name, point in zip(LANDMARKS, truth.landmarks[k], strict=True):
                covered = at(truth.skin[k], point) + at(truth.hair[k], point)
                assert covered > 0.9, name
        bald = [at(truth.skin[0], point) for point in truth.landmarks[0]]
        assert min(bald) == 1

    def test_they_lie_as_in_a_face(self, truth: RenderedTruth) -> None:
        points = dict(zip(LANDMARKS, truth.landmarks.unbind(1), strict=True))
        x, y = ({n: p[:, axis] for n, p in points.items()} for axis in (0, 1))
        assert (x["eye_left"] < x["eye_right"]).all()
        assert (x["mouth_left"] < x["mouth_right"]).all()
        for above, below in [
            ("eye_left", "nose_tip"),
            ("nose_tip", "mouth_left"),
            ("mouth_right", "chin"),
        ]:
            assert (y[above] < y[below]).all()

    def test_eyes_are_where_the_picture_shows_them(self) -> None:
        """What changes when an eye closes lies around its landmark."""
        face = still("bald")
        view = aligned_view(face, 64)
        opened = render(face, view, oversample=1)
        closed = render(face.replace(blink_right=1.0), view, oversample=1)
        change = (opened.image - closed.image).abs().sum(1)[0]
        y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
        centre = torch.stack([(change * x).sum(), (change * y).sum()]) / change.sum()
        want = opened.landmarks[0, LANDMARKS.index("eye_right")].float()
        assert (centre - want).norm() < 2.5

    @pytest.mark.parametrize("changes", [{"yaw": 0.3}, {"yaw": -0.2, "pitch": 0.15}])
    def test_a_head_turned_the_other_way_is_its_mirror_image(
        self, changes: dict[str, float]
    ) -> None:
        face = still("bald").replace(**changes)
        other = landmarks(face.replace(yaw=-changes["yaw"]))[0]
        swapped = [1, 0, 3, 2, 4, 5]
        mirrored = landmarks(face)[0][swapped] * torch.tensor([-1.0, 1.0])
        torch.testing.assert_close(other, mirrored, atol=2e-3, rtol=0)

    def test_expressions_move_their_landmarks(self) -> None:
        face = still("bald")
        before, opened, smiling = (
            landmarks(f)[0] for f in (face, face.replace(mouth_open=1.0), face.replace(smile=1.0))
        )
        chin, left, right = (LANDMARKS.index(n) for n in ("chin", "mouth_left", "mouth_right"))
        assert opened[chin, 1] > before[chin, 1] + 0.05
        wide = smiling[right, 0] - smiling[left, 0]
        assert wide > 1.1 * (before[right, 0] - before[left, 0])
        assert smiling[left, 1] < before[left, 1]

    def test_turning_moves_the_nose_more_than_the_eyes(self) -> None:
        face = still("bald")
        moved = landmarks(face.replace(yaw=0.3))[0] - landmarks(face)[0]
        nose, eye = (LANDMARKS.index(n) for n in ("nose_tip", "eye_left"))
        assert moved[nose, 0] > moved[eye, 0] > 0

    def test_rotations_are_rotations(self) -> None:
        faces = sampled(5).replace(yaw=torch.linspace(-0.5, 0.5, 5))
        r = rotation(faces)
        torch.testing.assert_close(r @ r.mT, torch.eye(3).repeat(5, 1, 1), atol=1e-6, rtol=0)
        torch.testing.assert_close(torch.linalg.det(r), torch.ones(5))


class TestViews:
    def test_the_aligned_view_is_the_ffhq_crop_of_its_landmarks(self, truth: RenderedTruth) -> None:
        axes = true_crop(truth.landmarks)
        np.testing.assert_allclose(axes.centre, SIZE / 2, atol=1e-3)
        np.testing.assert_allclose(axes.x, np.tile([SIZE / 2, 0], (4, 1)), atol=1e-3)

    @pytest.mark.parametrize(
        "move",
        [
            {"tx": 0.25, "ty": -0.1},
            {"angle": 30.0},
            {"scale": 0.6},
            {"angle": -15.0, "tx": -0.1, "ty": 0.05, "scale": 1.2},
        ],
    )
    def test_a_transform_moves_landmarks_as_it_says(self, move: dict[str, Any]) -> None:
        face = FACES[1:2]
        plane = landmarks(face)
        before = aligned_view(face, SIZE).pixels(plane)[0].numpy() / SIZE - 0.5
        moved = similarity(**move)
        after = aligned_view(face, SIZE, transform=moved).pixels(plane)[0].numpy() / SIZE - 0.5
        want = np.c_[before, np.ones(len(before))] @ moved.matrices()[0].T
        np.testing.assert_allclose(after, want[:, :2], atol=1e-5)

    def test_a_transform_moves_the_picture_with_its_landmarks(self) -> None:
        face = FACES[1:2]
        plain = render(face, aligned_view(face, SIZE), oversample=1)
        view = aligned_view(face, SIZE, transform=similarity(tx=8 / SIZE, ty=-4 / SIZE))
        moved = render(face, view, oversample=1)
        shift = moved.landmarks - plain.landmarks
        torch.testing.assert_close(shift[0], torch.tensor([[8.0, -4]] * 6).double(),
                                   atol=1e-3, rtol=0)  # fmt: skip
        inside = np.s_[..., : SIZE - 4, 8:]
        want = plain.image.roll((-4, 8), (2, 3))[inside]
        assert F.l1_loss(moved.image[inside], want) < 0.004
        want = plain.masks.roll((-4, 8), (2, 3))[inside]
        assert F.l1_loss(moved.masks[inside], want) < 0.004

    def test_positive_angles_turn_the_picture_counter_clockwise(self) -> None:
        face = FACES[1:2]
        plain = render(face, aligned_view(face, SIZE), oversample=1)
        turned = render(face, aligned_view(face, SIZE, transform=similarity(90)), oversample=1)
        assert F.l1_loss(turned.masks, plain.masks.rot90(1, (2, 3))) < 0.01
        assert F.l1_loss(turned.masks, plain.masks.rot90(-1, (2, 3))) > 0.1

    def test_a_margin_shows_more_of_the_same(self) -> None:
        face = FACES[1:2]
        plain = render(face, aligned_view(face, SIZE), oversample=1)
        wide = render(face, aligned_view(face, SIZE, margin=(8, 4, 0, 12)), oversample=1)
        assert wide.image.shape == (1, 3, SIZE + 16, SIZE + 8)
        square = np.s_[..., 4 : 4 + SIZE, 8 : 8 + SIZE]
        assert F.l1_loss(wide.image[square], plain.image) < 0.004
        torch.testing.assert_close(
            wide.landmarks - plain.landmarks, torch.tensor([8.0, 4.0]).double().expand(1, 6, 2),
            atol=1e-3, rtol=0,
        )  # fmt: skip

    def test_a_finer_view_is_the_same_view(self) -> None:
        view = aligned_view(FACES, SIZE)
        fine = view.finer(3)
        assert (fine.height, fine.width) == (3 * SIZE, 3 * SIZE)
        plane = landmarks(FACES)
        torch.testing.assert_close(fine.pixels(plane), view.pixels(plane) * 3)

    def test_pixels_undo_the_way_into_the_plane(self) -> None:
        matrix = torch.tensor([[[0.02, -0.005, -0.6], [0.005, 0.02, -0.3]]])
        view = View(matrix, 50, 60)
        pixel = torch.tensor([3.0, 40.0, 1.0])
        torch.testing.assert_close(
            view.pixels((matrix @ pixel)[:, None])[0, 0], pixel[:2].double(), atol=1e-4, rtol=0
        )


class TestColors:
    @pytest.fixture(scope="class")
    @staticmethod
    def seen() -> Visible:
        face = FACES[1:2]
        return trace(face, aligned_view(face, SIZE).finer(2))

    def test_other_hair_colour_changes_hair_only(self, seen: Visible) -> None:
        face = FACES[1:2]
        dark, red = (
            shade(seen, face.replace(hair_colour=c), reduce=2)
            for c in ((0.1, 0.08, 0.06), (0.6, 0.15, 0.08))
        )
        assert torch.equal(dark.masks, red.masks) and torch.equal(dark.landmarks, red.landmarks)
        change = (dark.image - red.image).abs().amax(1, keepdim=True)
        assert change[dark.hair == 0].max() == 0
        assert change[dark.hair > 0.9].min() > 0.01

    def test_hair_looks_on_average_as_it_is_called(self, seen: Visible) -> None:
        for color in ((0.14, 0.09, 0.06), (0.42, 0.16, 0.075), (0.76, 0.60, 0.36)):
            truth = shade(seen, FACES[1:2].replace(hair_colour=color), reduce=2)
            hair = (truth.hair > 0.95).expand(-1, 3, -1, -1)
            mean = truth.image[hair].view(3, -1).mean(1)
            assert (mean - torch.tensor(color)).abs().max() < 0.16
            # The order of the channels is that of the color.
            assert mean[0] > mean[1] > mean[2]

    def test_other_skin_leaves_clothes_and_wall(self, seen: Visible) -> None:
        face = FACES[1:2]
        fair, dark = (shade(seen, face.replace(melanin=m), reduce=2) for m in (0.0, 1.0))
        change = (fair.image - dark.image).abs().amax(1, keepdim=True)
        assert change[(fair.skin + fair.hair) == 0].max() == 0
        brightness = [t.image[(t.skin > 0.95).expand(-1, 3, -1, -1)].mean() for t in (fair, dark)]
        assert brightness[0] > brightness[1] + 0.15

    def test_other_wall_changes_the_background_only(self, seen: Visible) -> None:
        face = FACES[1:2]
        one, other = (
            shade(seen, face.replace(background_centre=c, background_edge=c), reduce=2)
            for c in (0.2, 0.7)
        )
        change = (one.image - other.image).abs().amax(1, keepdim=True)
        assert change[one.background == 0].max() == 0
        assert change[one.background == 1].min() > 0.3

    def test_the_background_is_a_spot_from_its_centre_to_its_edge(self, seen: Visible) -> None:
        face = FACES[1:2].replace(background_centre=0.8, background_edge=0.3)
        truth = shade(seen, face, reduce=2)
        wall = truth.image[:, :1][truth.background == 1]
        assert wall.min() >= 0.29 and wall.max() <= 0.83

    def test_shaving_leaves_what_is_far_from_the_hair(self) -> None:
        face = still("afro")
        view = aligned_view(face, SIZE)
        hairy, bald = (render(f, view, oversample=1) for f in (face, face.replace(hair_volume=0.0)))
        assert bald.hair.max() == 0 < hairy.hair.max()
        near = F.max_pool2d(hairy.hair, 9, 1, 4) > 0
        wall = (hairy.background == 1) & (bald.background == 1) & ~near
        change = (hairy.image - bald.image).abs().amax(1, keepdim=True)
        assert change[wall].max() == 0
        # What the hair covered is head or wall now.
        was_hair = hairy.hair == 1
        assert (bald.skin + bald.background)[was_hair].min() == 1
