"""Edits by StyleGANEX's networks: each recipe against a plain recomputation, and in a flow."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from tests import small
from tests.edits.test_toonify import faces_of, shots_of
from tests.flow.made_up import a_pack, pack_for
from tests.stages.faces import clip_of, face_mesh
from tests.stages.series import InMemory
from vidhair.checkpoints.packs import SHIPPED
from vidhair.edits import EDITS, FaceAttribute, Restore, Toonify, ToonifyNetwork
from vidhair.edits.edit import Strength
from vidhair.edits.wide import Styles, WideEdit, fitted, lowered, own_sides, sheet
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.geometry import Grid, crop_axes, crop_quad
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.models.pack import EditingVector, load_pack
from vidhair.recipe import TABLES, load_recipe
from vidhair.stages.people import tracks
from vidhair.stages.render import RenderConfig
from vidhair.stages.wide import Places
from vidhair.types import Frames
from vidhair.wiring import Span

pytestmark = pytest.mark.usefixtures("one_thread")

FACE = (70.0, 60.0, 80 / 3.5)  # its eyes are 16 pixels apart, so the scale is 4
SIZE = (120, 144)  # height, width
SCALE = 4


def the_frame() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 15, 18)).astype(np.float32))
    large = F.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 255)
    return large[0].movedim(0, -1).byte().numpy()


def edit_of(cls: Any, **settings: Any) -> Any:
    return cls(**({"size": "drawn", "framing": "crop"} | settings))


class Setting:
    """One frame with one face, and what the stages before drawing make of it."""

    def __init__(self, edit: WideEdit, task: str):
        self.edit, self.network = edit, small.wide_pack(task).styleganex
        self.frames = Frames.of_pixels(the_frame()[None])
        clip = clip_of(SIZE[1], SIZE[0], [0])
        faces, shots = InMemory(faces_of([[FACE]])), InMemory(shots_of(1))
        found = tracks(faces, shots, clip)
        self.places: Places = edit.places(faces, InMemory(found), shots, clip, "largest")
        self.config = RenderConfig()

    @property
    def styles(self) -> Styles:
        return self.edit.wide_styles(
            InMemory(self.frames), InMemory(self.places), self.network, self.config
        )

    def drawn(self, **more: Any) -> NDArray[np.uint8]:
        made = self.edit.drawn(
            frames=self.frames,
            places=self.places,
            wide_styles=self.styles,
            network=self.network,
            span=Span(0, 1),
            config=self.config,
            **more,
        )
        return made.pixels[0]


def published(picture: torch.Tensor, left: int, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures for layout and style, as the authors' scripts make them. picture: the crop."""
    mesh = face_mesh(*FACE)[None].astype(np.float64)
    quad = crop_axes(*eyes_and_mouth(mesh)).quad[0] * SCALE - [left, top]
    levels = ((picture[0] + 1) * 127.5).round().byte().movedim(0, -1).numpy()
    face = np.asarray(crop_quad(Image.fromarray(levels), quad, size=256), np.float32)
    return picture, torch.from_numpy(face / 127.5 - 1).movedim(-1, 0)[None]


