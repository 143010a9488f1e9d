"""Sketches and label maps → faces, against a plain recomputation."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests import small
from tests.edits.test_toonify import shots_of
from tests.edits.test_wide import levels_of
from tests.flow.made_up import pack_for
from tests.stages.faces import clip_of
from tests.stages.series import InMemory
from vidhair.edits.labels_to_face import (
    LabelEdit,
    MaskToFace,
    SketchToFace,
    edges,
    parsed,
    sample,
)
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.models.pack import load_pack
from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig
from vidhair.models.parsers.head_parser import HeadParser
from vidhair.models.styleganex.network import LAYOUT_CODES, StyleGANEX
from vidhair.recipe import load_recipe
from vidhair.stages.render import RenderConfig
from vidhair.types import Frames
from vidhair.wiring import Span

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (64, 96)


def drawn(edit: LabelEdit, task: str, pixels: NDArray[np.uint8], *cuts: int) -> NDArray[np.uint8]:
    """What its stages make of frames [T, H, W, 3], one after the other."""
    network, frames = small.wide_pack(task).styleganex, Frames.of_pixels(pixels)
    count, height, width = pixels.shape[:3]
    places = edit.everywhere(clip_of(width, height, [40 * n for n in range(count)]))
    chosen: Any = edit.makers()["layouts"]
    layouts = chosen(frames=frames, places=places)
    config = RenderConfig()
    codes = edit.layout_codes(
        InMemory(layouts), InMemory(places), InMemory(shots_of(count, *cuts)), network, config
    )
    styles = edit.wide_styles(network)
    made = edit.drawn(
        frames, layouts, places, codes, styles, network, Span(0, count), config
    )  # fmt: skip
    return made.pixels


def in_training(task: str) -> StyleGANEX:
    """The same network in the mode in which the authors draw."""
    network = load_pack(small.wide_pack(task).files.folder).build("styleganex")
    return network.train()


@torch.no_grad()
def published(task: str, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """The first codes of what is drawn, the others 0.7 times those of a random face."""
    network = in_training(task)
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(seed))
    codes = network.encode_style(labels)
    codes[:, LAYOUT_CODES:] = 0.7 * network.generator.mapping.w(z)[:, None]
    noise = network.synthesis.no_noise()
    return network.render(network.encode_layout(labels), codes, noise=noise)


def a_sketch(count: int = 1) -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (count, *SIZE, 1), np.uint8).repeat(3, -1)


def labels(count: int = 1) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(4).integers(0, 19, (count, 8, 12), np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)[..., None].repeat(3, -1)


class TestAgainstThePublishedPipeline:
    def test_a_sketch(self) -> None:
        pixels = a_sketch()
        got = drawn(SketchToFace(seed=5), "sketch", pixels)[0]
        given = torch.from_numpy(pixels[0, ..., 0].astype(np.float32) / 255)[None, None]
        want = levels_of(published("sketch", given, 5))
        assert got.shape == want.shape and np.abs(got - want).max() <= 1

    def test_label_maps(self) -> None:
        pixels = labels()
        got = drawn(MaskToFace(seed=7, input="labels"), "mask", pixels)[0]
        one_hot = np.eye(19, dtype=np.float32)[pixels[0, ..., 0]]
        want = levels_of(published("mask", torch.from_numpy(one_hot).movedim(-1, 0)[None], 7))
        assert got.shape == want.shape and np.abs(got - want).max() <= 1

    def test_sides_that_are_no_multiples_of_eight_are_cut_to_the_frames_own(self) -> None:
        got = drawn(SketchToFace(), "sketch", a_sketch()[:, :60, :90])
        assert got.shape[1:3] == (14, 22), "a quarter, and even"


class TestOverTime:
    def test_codes_are_smoothed_and_not_over_cuts(self) -> None:
        """What the same frames become depends on their neighbours, but not on those behind cuts."""
        pixels = a_sketch(5)
        alone = drawn(SketchToFace(), "sketch", pixels[:3])
        cut = drawn(SketchToFace(), "sketch", pixels, 3)
        assert np.array_equal(cut[:3], alone)
        assert not np.array_equal(drawn(SketchToFace(), "sketch", pixels)[:3], alone)

    def test_a_still_sketch_stays_still(self) -> None:
        got = drawn(SketchToFace(), "sketch", a_sketch(1).repeat(3, 0))
        assert np.abs(got[1:].astype(int) - got[:1]).max() <= 1


class TestSamples:
    def test_a_sheet_shows_what_the_seeds_give_alone(self) -> None:
        pixels = a_sketch()
        sheet = drawn(SketchToFace(seed=2, samples=3), "sketch", pixels)[0]
        one = drawn(SketchToFace(seed=4), "sketch", pixels)[0]
        height, width, _ = one.shape
        assert sheet.shape == (2 * height, 2 * width, 3)
        assert np.array_equal(sheet[height:, :width], one) and not sheet[height:, width:].any()

    @torch.no_grad()
    def test_of_a_seed_they_are_the_same(self) -> None:
        network = small.wide_pack("sketch").styleganex
        assert torch.equal(sample(network, 1), sample(network, 1))
        assert not torch.equal(sample(network, 1), sample(network, 2))

    def test_the_style_of_a_face(self) -> None:
        path = str(small.portrait())
        pixels = a_sketch()
        got = drawn(SketchToFace(style=path), "sketch", pixels)
        assert not np.array_equal(got, drawn(SketchToFace(), "sketch", pixels))
        assert SketchToFace(style=path).identity()["style"] != path, "known by its picture"


def test_edges_are_dark_on_white() -> None:
    gray = torch.zeros(1, 1, 20, 20)
    gray[..., 10:] = 1
    got = edges(gray)
    assert bool((got[..., :6] == 1).all()) and float(got[0, 0, 10, 9]) < 0.5
    assert torch.allclose(got, edges(1 - gray)), "whichever side is bright"


def test_frames_are_parsed_twice_as_large() -> None:
    parser = small.color_parser()
    picture = torch.full((1, 3, 64, 64), 0.9)
    picture[:, :, 16:48, 16:48] = -0.9
    got = parsed(picture, HeadParser(parser))
    assert got.shape == (64, 64) and got[32, 32] == 17 and got[4, 4] != 17


def test_the_small_parser_sees_faces_as_small_as_it_has_learned() -> None:
    torch.manual_seed(0)
    parser = FaceParser(FaceParserConfig(widths=(4, 8))).eval()
    sizes: list[Any] = []
    parser.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape))
    got = parsed(torch.rand(1, 3, 256, 512), parser)
    assert sizes == [(1, 3, 80, 160)] and got.shape == (256, 512) and got.max() < 4


@pytest.mark.parametrize(
    ("parser", "labels", "served"),
    [("face_parser", 4, True), (None, 4, True), ("celebamask_parser", 4, False), (None, 19, False)],
)
def test_frames_are_labelled_by_a_parser_of_the_networks_labels(
    parser: str | None, labels: int, served: bool
) -> None:
    pack = pack_for("mask_to_face")
    pack.files.parts["styleganex"].config["label_channels"] = labels
    if parser is None:
        del pack.files.parts["parser"]
    else:
        pack.files.parts["parser"].kind = parser
    with nullcontext() if served else pytest.raises(InvalidSetting, match=f"the {labels} labels"):
        Flow(load_recipe("mask_to_face"), pack)


class TestRefused:
    def refused(self, match: str, **changes: Any) -> None:
        with pytest.raises(InvalidSetting, match=match):
            Flow(load_recipe("mask_to_face", changes), pack_for("mask_to_face"))

    def test_sheets_in_frames(self) -> None:
        self.refused("no frame has room", **{"edit.samples": 2, "edit.size": "source"})

    def test_samples_of_one_style(self) -> None:
        style = str(small.portrait())
        self.refused("leave one of the two", **{"edit.samples": 2, "edit.style": style})

    def test_frames_without_a_parser_of_all_labels(self) -> None:
        pack = pack_for("mask_to_face")
        del pack.files.parts["parser"]
        with pytest.raises(InvalidSetting, match="needs a parser of the 19 labels"):
            Flow(load_recipe("mask_to_face"), pack)
        Flow(load_recipe("mask_to_face", {"edit.input": "labels"}), pack)

    def test_labels_that_the_network_does_not_know(self) -> None:
        pixels = labels()
        pixels[0, 5, 5] = 19
        with pytest.raises(InvalidSetting, match="holds the label 19"):
            drawn(MaskToFace(input="labels"), "mask", pixels)

    def test_tiny_clips(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSetting, match="needs 32 or more"):
            SketchToFace().check_clip(clip_of(31, 64, [0]), "edit")
