"""What recomputes what: the keys of all stages under every setting, without running any."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests import small
from tests.flow.made_up import PARTS, a_pack, nodes_of
from vidhair import precision
from vidhair.cache import Key, MemoryStore, fingerprint
from vidhair.checkpoints.packs import open_pack, write_pack
from vidhair.edits import HairColorLatent
from vidhair.errors import CheckpointUnreadable, SourceNotFound
from vidhair.flow.graph import Flow
from vidhair.flow.node import Node
from vidhair.flow.runner import Runner
from vidhair.media import open_clip, write_png
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.faces.effects import FaceEffects
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.pack import Pack, load_pack
from vidhair.models.parsers.head_parser import Parser
from vidhair.models.perceptual import Perceptual
from vidhair.recipe import TABLES, Recipe, load_recipe, recipe_names
from vidhair.settings import rules
from vidhair.stages.people import Person
from vidhair.types import Clip, Frames
from vidhair.wiring import Fact, Setting, Stage

STAGES = set(small.STAGES)
EDITED = {"code_change", "edited", "changes"}
DRAWN = {"rendered"} | EDITED
TUNED = {"tuned"} | DRAWN
SMOOTH = {"pivots"} | TUNED
MATTED, WORN = {"matte", "doubts"}, {"glasses", "eyewear"}
BARED = {"skull", "hands", "behind", "bare", "usual_hair", "in_front"}
PARSE = {"labels", "hair_colors", "prior"} | MATTED | TUNED
TRACK = STAGES - {"target_color", "thumbnails", "faces", "shots", "tracks", "looks", "people"}
LOOKS = {"looks", "people"}
FOUND = TRACK | LOOKS | {"tracks"}

# Setting → another value than the default (or what makes it), and the stages that have to run
# again.
EXPECTED: dict[str, tuple[Any, set[str]]] = {
    "align.min_confidence": (0.4, FOUND | {"faces"}),
    "align.bridge_seconds": (0.1, TRACK),
    "align.cut_threshold": (0.2, FOUND | {"shots"}),
    "align.person": (2, set()),  # who it is counts, and not how they were chosen
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
    "render.precision": ("bfloat16", {"rendered", "edited", "changes"}),
    "render.batch": (1, set()),
    "render.memory": (256, set()),
    "matte.size": (64, PARSE | WORN),
    "matte.color_weight": (0.5, {"prior"} | MATTED | EDITED),
    "matte.smooth": (0.2, MATTED | EDITED),
    "matte.edge": (0.05, MATTED | EDITED),
    "matte.segmenter": ("none", set()),  # which "auto" is, where none was pulled
    "matte.from": (lambda: str(small.matte()), {"matte"} | EDITED),
    "compose.mode": (
        "replace",
        {"changes", "hair_drawn", "reshaped", "hair_texture"} | BARED,
    ),
    "compose.region": ("face", {"changes"}),
    "compose.blur": (0.1, {"changes"}),
    "compose.shadows": (0.1, {"changes"}),
    "compose.keep": (False, {"changes"}),
    "compose.blend": ("frame", {"changes"}),
    "compose.feather": (0.1, {"changes"}),
    "compose.fade_seconds": (0.1, {"changes"}),
    "compose.evenness": (0.3, {"changes"}),
    "compose.exact": (False, {"changes"}),
    "encode.codec": ("libx265", set()),
    "encode.crf": (30, set()),
    "encode.preset": ("fast", set()),
    "encode.odd": ("pad", set()),
    "edit.color": ("blue", {"target_color"} | EDITED),
    "edit.strength": (0.5, {"target_color"} | EDITED),
}
WEIGHTS = {
    "encoder": {"latents", "shot_codes"} | LOOKS | SMOOTH,
    "parser": PARSE | {"target_color"},
    "generator": TUNED,
    "attributes": LOOKS | SMOOTH,
    "world": set(),
}


@pytest.fixture(autouse=True)
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this processor has, the tests find one that multiplies bfloat16."""
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)


def keys(recipe: Recipe, pack: Any = None, reader: Any = None) -> dict[str, str]:
    """Stage → digest of its key."""
    clip = SimpleNamespace(fingerprint=fingerprint("clip"))
    reader = reader or SimpleNamespace(clip=clip, reading="")
    runner = Runner(MemoryStore(), reader)
    nodes = nodes_of(Flow(recipe, pack or a_pack()))
    for node in nodes:
        runner.keys[node.name] = runner.key(node)
    return {node.name: runner.keys[node.name].digest for node in nodes if node.kept}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_every_setting_has_its_expectation() -> None:
    tables = {**TABLES, "edit": HairColorLatent}
    assert set(EXPECTED) == {f"{t}.{key}" for t, cls in tables.items() for key in rules(cls)}
    assert set(WEIGHTS) == set(PARTS)


