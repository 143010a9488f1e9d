import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.checkpoints.test_tflite import small
from vidhair.checkpoints.tflite import Graph, read_graph
from vidhair.errors import CheckpointUnreadable
from vidhair.models.parsers.hair_segmenter import (
    SIDE,
    STRIDE,
    HairSegmenter,
    find_segmenter,
    read_hair_segmenter,
    segmenter_file,
)


@pytest.fixture(scope="module")
def published(shared: Callable[..., Any]) -> Path:
    """MediaPipe's file."""
    return shared("models/hair_segmentation.tflite")


def computed(graph: Graph, picture: Tensor) -> Tensor:
    """The graph's output, step by step in TensorFlow's layout and by its definitions."""
    values: dict[int, Tensor] = dict(graph.constants)
    (start,), (end,) = graph.inputs, graph.outputs
    values[start] = picture.permute(0, 2, 3, 1)
    for step in graph.steps:
        given = [values[i] for i in step.inputs]
        x, options = given[0], step.options
        if "CONV_2D" in step.operator:
            kernel = given[1].permute(0, 3, 1, 2)  # [out, in, h, w]
            if step.operator.startswith("DEPTHWISE"):
                kernel = given[1].permute(3, 0, 1, 2)
            stride, dilation = options["stride_h"], options["dilation_h"]
            high = x.shape[1]
            reach = (kernel.shape[2] - 1) * dilation + 1
            beyond = max(0, (-(-high // stride) - 1) * stride + reach - high)
            before = beyond // 2 if options["padding"] == 0 else 0
            after = beyond - before if options["padding"] == 0 else 0
            seen = F.pad(x.permute(0, 3, 1, 2), (before, after, before, after))
            groups = seen.shape[1] // kernel.shape[1]
            made = F.conv2d(seen, kernel, given[2], stride, 0, dilation, groups)
            result = made.permute(0, 2, 3, 1)
        elif step.operator == "PRELU":
            result = torch.where(x >= 0, x, x * given[1])
        elif step.operator == "ADD":
            result = x + given[1]
        elif step.operator == "CONCATENATION":
            result = torch.cat(given, -1)
        elif step.operator == "MaxPoolingWithArgmax2D":
            made, places = F.max_pool2d(x.permute(0, 3, 1, 2), 2, return_indices=True)
            result, values[step.outputs[1]] = made.permute(0, 2, 3, 1), places
        elif step.operator == "MaxUnpooling2D":
            result = F.max_unpool2d(x.permute(0, 3, 1, 2), given[1], (2, 2)).permute(0, 2, 3, 1)
        else:
            assert step.operator == "Convolution2DTransposeBias"
            kernel = given[1].permute(3, 0, 1, 2)
            made = F.conv_transpose2d(x.permute(0, 3, 1, 2), kernel, given[2], stride=2)
            high, wide = 2 * x.shape[1], 2 * x.shape[2]
            result = made[:, :, :high, :wide].permute(0, 2, 3, 1)
        values[step.outputs[0]] = result
    return values[end].permute(0, 3, 1, 2)


def test_the_network_computes_the_published_graph(published: Path) -> None:
    graph, network = read_graph(published), read_hair_segmenter(published)
    given = torch.rand(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got, want = network.logits(given[:, :3], given[:, 3:]), computed(graph, given)
    assert want.abs().max() > 1
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_another_network_in_the_same_format_is_refused(published: Path, tmp_path: Path) -> None:
    data = bytearray(published.read_bytes())
    name = data.index(b"MaxUnpooling2D")
    data[name : name + 1] = b"m"
    path = tmp_path / "hair.tflite"
    path.write_bytes(data)
    with pytest.raises(CheckpointUnreadable, match=r"hair\.tflite holds another network"):
        read_hair_segmenter(path)


def test_weights_that_are_no_numbers_are_refused(published: Path, tmp_path: Path) -> None:
    data = bytearray(published.read_bytes())
    weights = read_graph(published).constants[1].numpy().astype("<f4").tobytes()
    at = data.find(weights)
    if at < 0:
        weights = read_graph(published).constants[1].numpy().astype("<f2").tobytes()
        at = data.index(weights)
    width = len(weights) // read_graph(published).constants[1].numel()
    data[at : at + width] = np.array(np.nan, f"<f{width}").tobytes()
    path = tmp_path / "hair.tflite"
    path.write_bytes(data)
    with pytest.raises(CheckpointUnreadable, match="not finite"):
        read_hair_segmenter(path)


def test_any_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(small())
    with pytest.raises(CheckpointUnreadable, match=re.escape("models pull mediapipe-hair")):
        read_hair_segmenter(path)


@pytest.mark.parametrize("size", [(STRIDE, STRIDE), (3 * STRIDE, 2 * STRIDE)])
def test_a_probability_for_every_pixel(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    picture, before = torch.rand(2, 3, *size), torch.rand(2, 1, *size)
    with torch.inference_mode():
        got = HairSegmenter()(picture, before)
    assert got.shape == (2, 1, *size)
    assert 0 <= got.min() < got.max() <= 1


def test_the_mask_before_counts() -> None:
    torch.manual_seed(0)
    network, picture = HairSegmenter(), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        without, with_it = (network(picture, torch.full((1, 1, 64, 64), p)) for p in (0.0, 1.0))
    assert (without - with_it).abs().max() > 1e-3


# ---- whether there is one


def test_auto_takes_the_pulled_file_if_it_is_there(published: Any, tmp_path: Path) -> None:
    absent = find_segmenter("auto", folder=tmp_path)
    assert absent.build() is None and not absent.weights
    assert "vidhair models pull mediapipe-hair" in absent.about
    shutil.copy(published, segmenter_file(tmp_path))
    found = find_segmenter("auto", folder=tmp_path)
    assert isinstance(found.build(), HairSegmenter) and str(tmp_path) in found.about
    (digest,) = found.weights.values()
    assert re.fullmatch("[0-9a-f]{64}", digest)


def test_a_path_is_taken_as_the_pulled_file_would_be(published: Any, tmp_path: Path) -> None:
    shutil.copy(published, segmenter_file(tmp_path))
    pulled = find_segmenter("auto", folder=tmp_path)
    assert find_segmenter(str(published), folder=tmp_path).weights == pulled.weights


def test_none_takes_none(tmp_path: Path) -> None:
    segmenter_file(tmp_path).write_bytes(small())
    found = find_segmenter("none", folder=tmp_path)
    assert found.build() is None and not found.weights and "matte.segmenter" in found.about


def test_a_pulled_file_that_is_none_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    segmenter_file(tmp_path).write_bytes(small())
    with pytest.raises(CheckpointUnreadable, match=r"hair_segmentation\.tflite holds another"):
        find_segmenter("auto", folder=tmp_path)


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"nowhere\.tflite cannot be read"):
        find_segmenter(str(tmp_path / "nowhere.tflite"))
