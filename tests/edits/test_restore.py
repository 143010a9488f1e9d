"""The pack for `restore` that ships."""

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.edits.wide import drawing, lowered
from vidhair.media import open_clip
from vidhair.models.pack import load_pack
from vidhair.samples import sample_clips
from vidhair.stages.render import RenderConfig


def test_it_is_nearer_to_what_was_there_than_cubic_enlargement() -> None:
    network = load_pack("restore").styleganex
    assert network is not None and network.config.task == "super_resolution"
    with open_clip(sample_clips()[0]) as reader:
        frame: NDArray[np.uint8] = reader.read(0, 1)[0][:512, :512]
    truth = torch.from_numpy(frame / np.float32(127.5) - 1).movedim(-1, 0)[None]
    given = lowered(truth, 4.0)
    codes = np.zeros((network.config.generator.num_ws, network.config.w_dim), np.float32)
    made = drawing(network, given, codes, RenderConfig())
    cubic, restored = (float((x.clamp(-1, 1) - truth).square().mean()) for x in (given, made))
    assert restored < 0.75 * cubic