@pytest.mark.parametrize("path", EXPECTED)
def test_a_setting_recomputes_what_depends_on_it_and_no_more(path: str) -> None:
    value, expected = EXPECTED[path]
    recipe = load_recipe(small.RECIPE)
    other = recipe.override({path: value() if callable(value) else value})
    assert other != recipe
    before = keys(recipe)
    assert list(before) == small.STAGES
    assert changed(before, keys(other)) == expected


@pytest.mark.parametrize("part", WEIGHTS)
def test_other_weights_recompute_what_uses_them(part: str) -> None:
    recipe = load_recipe(small.RECIPE)
    assert changed(keys(recipe), keys(recipe, a_pack(**{part: "new"}))) == WEIGHTS[part]


def perceptual_keys(choice: str, path: Path | str = "") -> dict[str, str]:
    settings = {"tune.perceptual": choice, "tune.perceptual_weights": str(path)}
    return keys(load_recipe(small.RECIPE, settings))


def test_keys_hold_the_precision_that_auto_means(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = load_recipe(small.RECIPE)
    plain = load_recipe(small.RECIPE, {"tune.precision": "float32", "render.precision": "float32"})
    with_bfloat16 = keys(auto)
    assert with_bfloat16 == keys(auto.override({"tune.precision": "bfloat16"}))
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)
    assert keys(auto) == keys(plain)
    assert changed(with_bfloat16, keys(auto)) == TUNED
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)
    without_tuning = {"tune.steps": 0, "tune.refine_steps": 0}
    probed = keys(auto.override(without_tuning))
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)
    assert changed(probed, keys(auto.override(without_tuning))) == EDITED


