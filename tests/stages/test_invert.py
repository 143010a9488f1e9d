from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_track
from vidhair.geometry import Box, CropAxes
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.stages.invert import InvertConfig, invert, latents
from vidhair.types import Frames

COUNT = 5
AXES = CropAxes(
    np.array([[40.0, 30], [44, 32], [60, 35], [5, 30], [50, 28]]),
    np.array([[16.0, 0], [16, 0], [12, 9], [16, 0], [0, 20]]),
)


@pytest.fixture(scope="module")
def inverter() -> Inverter:
    config = SmallEncoderConfig(size=16, num_ws=5, w_dim=7, widths=(4, 6), hidden=9)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SmallEncoder(config).eval()
    return Inverter(
        config.size,
        config.num_ws,
        config.w_dim,
        torch.device("cpu"),
        network,
        torch.zeros(config.w_dim),
    )


@pytest.fixture(scope="module")
def frames() -> NDArray[Any]:
    coarse = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 12, 3), dtype=np.uint8)
    return coarse.repeat(9, 1).repeat(9, 2)


def test_one_code_per_frame_and_layer(frames: NDArray[Any], inverter: Inverter) -> None:
    codes = invert(frames, AXES, inverter, InvertConfig())
    assert codes.shape == (COUNT, 5, 7) and codes.dtype == np.float32
    assert np.ptp(codes[:, 0], axis=0).max() > 1e-3


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_the_size_of_batches_does_not_show(
    frames: NDArray[Any], inverter: Inverter, batch: int
) -> None:
    upright = CropAxes(AXES.centre, np.tile([16.0, 0], (COUNT, 1)))
    codes = invert(frames, upright, inverter, InvertConfig())
    got = invert(frames, upright, inverter, InvertConfig(batch=batch))
    np.testing.assert_allclose(got, codes, atol=1e-5)


def test_the_encoder_sees_the_crop_of_the_face(inverter: Inverter) -> None:
    """A crop of the encoder's own size on whole pixels is a window of the frame."""
    frames = np.random.default_rng(1).integers(0, 256, (1, 40, 50, 3), dtype=np.uint8)
    axes = CropAxes(np.array([[20.0, 18]]), np.array([[16.0, 0]]))
    window = frames[:, 2:34, 4:36].astype(np.float32).reshape(1, 16, 2, 16, 2, 3).mean((2, 4))
    picture = torch.from_numpy(window).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        want = inverter.codes(picture).numpy()
    np.testing.assert_allclose(invert(frames, axes, inverter, InvertConfig()), want, atol=1e-4)


def test_a_frame_that_moves_with_its_face_keeps_its_code(
    frames: NDArray[Any], inverter: Inverter
) -> None:
    moved = np.roll(frames, (3, -4), (1, 2))
    axes = CropAxes(np.full((COUNT, 2), [54.0, 36]), np.full((COUNT, 2), [16.0, 0]))
    shifted = CropAxes(axes.centre + np.array([-4, 3]), axes.x)
    got = invert(moved, shifted, inverter, InvertConfig())
    np.testing.assert_allclose(got, invert(frames, axes, inverter, InvertConfig()), atol=1e-4)


def test_a_frame_turned_with_its_face_keeps_its_code(
    frames: NDArray[Any], inverter: Inverter
) -> None:
    square = frames[:, :, :72]
    axes = CropAxes(np.full((COUNT, 2), [40.0, 30]), np.full((COUNT, 2), [12.0, 9]))
    turned = np.rot90(square, axes=(1, 2))  # counter-clockwise: (x, y) → (y, 72 − x)
    there = CropAxes(np.full((COUNT, 2), [30.0, 32]), np.full((COUNT, 2), [9.0, -12]))
    got = invert(np.ascontiguousarray(turned), there, inverter, InvertConfig())
    want = invert(np.ascontiguousarray(square), axes, inverter, InvertConfig())
    np.testing.assert_allclose(got, want, atol=1e-4)


class TestLatentsStage:
    """An inverter whose codes are the mean of each channel of the picture, and how many there are
    at once. Red tells the place in the frame, green the frame."""

    PLACES = (70.0, 40.0, 10.0), None, (50.0, 40.0, 10.0), (90.0, 40.0, 10.0), None
    BOX = Box(50.0, 20.0, 28.0)

    def codes(
        self, places: Sequence[tuple[float, float, float] | None], batch: int = 16
    ) -> NDArray[Any]:
        def codes(pictures: torch.Tensor) -> torch.Tensor:
            means = (pictures.mean((2, 3)) + 1) * 127.5
            count = torch.full((len(means), 1), float(len(means)))
            return torch.cat([means, count], 1)[:, None].repeat(1, 2, 1)

        pixels = np.zeros((len(places), 80, 160, 3), np.uint8)
        pixels[..., 0] = np.arange(160)
        pixels[..., 1] = 10 * np.arange(len(places))[:, None, None]
        inverter = Inverter(16, 2, 4, torch.device("cpu"), codes, torch.zeros(4))
        track = face_track(places, self.BOX)
        got = latents(Frames.of_pixels(pixels), track, inverter, InvertConfig(batch=batch)).styles
        assert got.shape == (len(places), 2, 4) and got.dtype == np.float32
        assert np.array_equal(got[:, 0], got[:, 1])
        return got[:, 0]

    def test_each_frame_with_a_face_has_the_code_of_its_crop(self) -> None:
        got = self.codes(self.PLACES)[[0, 2, 3]]
        np.testing.assert_allclose(got[:, 0], [69.5, 49.5, 89.5], atol=0.1)
        np.testing.assert_allclose(got[:, 1], [0, 20, 30], atol=1e-3)

    def test_frames_without_one_are_zeros_and_not_encoded(self) -> None:
        got = self.codes(self.PLACES)
        assert not got[[1, 4]].any()
        assert got[[0, 2, 3], 3].tolist() == [3, 3, 3]

    def test_so_many_at_once_as_the_setting_says(self) -> None:
        assert self.codes(self.PLACES, batch=2)[[0, 2, 3], 3].tolist() == [2, 2, 1]

    def test_a_chunk_without_a_face_is_all_zeros(self) -> None:
        assert not self.codes([None, None]).any()
