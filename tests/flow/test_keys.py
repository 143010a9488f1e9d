"""What recomputes what: the keys of all stages under every setting, without running any."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import small
from vidhair import precision
from vidhair.cache import MemoryStore, fingerprint
from vidhair.checkpoints.packs import open_pack, write_pack
from vidhair.edits import HairColor
from vidhair.errors import CheckpointUnreadable
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.media import open_clip
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import TABLES, Recipe, load_recipe
from vidhair.settings import rules
from vidhair.stages.edit import HAIR_COLOUR, NO_HAIR

STAGES = set(small.STAGES)
DRAWN = {"render_source", "edit", "render_edit"}
TUNED = {"tune"} | DRAWN
SMOOTH = {"smooth"} | TUNED
PARSE = {"parse", "colors", "matte"} | TUNED
ALIGN = STAGES - {"decode", "faces"}

# Setting → another value than the default (or what makes it), and the stages that have to run
# again.
EXPECTED: dict[str, tuple[Any, set[str]]] = {
    "align.min_confidence": (0.4, ALIGN | {"faces"}),
    "align.bridge_seconds": (0.1, ALIGN),
    "align.cut_threshold": (0.2, ALIGN),
    "invert.batch": (3, set()),
    "smooth.latents": (False, SMOOTH),
    "smooth.transforms": (False, SMOOTH),
    "smooth.share": (False, SMOOTH),
    "smooth.average_fine_from": (5, SMOOTH),
    "tune.steps": (3, TUNED),
    "tune.refine_steps": (3, TUNED),
    "tune.frames": (2, TUNED),
    "tune.batch": (1, TUNED),
    "tune.learning_rate": (0.01, TUNED),
    "tune.perceptual": ("pack", set()),  # which "auto" is, without weights of LPIPS
    "tune.perceptual_weights": (lambda: str(small.classifier()), TUNED),
    "tune.perceptual_weight": (0.5, TUNED),
    "tune.locality_weight": (0.0, TUNED),
    "tune.stop_below": (0.5, TUNED),
    "tune.precision": ("float32", TUNED),
    "tune.seed": (1, TUNED),
    "render.expand": (0.2, TUNED),
    "render.precision": ("bfloat16", {"render_source", "render_edit"}),
    "render.batch": (1, set()),
    "render.memory": (256, set()),
    "matte.size": (64, PARSE),
    "matte.color_weight": (0.5, {"matte", "edit", "render_edit"}),
    "matte.smooth": (0.2, {"matte", "edit", "render_edit"}),
    "matte.edge": (0.05, {"matte", "edit", "render_edit"}),
    "compose.mode": ("replace", set()),
    "compose.region": ("face", set()),
    "compose.blur": (0.1, set()),
    "compose.shadows": (0.1, set()),
    "compose.feather": (0.1, set()),
    "compose.evenness": (0.3, set()),
    "compose.exact": (False, set()),
    "encode.codec": ("libx265", set()),
    "encode.crf": (30, set()),
    "encode.preset": ("fast", set()),
    "encode.odd": ("pad", set()),
    "edit.color": ("blue", {"edit", "render_edit"}),
    "edit.strength": (0.5, {"edit", "render_edit"}),
}
WEIGHTS = {
    "encoder": {"invert"} | SMOOTH,
    "parser": PARSE,
    "generator": TUNED,
    "attributes": SMOOTH,
    "world": set(),
}


def a_pack(**changed: str) -> Any:
    """A pack of which only the fingerprints are known."""
    parts = dict.fromkeys(WEIGHTS)
    names = ["yaw", *HAIR_COLOUR, *NO_HAIR]
    files = SimpleNamespace(
        parts={name: SimpleNamespace(config={"names": names}) for name in parts},
        tensors=lambda part: dict.fromkeys(
            ("directions", "readout"), torch.zeros(len(names), 2)
        ) | dict.fromkeys(("offset", "low", "high"), torch.zeros(len(names))),
    )  # fmt: skip
    return SimpleNamespace(
        files=files,
        fingerprint=lambda part: fingerprint(changed.get(part, part)),
        name="made up",
        device="cpu",
        inverter_parts=("encoder",),
        has=lambda part: part in parts,
        parser=SimpleNamespace(face_pixels=256),
    )


@pytest.fixture(autouse=True)
def bfloat16(monkeypatch):
    """Whatever this processor has, the tests find one that multiplies bfloat16."""
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)


def keys(recipe: Recipe, pack: Any = None, reader: Any = None) -> dict[str, str]:
    """Stage → digest of its key."""
    clip = SimpleNamespace(fingerprint=fingerprint("clip"))
    reader = reader or SimpleNamespace(clip=clip, reading="")
    runner = Runner(MemoryStore(), reader)
    for node in Flow(recipe, pack or a_pack(), "a clip").nodes():
        runner.keys[node.name] = runner.key(node)
    return {name: key.digest for name, key in runner.keys.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_every_setting_has_its_expectation():
    tables = {**TABLES, "edit": HairColor}
    assert set(EXPECTED) == {f"{t}.{key}" for t, cls in tables.items() for key in rules(cls)}


@pytest.mark.parametrize("path", EXPECTED)
def test_a_setting_recomputes_what_depends_on_it_and_no_more(path):
    value, expected = EXPECTED[path]
    recipe = load_recipe("hair_color")
    other = recipe.override({path: value() if callable(value) else value})
    assert other != recipe
    before = keys(recipe)
    assert list(before) == small.STAGES
    assert changed(before, keys(other)) == expected


@pytest.mark.parametrize("part", WEIGHTS)
def test_other_weights_recompute_what_uses_them(part):
    recipe = load_recipe("hair_color")
    assert changed(keys(recipe), keys(recipe, a_pack(**{part: "new"}))) == WEIGHTS[part]


def perceptual_keys(choice: str, path: Path | str = "") -> dict[str, str]:
    settings = {"tune.perceptual": choice, "tune.perceptual_weights": str(path)}
    return keys(load_recipe("hair_color", settings))


def test_keys_hold_the_precision_that_auto_means(monkeypatch):
    auto = load_recipe("hair_color")
    plain = load_recipe("hair_color", {"tune.precision": "float32", "render.precision": "float32"})
    with_bfloat16 = keys(auto)
    assert with_bfloat16 == keys(auto.override({"tune.precision": "bfloat16"}))
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)
    assert keys(auto) == keys(plain)
    assert changed(with_bfloat16, keys(auto)) == TUNED
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)
    without_tuning = {"tune.steps": 0, "tune.refine_steps": 0}
    probed = keys(auto.override(without_tuning))
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)
    assert changed(probed, keys(auto.override(without_tuning))) == {"edit", "render_edit"}


def test_auto_is_what_it_finds(tmp_path, monkeypatch):
    """The same setting is another key once there are weights, wherever they lie."""
    before = keys(load_recipe("hair_color"))
    cached = tmp_path / "hub" / "checkpoints" / small.classifier().name
    cached.parent.mkdir(parents=True)
    shutil.copy(small.classifier(), cached)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = keys(load_recipe("hair_color"))
    assert changed(before, found) == TUNED
    assert found == perceptual_keys("lpips_alex") == perceptual_keys("auto", small.classifier())
    assert perceptual_keys("pack") == before


def test_other_weights_of_lpips_are_another_key(tmp_path):
    other = tmp_path / "other.pth"
    weights = dict(small.convolutions("alex"))
    torch.save(weights, other)
    want = perceptual_keys("lpips_alex", small.classifier())
    assert perceptual_keys("lpips_alex", other) == want, "without a last layer it is the same"
    weights["features.10.bias"] = weights["features.10.bias"] + 1e-3
    torch.save(weights, other)
    assert changed(want, perceptual_keys("lpips_alex", other)) == TUNED


def test_lpips_without_weights_is_refused_before_anything_runs():
    with pytest.raises(CheckpointUnreadable, match="models pull lpips-alex"):
        perceptual_keys("lpips_alex")
    off = {"tune.steps": 0, "tune.refine_steps": 0, "tune.perceptual": "lpips_alex"}
    assert "tune" not in keys(load_recipe("hair_color", off)), "nothing measures likeness then"


def test_another_edit_shares_everything_before_it():
    color, bald = keys(load_recipe("hair_color")), keys(load_recipe("bald"))
    assert changed(color, bald) == {"edit", "render_edit"}


def test_a_recipe_without_an_edit_shares_everything():
    color, plain = keys(load_recipe("hair_color")), keys(load_recipe("reconstruct"))
    assert changed(color, plain) == set()
    assert set(color) - set(plain) == {"edit", "render_edit"}


def test_without_tuning_there_is_no_such_stage():
    off = keys(load_recipe("hair_color", {"tune.steps": 0, "tune.refine_steps": 0}))
    assert set(off) == STAGES - {"tune"}
    on = keys(load_recipe("hair_color", {"tune.steps": 0, "tune.refine_steps": 1}))
    assert set(on) == STAGES
    assert changed(on, off) == DRAWN


def test_two_names_of_one_colour_are_one_edit():
    def edits(color: str) -> str:
        return keys(load_recipe("hair_color", {"edit.color": color}))["edit"]

    assert edits("grey") == edits("Gray") == edits("silver")
    assert edits("#fff") == edits("FFFFFF") != edits("white")


def test_the_clips_content_counts_and_its_name_does_not(tmp_path):
    """The second file shows the same pictures, with eight more bytes at its end."""
    copy, longer = tmp_path / "another name.mp4", tmp_path / "longer.mp4"
    data = small.clip().read_bytes()
    copy.write_bytes(data)
    longer.write_bytes(data + (8).to_bytes(4, "big") + b"free")
    found = []
    for path in (small.clip(), copy, longer):
        with open_clip(path) as reader:
            assert reader.clip.frame_count == small.FRAMES
            found.append(keys(load_recipe("hair_color"), reader=reader))
    assert found[0] == found[1]
    assert changed(found[0], found[2]) == STAGES


def test_how_a_clip_is_read_counts_where_it_is_unusual():
    found = []
    for reading in ("", "ycgco"):
        with open_clip(small.clip()) as reader:
            assert reader.reading == ""
            reader.reading = reading
            found.append(keys(load_recipe("hair_color"), reader=reader))
    assert changed(*found) == STAGES


def repacked(folder: Path, part: str, config: dict[str, Any]) -> Pack:
    """The tiny pack with another configuration of one part, whose tensors stay the same."""
    files = open_pack(small.pack_folder())
    entry = files.parts[part]
    tensors = load_file(files.folder / entry.file)
    write_pack(folder, "other", {part: (entry.kind, entry.config | config, tensors)}, {})
    return load_pack(folder)


def test_a_parts_configuration_counts(tmp_path):
    names = open_pack(small.pack_folder()).parts["attributes"].config["names"]
    other = repacked(tmp_path / "a", "attributes", {"names": names[::-1]})
    assert other.fingerprint("attributes") != small.pack().fingerprint("attributes")
    other = repacked(tmp_path / "b", "generator", {"radial_filters": True})
    assert other.generator.config.radial_filters and not small.GENERATOR.radial_filters
    assert other.fingerprint("generator") != small.pack().fingerprint("generator")


def test_the_same_weights_under_another_name_are_the_same(tmp_path):
    other = repacked(tmp_path, "generator", {})
    assert other.fingerprint("generator") == small.pack().fingerprint("generator")