def test_auto_is_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same setting is another key once there are weights, wherever they lie."""
    before = keys(load_recipe(small.RECIPE))
    cached = tmp_path / "hub" / "checkpoints" / small.classifier().name
    cached.parent.mkdir(parents=True)
    shutil.copy(small.classifier(), cached)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = keys(load_recipe(small.RECIPE))
    assert changed(before, found) == TUNED
    assert found == perceptual_keys("lpips_alex") == perceptual_keys("auto", small.classifier())
    assert perceptual_keys("pack") == before


def test_other_weights_of_lpips_are_another_key(tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    weights = dict(small.convolutions("alex"))
    torch.save(weights, other)
    want = perceptual_keys("lpips_alex", small.classifier())
    assert perceptual_keys("lpips_alex", other) == want, "without a last layer it is the same"
    weights["features.10.bias"] = weights["features.10.bias"] + 1e-3
    torch.save(weights, other)
    assert changed(want, perceptual_keys("lpips_alex", other)) == TUNED


def test_lpips_without_weights_is_refused_before_anything_runs() -> None:
    with pytest.raises(CheckpointUnreadable, match="models pull lpips-alex"):
        perceptual_keys("lpips_alex")
    off = {"tune.steps": 0, "tune.refine_steps": 0, "tune.perceptual": "lpips_alex"}
    assert "tune" not in keys(load_recipe(small.RECIPE, off)), "nothing measures likeness then"


DRAWN_BALD = {"edit.by": "latent"}


def test_another_edit_shares_everything_before_it() -> None:
    color, bald = keys(load_recipe(small.RECIPE)), keys(load_recipe("bald", DRAWN_BALD))
    drawn = {"shot_changes", "hair_drawn", "reshaped", "hair_texture", "changes"}
    assert changed(color, bald) == drawn | BARED


def test_a_recipe_without_an_edit_shares_everything() -> None:
    color, plain = keys(load_recipe(small.RECIPE)), keys(load_recipe("reconstruct"))
    assert changed(color, plain) == {"changes"}
    gone = set(color) - set(plain)
    assert gone == {"target_color", "hair_colors", "prior", "code_change", "edited"} | MATTED | WORN


def test_what_a_recipe_does_not_read_is_not_made() -> None:
    """A head that is drawn needs no matte, and its settings are none of its business."""
    bald, other = (
        keys(load_recipe("bald", DRAWN_BALD | {"compose.region": "head"} | changes))
        for changes in ({}, {"matte.edge": 0.05})
    )
    assert not ({"hair_colors", "prior"} | MATTED) & set(bald)
    assert bald == other


def test_without_tuning_there_is_no_such_stage() -> None:
    off = keys(load_recipe(small.RECIPE, {"tune.steps": 0, "tune.refine_steps": 0}))
    assert set(off) == STAGES - {"tuned"}
    on = keys(load_recipe(small.RECIPE, {"tune.steps": 0, "tune.refine_steps": 1}))
    assert set(on) == STAGES
    assert changed(on, off) == DRAWN


def test_a_matte_that_is_given_counts_by_what_it_shows(tmp_path: Path) -> None:
    def given(path: Path) -> dict[str, str]:
        return keys(load_recipe("hair_color", {"matte.from": str(path)}))

    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        level = 90 if name == "c" else 80
        write_png(tmp_path / name / "1.png", np.full((8, 8, 3), level, np.uint8))
    found = [given(tmp_path / name) for name in ("a", "b", "c")]
    assert found[0] == found[1]
    assert changed(found[0], found[2]) == {"matte", "hair_light", "changes"}
    assert not {"prior", "labels", "hair_colors", "doubts"} & set(found[0]), (
        "nothing looks for hair"
    )


def test_two_names_of_one_color_are_one_edit() -> None:
    def edits(color: str) -> str:
        return keys(load_recipe(small.RECIPE, {"edit.color": color}))["code_change"]

    assert edits("grey") == edits("Gray") == edits("silver")
    assert edits("#fff") == edits("FFFFFF") != edits("white")


def test_the_clips_content_counts_and_its_name_does_not(tmp_path: Path) -> None:
    """The second file shows the same pictures, with eight more bytes at its end."""
    copy, longer = tmp_path / "another name.mp4", tmp_path / "longer.mp4"
    data = small.clip().read_bytes()
    copy.write_bytes(data)
    longer.write_bytes(data + (8).to_bytes(4, "big") + b"free")
    found = []
    for path in (small.clip(), copy, longer):
        with open_clip(path) as reader:
            assert reader.clip.frame_count == small.FRAMES
            found.append(keys(load_recipe(small.RECIPE), reader=reader))
    assert found[0] == found[1]
    assert changed(found[0], found[2]) == STAGES - {"target_color"}


def test_how_a_clip_is_read_counts_where_it_is_unusual() -> None:
    found = []
    for reading in ("", "ycgco"):
        with open_clip(small.clip()) as reader:
            assert reader.reading == ""
            reader.reading = reading
            found.append(keys(load_recipe(small.RECIPE), reader=reader))
    assert changed(*found) == STAGES - {"target_color"}


def repacked(folder: Path, part: str, config: dict[str, Any]) -> Pack:
    """The tiny pack with another configuration of one part, whose tensors stay the same."""
    files = open_pack(small.pack_folder())
    entry = files.parts[part]
    tensors = load_file(files.folder / entry.file)
    write_pack(folder, "other", {part: (entry.kind, entry.config | config, tensors)}, {})
    return load_pack(folder)


def test_a_parts_configuration_counts(tmp_path: Path) -> None:
    names = open_pack(small.pack_folder()).parts["attributes"].config["names"]
    other = repacked(tmp_path / "a", "attributes", {"names": names[::-1]})
    assert other.fingerprint("attributes") != small.pack().fingerprint("attributes")
    other = repacked(tmp_path / "b", "generator", {"radial_filters": True})
    config: Any = other.generator.config
    assert config.radial_filters and not small.GENERATOR.radial_filters
    assert other.fingerprint("generator") != small.pack().fingerprint("generator")


def test_the_same_weights_under_another_name_are_the_same(tmp_path: Path) -> None:
    other = repacked(tmp_path, "generator", {})
    assert other.fingerprint("generator") == small.pack().fingerprint("generator")


# ---- every recipe: a stage depends on what it declares, and on nothing else

# Edit → other values of its settings.
EDITS: dict[str, dict[str, Any]] = {
    "hair_color": {"edit.color": "blue", "edit.strength": 0.5},
    "hair_color_latent": {"edit.color": "blue", "edit.strength": 0.5},
    "hair_length": {"edit.amount": 0.25},
    "fringe": {"edit.amount": 0.25},
    "wave": {"edit.amount": 0.25},
    "volume": {"edit.amount": 0.25},
    "hair_reference_latent": {"edit.steps": 2, "edit.frames": 2, "edit.strength": 0.5},
    "hair_mask": {"edit.refine_steps": 2, "edit.consistency": "frame", "edit.frames": 2},
    "hair_sketch": {"edit.refine_steps": 2, "edit.consistency": "frame", "edit.frames": 2},
    "hair_text": {"edit.text": "curly hair", "edit.steps": 2, "edit.frames": 2},
    "bald": {"edit.strength": 0.5},
    "attribute": {"edit.name": "yaw", "edit.strength": 0.25},
    "smile": {"edit.name": "yaw", "edit.strength": 0.25},
    "reconstruct": {},
    "longer_auburn": {"edit.amount": 0.25, "edit.color": "blue", "edit.strength": 0.5},
}
# That change which stages there are, or whose they are.
OTHERS = ("tune.perceptual", "matte.from", "compose.keep", "compose.region", "compose.blend")
OFF = {"tune.steps": 0, "tune.refine_steps": 0}
COMBINATIONS = [
    pytest.param(name, tuned, mode, id=f"{name}-{'tuned' if tuned else 'untuned'}-{mode}")
    for name in recipe_names()
    if name in EDITS  # hair_reference needs a photo, and draws nothing
    for tuned in (True, False)
    for mode in ("residual", "replace", *["difference"][: name == "attribute"])
]
# What networks and facts rest on.
RESTS_ON: dict[Any, set[str]] = {
    MovableGenerator: {"generator"},
    Inverter: {"encoder"},
    Parser: {"parser"},
    Perceptual: {"parser", "tune.perceptual_weights"},
    AttributeSpace | None: {"attributes"},
    FaceIdentity | None: set(),
    FaceEffects | None: set(),
    "face_pixels": {"matte.size"},
    "precision.probe": {"probe"},
    "generator.resolution": {"resolution"},
    "parser.stride": {"stride"},
}


def recipe_of(name: str, tuned: bool, mode: str) -> Recipe:
    settings = {"compose.mode": mode} | small.needed(name) | ({} if tuned else OFF)
    return load_recipe(name, settings)


def declared(recipe: Recipe, made: Stage) -> set[str]:
    """Settings, parts of the pack and facts that a stage's signature names."""
    owner = made.owner
    found = set() if owner is None else {f"edit.{key}" for key in rules(type(owner))}
    tables = {cls: table for table, cls in TABLES.items()}
    for needed in made.inputs.values():
        if isinstance(needed.given, Setting):
            found.add(needed.given.path)
        elif isinstance(needed.given, Fact):
            found |= RESTS_ON[needed.given.name]
        elif needed.kind in tables:
            known = rules(needed.kind)
            found |= {f"{tables[needed.kind]}.{k}" for k, (_, r) in known.items() if r.affects}
        else:
            found |= RESTS_ON.get(needed.kind, set())
    return found