def published_crop() -> tuple[torch.Tensor, int, int]:
    """Scaled until the eyes are 64 pixels apart, and cut 256 pixels around, at multiples of 8."""
    left_eye, right_eye, _, _ = eyes_and_mouth(face_mesh(*FACE).astype(np.float64))
    scale = 64 / (right_eye[0] - left_eye[0])
    assert abs(scale - SCALE) < 1e-6
    x = torch.from_numpy(the_frame()).movedim(-1, 0)[None] / 127.5 - 1
    large = F.interpolate(x, scale_factor=SCALE, mode="bilinear", align_corners=False)
    middle = (left_eye + right_eye) / 2 * scale
    height, width = large.shape[2:]
    left, top = (max(round(n - 256), 0) // 8 * 8 for n in middle)
    right, bottom = (
        min(round(n + 256), most) // 8 * 8 for n, most in zip(middle, (width, height), strict=True)
    )
    return large[:, :, top:bottom, left:right], left, top


def levels_of(made: torch.Tensor) -> NDArray[np.int64]:
    return ((made.clamp(-1, 1)[0] + 1) * 127.5).round().movedim(0, -1).numpy().astype(int)


class TestAgainstThePublishedPipeline:
    """The authors: one forward, zero noise, a crop in, a crop out."""

    def agrees(self, got: NDArray[np.uint8], want: torch.Tensor) -> None:
        levels = levels_of(want)
        assert got.shape == levels.shape
        assert np.abs(got - levels).max() <= 1 and levels.std() > 2

    @torch.no_grad()
    def test_toonify(self) -> None:
        case = Setting(edit_of(ToonifyNetwork), "toonify")
        x1, x2 = published(*published_crop())
        net = case.network
        noise = net.synthesis.no_noise()
        self.agrees(
            case.drawn(), net.render(net.encode_layout(x1), net.encode_style(x2), noise=noise)
        )

    @torch.no_grad()
    def test_super_resolution(self) -> None:
        case = Setting(edit_of(Restore, factor=8.0), "super_resolution")
        picture, left, top = published_crop()
        x1, x2 = published(lowered(picture, 2), left, top)
        net = case.network
        noise = net.synthesis.no_noise()
        self.agrees(
            case.drawn(), net.render(net.encode_layout(x1), net.encode_style(x2), noise=noise)
        )

    @torch.no_grad()
    @pytest.mark.parametrize(("strength", "sign"), [(1.0, 1), (-0.7, 1), (0.7, -1)])
    def test_an_attribute(self, strength: float, sign: int) -> None:
        case = Setting(edit_of(FaceAttribute, put="drawn"), "edit")
        stored = small.wide_pack("edit").editing_vector
        assert stored.sign == 1
        vector = EditingVector(stored.values, sign)
        got = case.drawn(strength=Strength(np.array([strength], np.float32)), vector=vector)
        x1, x2 = published(*published_crop())
        net, v = case.network, strength * sign * stored.values
        noise = net.synthesis.no_noise()
        layout, codes = net.encode_layout(x1), net.encode_style(x2)
        self.agrees(got, net.render(layout, codes, editing=v, noise=noise))


def test_reducing_is_that_of_pillow() -> None:
    """Whose cubic convolution the authors use on the way back."""
    picture = published_crop()[0][:, :, :240, :320]
    levels = ((picture[0] + 1) * 127.5).round().clamp(0, 255).byte().movedim(0, -1).numpy()
    image = Image.fromarray(levels)
    small_one = image.resize((160, 120), Image.Resampling.BICUBIC)
    want = np.asarray(small_one.resize((320, 240), Image.Resampling.BICUBIC), int)
    got = levels_of(lowered(picture, 2))
    assert np.abs(got - want)[8:-8, 8:-8].max() <= 3
    assert lowered(picture, 1) is picture
    odd = lowered(picture, 3.0)
    assert odd.shape == picture.shape and float((odd - picture).abs().mean()) > 0


class TestPutBack:
    def test_an_edit_of_no_strength_leaves_the_frame_as_it_was(self) -> None:
        case = Setting(edit_of(FaceAttribute, size="source"), "edit")
        vector = small.wide_pack("edit").editing_vector
        got = case.drawn(strength=Strength(np.zeros(1, np.float32)), vector=vector)
        assert np.array_equal(got, the_frame())
        more = case.drawn(strength=Strength(np.ones(1, np.float32)), vector=vector)
        assert not np.array_equal(more, the_frame())

    def test_strength_mixes(self) -> None:
        frame = the_frame().astype(int)
        none, half, whole = (
            Setting(edit_of(ToonifyNetwork, size="source", strength=s), "toonify")
            .drawn()
            .astype(int)
            for s in (0.0, 0.5, 1.0)
        )
        assert np.array_equal(none, frame) and np.abs(half - (frame + whole) / 2).max() <= 1

    def test_a_frame_without_a_place_stays(self) -> None:
        case = Setting(edit_of(ToonifyNetwork, size="source"), "toonify")
        case.places = replace(case.places, share=np.zeros_like(case.places.share))
        assert np.array_equal(case.drawn(), the_frame())

    def test_little_memory_draws_the_same(self) -> None:
        case = Setting(edit_of(ToonifyNetwork), "toonify")
        whole = case.drawn()
        case.config = replace(case.config, memory=0)
        assert np.abs(case.drawn().astype(int) - whole).max() <= 1

    def test_the_whole_frame_at_its_own_size(self) -> None:
        case = Setting(edit_of(ToonifyNetwork, framing="frame"), "toonify")
        assert case.drawn().shape == (120, 144, 3), "scaled by 4, and drawn a quarter as large"


class TestOwnSize:
    def test_what_lies_beyond_the_frame_is_cut_off(self) -> None:
        assert own_sides(Grid(0, 0, 0.5, 72, 104), 33, 50, 4) == (264, 400)
        assert own_sides(Grid(3, 0, 1, 16, 24), 100, 100, 4) == (64, 96)

    def test_others_are_fitted_with_black_around(self) -> None:
        got = fitted(torch.full((1, 3, 10, 20), 90.0), (30, 30))
        assert got.shape == (30, 30, 3) and (got[8:22, 2:-2] == 90).all() and not got[:7].any()

    @pytest.mark.parametrize(("count", "shape"), [(1, (4, 6)), (2, (4, 12)), (6, (8, 18))])
    def test_sheets(self, count: int, shape: tuple[int, int]) -> None:
        pictures = [np.full((4, 6, 3), n + 1, np.uint8) for n in range(count)]
        got = sheet(pictures)
        assert got.shape[:2] == shape and set(np.unique(got)) - {0} == set(range(1, count + 1))


# ---- in a flow


WIDE = {kind: cls.task for kind, cls in EDITS.items() if issubclass(cls, WideEdit)}


class TestInAFlow:
    @pytest.mark.parametrize("name", WIDE)
    def test_it_needs_no_person_and_no_generator_of_faces(self, name: str) -> None:
        flow = Flow(load_recipe(name), pack_for(name))
        assert not {"person", "track", "matte", "rendered", "latents"} & set(flow.stages)
        parts = {part for node in flow.nodes() for part in node.weights}
        assert "styleganex" in parts and not {"generator", "encoder"} & parts

    @pytest.mark.parametrize("name", WIDE)
    def test_a_pack_for_another_task_is_refused(self, name: str) -> None:
        if WIDE[name] not in SHIPPED:
            with pytest.raises(InvalidSetting, match=r"needs a StyleGANEX network.*has none"):
                Flow(load_recipe(name), a_pack())
        other = "restore" if name != "restore" else "toonify_network"
        with pytest.raises(InvalidSetting, match="has one for"):
            Flow(load_recipe(name), pack_for(other))

    @pytest.mark.parametrize("task", SHIPPED)
    def test_a_pack_without_a_network_borrows_the_one_that_ships(self, task: str) -> None:
        name = next(name for name, its in WIDE.items() if its == task)
        shipped, own, lacking = load_pack(SHIPPED[task]), small.wide_pack(task), load_pack()
        for pack, taken in ((lacking, shipped), (own, own)):
            nodes = Flow(load_recipe(name), pack).nodes()
            found = {n.weights["styleganex"] for n in nodes if "styleganex" in n.weights}
            assert found == {taken.fingerprint("styleganex")}
        assert lacking.lender is None and not lacking.has("styleganex")

    def test_after_other_edits_it_draws_what_they_made(self) -> None:
        dyed, pack = load_recipe("hair_color", {}), pack_for("toonify_network")
        flow = Flow(replace(dyed, edits=(*dyed.edits, ToonifyNetwork())), pack)
        for name in ("composed", "wide_styles"):
            assert "folded" in flow.stages[name].inputs and "layer" in flow.stages

    def test_one_edit_of_whole_frames_is_enough(self) -> None:
        recipe = load_recipe("toonify_network")
        with pytest.raises(InvalidSetting, match=r"edit\.2 makes whole frames, as edit\.1 does"):
            Flow(replace(recipe, edits=(Toonify(), *recipe.edits)), pack_for("toonify_network"))

    def test_toonify_takes_the_network_of_a_pack_that_has_one(self) -> None:
        pack = pack_for("toonify_network")
        for by, found in (
            ("auto", ToonifyNetwork),
            ("network", ToonifyNetwork),
            ("drawing", Toonify),
        ):
            flow = Flow(load_recipe("toonify", {"edit.by": by, "edit.strength": 0.4}), pack)
            (edit,) = flow.recipe.edits
            assert type(edit) is found and edit.strength == 0.4
        (edit,) = Flow(load_recipe("toonify"), a_pack()).recipe.edits
        assert type(edit) is Toonify
        with pytest.raises(InvalidSetting, match="needs a StyleGANEX network"):
            Flow(load_recipe("toonify", {"edit.by": "network"}), a_pack())

    @pytest.mark.parametrize("name", WIDE)
    def test_its_weights_and_settings_are_in_the_keys(self, name: str) -> None:
        def keys(pack: Any, **changes: Any) -> list[Any]:
            flow = Flow(load_recipe(name, changes), pack)
            return [(n.name, n.settings, n.weights) for n in flow.nodes()]

        plain = keys(pack_for(name))
        assert keys(pack_for(name)) == plain
        assert keys(pack_for(name), **{"edit.feather": 0.3}) != plain
        other = pack_for(name)
        other.fingerprint = lambda part: f"{part}, trained longer"
        assert keys(other) != plain
        assert "render" in TABLES and keys(pack_for(name), **{"render.memory": 99}) == plain


RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "toonify": ("toonify", "toonify", {}),
    "restore": ("restore", "super_resolution", {"edit.factor": 16.0}),
    "face_attribute": ("face_attribute", "edit", {"edit.strength": -0.5}),
    "face_attribute, drawn": ("face_attribute", "edit", {"edit.put": "drawn"}),
    "sketch": ("sketch_to_face", "sketch", {}),
    "sketch of frames": (
        "sketch_to_face", "sketch", {"edit.input": "frames", "edit.size": "source"},
    ),
    "mask, a sheet": ("mask_to_face", "mask", {"edit.samples": 6}),
    "invert": ("invert_frame", "inversion", {"edit.steps": 1, "edit.mix": 2}),
    "invert, drawn": ("invert_frame", "inversion", {"edit.steps": 0, "edit.size": "drawn"}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_whole_run_with_a_converted_file(name: str, tmp_path: Any) -> None:
    recipe, task, changes = RUNS[name]
    source = small.write_clip(tmp_path / "two.mp4", small.person()[:2])
    cache = tmp_path / "cache"
    first, again = (
        small.edit(
            tmp_path / f"{n}.mp4", cache, source=source, name=recipe, changes=changes,
            models=small.wide_pack(task),
        )
        for n in range(2)
    )  # fmt: skip
    frames, pixels = small.decoded(source), small.decoded(first.path)
    assert (first.frames, first.untouched) == (2, 0)
    assert {stage.name for stage in again.stages} - {"encode"} == set(again.reused)
    assert np.array_equal(small.decoded(again.path), pixels)
    with_own_size = changes.get("edit.size", "drawn" if "_to_face" in recipe else "source")
    if with_own_size == "source":
        assert pixels.shape == frames.shape
        assert np.abs(pixels.astype(int) - frames).mean() > 1
    elif changes.get("edit.samples") == 6:
        rows, columns = (n // k for n, k in zip(pixels.shape[1:3], (2, 3), strict=True))
        tiles = [
            pixels[:, a * rows : (a + 1) * rows, b * columns : (b + 1) * columns].astype(int)
            for a in range(2)
            for b in range(3)
        ]
        assert min(np.abs(tiles[0] - tile).mean() for tile in tiles[1:]) > 1, "all differ"
    else:
        assert pixels.shape != frames.shape and pixels.std() > 2
