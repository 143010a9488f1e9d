from typing import Any

import pytest
import torch

from tests.models.tiny import random, seeded
from vidhair.models.faces.identity import FaceIdentity, face_of_aligned
from vidhair.models.skip_init import SkipInit

TINY: dict[str, Any] = {"size": 32, "width": 7, "widths": (4, 5, 6, 8), "units": (1, 1, 1, 1)}


@pytest.fixture(params=[True, False], ids=["affine", "not affine"])
def model(request: pytest.FixtureRequest) -> FaceIdentity:
    return seeded(lambda: FaceIdentity(**TINY, affine=request.param))


def test_embeddings_have_length_one_and_rows_do_not_mix(model: FaceIdentity) -> None:
    faces = random(3, 3, 32, 32)
    embeddings = model(faces)
    assert embeddings.shape == (3, 7)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embeddings, torch.cat([model(face[None]) for face in faces]))


def test_the_published_shape() -> None:
    with SkipInit():
        model = FaceIdentity().eval()
        assert model.head[2].weight.shape == (512, 512 * 7 * 7)
        assert model(torch.zeros(2, 3, 112, 112)).shape == (2, 512)


def test_another_size_is_refused(model: FaceIdentity) -> None:
    with pytest.raises(AssertionError, match="side of 32"):
        model(random(1, 3, 64, 64))


def test_the_face_of_an_aligned_picture() -> None:
    image = torch.zeros(1, 3, 256, 256)
    image[..., 35:223, 32:220] = 1
    assert (face_of_aligned(image) == 1).all()
    large = image.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(face_of_aligned(large), face_of_aligned(image))
    assert face_of_aligned(large, 20).shape == (1, 3, 20, 20)