def own(flow: Flow) -> dict[str, tuple[Any, ...]]:
    """Stage → what of its key is its own, and not of its needs'."""
    return {n.name: (n.version, dict(n.settings), dict(n.weights)) for n in nodes_of(flow)}


@pytest.mark.parametrize(("name", "tuned", "mode"), COMBINATIONS)
def test_a_stage_depends_on_what_it_declares_and_on_nothing_else(
    name: str, tuned: bool, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(name, tuned, mode)
    flow = Flow(recipe, a_pack())
    before, wires = (
        own(flow),
        {s.name: declared(recipe, s) for s in flow.stages.values() if not s.each},
    )

    def check(what: set[str], other: Flow) -> None:
        want = {name for name, wired in wires.items() if wired & what}
        got = {name for name, mine in own(other).items() if mine != before[name]}
        assert got == want, what

    # A table at a time; that each setting counts by itself is tested above.
    values: dict[str, Any] = {p: v for p, (v, _) in EXPECTED.items() if not p.startswith("edit.")}
    values |= EDITS[name] | {"compose.mode": mode}
    if not tuned:
        values |= OFF
    for table in {path.partition(".")[0] for path in values}:
        paths = {p: v for p, v in values.items() if p.startswith(f"{table}.")}
        paths = {p: v() if callable(v) else v for p, v in paths.items() if p not in OTHERS}
        check(set(paths) - {"compose.mode"}, Flow(recipe.override(paths), a_pack()))
    for part in PARTS:
        check({part}, Flow(recipe, a_pack(**{part: "new"})))
    for fact, change in {"stride": {"stride": 32}, "resolution": {"resolution": 64}}.items():
        pack = a_pack()
        vars(pack.parser if fact == "stride" else pack.generator.config).update(change)
        check({fact}, Flow(recipe, pack))
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)
    without = recipe.override({"tune.precision": "float32", "render.precision": "float32"})
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)
    with_bfloat16 = own(Flow(without, a_pack()))
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)
    got = {n for n, mine in own(Flow(without, a_pack())).items() if mine != with_bfloat16[n]}
    assert got == {name for name, wired in wires.items() if "probe" in wired}


