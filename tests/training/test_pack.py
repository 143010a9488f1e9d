"""A pack from nothing, with few steps of everything: that the parts fit, not that they learn."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.world import RECIPE, SHARD, SIZE, InProcess
from vidhair.checkpoints.packs import BUNDLED, bundled_folder
from vidhair.errors import InvalidSetting, OutputNotWritable
from vidhair.models.encoders.small import SmallEncoder
from vidhair.models.pack import load_pack
from vidhair.synthetic.params import column_names
from vidhair.training import dataset, portraits
from vidhair.training.pack import RECIPES, measure_effects, train_pack, train_parser_alone

pytestmark = pytest.mark.usefixtures("one_thread")


def small_shards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dataset, "SHARD_TRACES", SHARD)
    patch.setattr(portraits, "SHARD_PEOPLE", SHARD // 2)
    for module in (dataset, portraits):
        patch.setattr(module, "ProcessPoolExecutor", InProcess)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(folder of the work, folder of the pack)."""
    folder = tmp_path_factory.mktemp("train")
    work, target = folder / "work", folder / "pack"
    with pytest.MonkeyPatch.context() as patch:
        small_shards(patch)
        threads = torch.get_num_threads()
        train_pack(RECIPE, work, target, seed=1, device="cpu")
        torch.set_num_threads(threads)
    return work, target


def test_the_pack_is_complete(trained: Any) -> None:
    _, target = trained
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["name"] == "trained"
    assert list(manifest["parts"]) == ["generator", "encoder", "parser", "attributes", "world"]
    assert manifest["training"]["seed"] == 1
    assert manifest["training"]["recipe"]["generator"]["phases"] == [[16, 2, 4], [32, 2, 4]]
    quality = manifest["quality"]
    assert set(quality) >= {
        "generator_held_out_psnr_db",
        "encoder_held_out_psnr_db",
        "parser_iou_hair",
        "parser_iou_skin",
    }
    assert 0 <= quality["parser_iou_hair"] <= 1 and -20 < quality["encoder_held_out_psnr_db"] < 60


@torch.no_grad()
def test_its_networks_work_together(trained: Any) -> None:
    pack = load_pack(trained[1])
    picture = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    codes = pack.encoder(picture)
    assert codes.shape == (2, pack.generator.config.num_ws, pack.generator.config.w_dim)
    assert pack.generator.synthesis(codes).shape == picture.shape
    assert pack.parser(picture).shape == (2, 4, SIZE, SIZE)
    assert pack.files.parts["attributes"].config["names"] == list(column_names())
    assert float(pack.generator.mapping.w_avg.abs().max()) > 0


def test_the_parser_learns_from_people_of_the_second_world(trained: Any) -> None:
    work = trained[0]
    assert len(list((work / "people").glob("*.safetensors"))) == 2
    assert {p.name.split("_")[0] for p in (work / "faces").iterdir()} == {"aligned", "moved"}


def test_the_parser_alone_leaves_the_rest_of_the_bundled_pack_as_it_is(
    trained: Any, tmp_path: Path
) -> None:
    """The parser that the whole training made is taken up, and nothing else is trained."""
    work, pack = trained
    with pytest.MonkeyPatch.context() as patch:
        small_shards(patch)
        train_parser_alone(RECIPE, work, tmp_path / "new", seed=1, device="cpu")
    new, bundled = tmp_path / "new", bundled_folder() / BUNDLED
    manifests = [json.loads((f / "manifest.json").read_text()) for f in (new, bundled)]
    parts, before = (m["parts"] for m in manifests)
    assert list(parts) == list(before)
    assert {n for n in parts if parts[n] != before[n]} == {"parser"}
    assert (new / "parser.safetensors").read_bytes() == (pack / "parser.safetensors").read_bytes()
    assert parts["parser"]["config"]["widths"] == [4, 8]
    assert manifests[0]["training"]["parser"]["recipe"]["people"] == 4
    assert manifests[0]["training"]["recipe"] == manifests[1]["training"]["recipe"]
    assert manifests[0]["quality"].keys() == manifests[1]["quality"].keys()


def test_a_second_call_trains_nothing_and_gives_the_same_pack(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, target = trained

    def no_more(*_: Any) -> None:
        raise AssertionError("made again")

    small_shards(monkeypatch)
    for module, job in ((dataset, "_shard_job"), (portraits, "_portrait_job")):
        monkeypatch.setattr(module, job, no_more)
    monkeypatch.setattr(torch.optim.AdamW, "step", no_more)
    train_pack(RECIPE, work, tmp_path / "again", seed=1, device="cpu")
    for path in target.glob("*.safetensors"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_pack_that_cannot_be_written(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = trained
    (tmp_path / "file").touch()
    small_shards(monkeypatch)
    with pytest.raises(OutputNotWritable, match="file/pack"):
        train_pack(RECIPE, work, tmp_path / "file" / "pack", seed=1, device="cpu")


@pytest.mark.parametrize("name", RECIPES)
def test_codes_of_the_shipped_recipes_fit(name: str) -> None:
    recipe = RECIPES[name]
    config, encoder = recipe.generator.generator, recipe.encoder.encoder
    assert (encoder.num_ws, encoder.w_dim) == (config.num_ws, config.w_dim)


@pytest.mark.parametrize("name", RECIPES)
@torch.no_grad()
def test_the_encoders_of_the_shipped_recipes_take_their_pictures(name: str) -> None:
    recipe = RECIPES[name]
    picture = torch.zeros(1, 3, recipe.size, recipe.size)
    codes = SmallEncoder(recipe.encoder.encoder).eval()(picture)
    assert codes.shape[0] == 1


def test_the_tiny_recipe_takes_seconds() -> None:
    recipe = RECIPES["tiny"]
    assert recipe.generator.steps <= 20
    assert recipe.parser.steps <= 20 and recipe.encoder.steps <= 20


def test_traces_leave_something_to_train_on() -> None:
    """The first shard of every group is held out."""
    for recipe in RECIPES.values():
        assert min(recipe.traces.values()) > dataset.SHARD_TRACES
        assert recipe.parser.people > portraits.SHARD_PEOPLE


def test_effects_need_people_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="'tiny' looks at nobody"):
        measure_effects(RECIPES["tiny"], tmp_path, tmp_path / "new", seed=0, device="cpu")
    assert not (tmp_path / "new").exists()
