"""What each loss sees, and what it does not."""

import numpy as np
import pytest
import torch

from tests.models.tiny import random
from vidhair.edits import hair_losses
from vidhair.imaging.color import rgb_to_lab


def picture(seed: int = 0) -> torch.Tensor:
    return random(2, 3, 12, 12, seed=seed).tanh()


def left() -> torch.Tensor:
    mask = torch.zeros(2, 1, 12, 12)
    mask[..., :6] = 1
    return mask


def test_white_and_grey_have_no_color() -> None:
    grey = torch.tensor([1.0, 0.2, -0.6]).view(3, 1, 1, 1).expand(3, 3, 1, 1)
    lab = hair_losses.lab(grey)
    torch.testing.assert_close(lab[:, 1:], torch.zeros(3, 2, 1, 1), atol=1e-3, rtol=0)
    assert float(lab[0, 0]) == pytest.approx(100, abs=1e-3)


def test_linear_rgb_gives_the_lab_of_the_same_light_in_srgb() -> None:
    srgb = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    got = hair_losses.lab(linear * 2 - 1)
    torch.testing.assert_close(got, rgb_to_lab(srgb), atol=0.05, rtol=0)


def test_the_mean_is_of_the_mask_only() -> None:
    x = torch.where(left() == 1, 3.0, 100.0).expand(2, 3, 12, 12)
    torch.testing.assert_close(hair_losses.masked_mean(x, left()), torch.full((2, 3, 1, 1), 3.0))
    assert not hair_losses.masked_mean(x, torch.zeros_like(left())).any()


def test_the_color_loss_sees_hair_only() -> None:
    image = picture()
    target = hair_losses.masked_mean(hair_losses.lab(image), left())
    assert float(hair_losses.hair_colour_loss(image, left(), target)) == 0
    other = torch.where(left() == 1, image, picture(1))
    assert float(hair_losses.hair_colour_loss(other, left(), target)) == 0
    assert float(hair_losses.hair_colour_loss(picture(1), left(), target)) > 0.1


def test_the_background_loss_sees_no_hair_of_either_picture() -> None:
    source, none = picture(), torch.zeros_like(left())
    changed = torch.where(left() == 1, picture(1), source)
    for hair, source_hair in ((left(), none), (none, left())):
        loss = hair_losses.background_loss(changed, source, hair, source_hair)
        assert float(loss) == 0
    assert float(hair_losses.background_loss(changed, source, none, none)) > 0.1


def test_losses_pull() -> None:
    image = picture().requires_grad_()
    target = torch.zeros(2, 3, 1, 1)
    hair_losses.hair_colour_loss(image, left(), target).backward()
    assert image.grad is not None
    assert image.grad[..., :6].abs().min() > 0 and not image.grad[..., 6:].any()


def test_a_gram_matrix_forgets_places() -> None:
    features = random(1, 4, 5, 6)
    gram = hair_losses.gram_matrix(features)
    torch.testing.assert_close(gram, gram.t())
    shuffled = features.flatten(2)[..., torch.randperm(30)].view_as(features)
    torch.testing.assert_close(hair_losses.gram_matrix(shuffled), gram)
    masked = hair_losses.masked_features(features, torch.zeros(1, 1, 20, 24))
    assert not masked.any()


def test_the_prior_is_least_at_the_mean_face() -> None:
    mean, stds = random(8), random(8, seed=1).abs() + 0.1
    components, _ = torch.linalg.qr(random(8, 8, seed=2))
    at_mean = torch.nn.functional.leaky_relu(mean, hair_losses.MAPPING_SLOPE)
    ws = at_mean.expand(2, 5, 8)
    assert float(hair_losses.prior_loss(ws, mean, components, stds)) < 1e-10
    assert float(hair_losses.prior_loss(ws + 1, mean, components, stds)) > 0.1


def layers(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Features of two sizes."""
    mixed = torch.einsum("oc,bchw->bohw", random(5, 3, seed=7), pictures).relu()
    return [mixed, torch.nn.functional.avg_pool2d(mixed, 2)]


@pytest.mark.parametrize("relative", [False, True])
def test_the_style_loss_is_that_of_the_paper(relative: bool) -> None:
    """Computed once more with plain loops, as it is written down."""
    images, masks = (picture(), picture(1)), (left(), 1 - left())
    ours, theirs = (
        hair_losses.gram_matrices(layers, *pair) for pair in zip(images, masks, strict=True)
    )
    got = float(hair_losses.style_loss(ours, theirs, relative=relative))
    terms = []
    for b in range(2):
        seen = []
        for image, mask in zip(images, masks, strict=True):
            one = []
            for maps in layers(image[b : b + 1] * mask[b : b + 1]):
                side = maps.shape[-1]
                rows = (maps[0] * mask[b, :, :: 12 // side, :: 12 // side]).reshape(5, -1).numpy()
                one.append(rows @ rows.T / rows.size)
            seen.append(one)
        for a, want in zip(*seen, strict=True):
            scale = (want**2).mean() if relative else 1
            terms.append(((a - want) ** 2).mean() / scale)
    assert got == pytest.approx(float(np.mean(terms)), rel=1e-4) and got > 0
    assert float(hair_losses.style_loss(ours, ours, relative=relative)) == 0


def test_the_shape_loss_is_the_cross_entropy_of_hair() -> None:
    scores, wanted = random(2, 4, 6, 6), torch.rand(2, 1, 6, 6)
    weight = torch.tensor([1.0, 0.25])
    likely = scores.softmax(1)[:, 2:3].double().numpy()
    entropy = -(wanted.numpy() * np.log(likely) + (1 - wanted.numpy()) * np.log(1 - likely))
    want = (entropy.mean((1, 2, 3)) * weight.numpy()).mean()
    got = float(hair_losses.shape_loss(scores, wanted, weight))
    assert got == pytest.approx(float(want), rel=1e-4)


def test_the_angle_loss_is_half_the_squared_angle() -> None:
    a, b = random(4, 8), random(4, 8, seed=1)
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    want = float((cosine.double().acos().square() / 2).mean())
    assert float(hair_losses.angle_loss(a, b)) == pytest.approx(want, rel=1e-4)