@pytest.mark.parametrize(("name", "tuned", "mode"), COMBINATIONS)
def test_a_key_rests_on_every_value_that_a_stage_takes(name: str, tuned: bool, mode: str) -> None:
    flow = Flow(recipe_of(name, tuned, mode), a_pack())
    old, new = fingerprint("old"), fingerprint("new")

    def key(node: Node, clip: str = old, changed: str = "") -> Key:
        reader: Any = SimpleNamespace(clip=SimpleNamespace(fingerprint=clip), reading="")
        runner: Any = Runner(MemoryStore(), reader)
        runner.keys = {
            other: SimpleNamespace(stage=other, digest=new if other == changed else old)
            for other in flow.stages
        }
        return runner.key(node)

    for node in nodes_of(flow):
        made, before = flow.stages[node.name], key(node)
        moved = {other for other in flow.stages if key(node, changed=other) != before}
        assert moved == set(node.needs) == set(made.values) - {"frames", "person"}
        assert set(node.inputs) == {"person"} & set(made.values)
        # Frames by another name are made by a stage, as those that an edit leaves are.
        given = {name for name, needed in made.inputs.items() if needed.kind in (Clip, Frames)}
        assert (key(node, clip=new) != before) == bool(given - set(flow.stages))


# ---- several people


def keys_of(*people: Person, recipe: Recipe | None = None) -> dict[str, str]:
    clip: Any = SimpleNamespace(fingerprint=fingerprint("clip"))
    runner = Runner(MemoryStore(), SimpleNamespace(clip=clip, reading=""))  # type: ignore[arg-type]
    nodes = nodes_of(Flow(recipe or load_recipe(small.RECIPE), a_pack()), *people)
    for node in nodes:
        runner.keys[node.name] = runner.key(node)
    return {node.name: runner.keys[node.name].digest for node in nodes}


A, B, C = (Person(n, np.array(tracks)) for n, tracks in ((1, [0, 3]), (2, [1]), (3, [2, 4])))


def test_a_persons_keys_are_the_same_whoever_else_is_edited() -> None:
    alone, both, others = keys_of(B), keys_of(A, B), keys_of(B, C)
    mine = {name for name in alone if f"{name} (person 2)" in both}
    assert {"track", "latents", "tuned", "edited", "layer"} <= mine
    for name in mine:
        assert alone[name] == both[f"{name} (person 2)"] == others[f"{name} (person 2)"]
    assert alone["composed"] != both["composed"] != others["composed"]
    assert alone["faces"] == both["faces"]


def test_no_two_people_share_a_key_of_theirs() -> None:
    both = keys_of(A, B)
    for name in ("track", "latents", "tuned", "layer"):
        assert both[f"{name} (person 1)"] != both[f"{name} (person 2)"]
    assert len(both) == len(set(both.values()))


def test_other_tracks_are_another_person() -> None:
    assert keys_of(A)["track"] != keys_of(Person(1, np.array([0])))["track"]


def test_a_reference_counts_by_what_it_shows(tmp_path: Path) -> None:
    found = []
    for name, level in (("a.png", 80), ("b.png", 80), ("c.png", 90)):
        write_png(tmp_path / name, np.full((8, 8, 3), level, np.uint8))
        recipe = load_recipe(small.RECIPE, {"align.person": str(tmp_path / name)})
        flow = Flow(recipe, a_pack())
        (node,) = (node for node in flow.nodes() if node.name == "reference")
        found.append(node.settings["picture"])
        assert flow.nodes()[0].name in ("reference", "target_color"), "before the clip is read"
    assert found[0] == found[1] != found[2]


def test_a_reference_that_is_not_there_is_refused_before_anything_runs() -> None:
    recipe = load_recipe(small.RECIPE, {"align.person": "nowhere.png"})
    with pytest.raises(SourceNotFound, match=r"nowhere\.png"):
        Flow(recipe, a_pack()).nodes()
