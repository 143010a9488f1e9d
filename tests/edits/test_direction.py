"""Directions of others: which codes move, how far, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests import small
from tests.edits.codes import LAYERS, PRESENT, RAMP, TRACK, D, steady, styles
from tests.flow.made_up import nodes_of
from tests.models.tiny import random
from vidhair.edits import Direction, Mix
from vidhair.edits.edit import Strength
from vidhair.edits.latent_file import chosen_layers
from vidhair.errors import CheckpointUnreadable, InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.models.generators.mapping import GeneratorConfig
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import StyleGAN3Config
from vidhair.recipe import build
from vidhair.stages.render import Codes

STACK = "edited_codes_1", "edited_codes"
ROW = random(D, seed=5).numpy()
EACH = random(LAYERS, D, seed=6).numpy()
CONFIG: Any = SimpleNamespace(num_ws=LAYERS, w_dim=D, level_ends=(1, 3))
GENERATOR: Any = SimpleNamespace(config=CONFIG)
PACK: Any = SimpleNamespace(generator=GENERATOR)


def saved(path: Path, array: NDArray[Any]) -> str:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        torch.save(torch.from_numpy(array), path)
    return str(path)


def change(strength: Strength, **settings: Any) -> NDArray[Any]:
    given = Codes(styles())
    edit = Direction(**settings)
    got = edit.stepped(given, TRACK, strength, edit.code_step(GENERATOR)).styles
    assert np.array_equal(given.styles, styles())
    assert not (got - styles())[~PRESENT].any()
    return (got - styles())[PRESENT]


@pytest.mark.parametrize("name", ["age.npy", "age.pt"])
@pytest.mark.parametrize("shape", [(D,), (1, D), (1, 1, D)])
def test_one_row_moves_all_codes_by_their_frames_strength(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    got = change(RAMP, file=saved(tmp_path / name, ROW.reshape(shape)))
    want = RAMP.values[PRESENT, None, None] * ROW
    np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-6)


def test_only_the_chosen_codes_move(tmp_path: Path) -> None:
    got = change(steady(-2.0), file=saved(tmp_path / "age.npy", ROW), layers="0, 2-3")
    assert not got[:, 1].any()
    np.testing.assert_allclose(got[:, [0, 2, 3]], np.broadcast_to(-2 * ROW, (5, 3, D)), atol=1e-6)


@pytest.mark.parametrize("name", ["age.npy", "age.pt"])
@pytest.mark.parametrize("layers", ["all", "1,3"])
def test_a_row_per_code_moves_each_its_own_way(tmp_path: Path, name: str, layers: str) -> None:
    got = change(steady(1.0), file=saved(tmp_path / name, EACH[None]), layers=layers)
    want = EACH * np.isin(np.arange(LAYERS), chosen_layers(layers, CONFIG))[:, None]
    np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-6)


@pytest.mark.parametrize("layers", ["all", "1,3"])
@pytest.mark.parametrize("strength", [steady(1.0), RAMP], ids=["steady", "ramp"])
@pytest.mark.parametrize("array", [ROW, EACH], ids=["one", "each"])
def test_mixing_goes_some_of_the_way_to_the_codes_of_the_file(
    tmp_path: Path, array: NDArray[Any], strength: Strength, layers: str
) -> None:
    edit = Mix(file=saved(tmp_path / "code.npy", array), layers=layers)
    got = edit.mixed(Codes(styles()), TRACK, strength, GENERATOR).styles
    share = strength.values[:, None, None] * PRESENT[:, None, None]
    share = share * np.isin(np.arange(LAYERS), chosen_layers(layers, CONFIG))[:, None]
    np.testing.assert_allclose(got, styles() + share * (array - styles()), atol=1e-5)


def test_the_flow_takes_both_and_their_keys_hold_the_numbers(tmp_path: Path) -> None:
    files = saved(tmp_path / "a.npy", np.ones(32)), saved(tmp_path / "b.npy", np.arange(32.0))
    mix = {"kind": "mix", "file": files[0]}
    stacks = [[mix, {"kind": "direction", "file": file}] for file in files]
    flows = [Flow(build("own", "", {"edit": edits}), small.pack()) for edits in stacks]
    nodes = [{node.name: node for node in nodes_of(flow)} for flow in flows]
    first, second = (tuple(flow[n].settings for n in STACK) for flow in nodes)
    assert first[0] == second[0] and first[1] != second[1]
    assert nodes[0]["edited_codes"].needs == (
        "edited_codes_1", "track", "strength", "code_step",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("coarse", [0]), ("middle", [1, 2]), ("fine", [3]), ("fine, coarse", [0, 3]),
        (2, [2]), ("middle,0", [0, 1, 2]), ("all", [0, 1, 2, 3]), ("all,1", [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_levels_are_named(text: int | str, chosen: list[int]) -> None:
    assert chosen_layers(text, CONFIG) == chosen


def test_a_level_that_a_small_generator_lacks_is_not_offered() -> None:
    few: Any = SimpleNamespace(num_ws=6, level_ends=(4, 8))
    assert chosen_layers("middle", few) == [4, 5]
    with pytest.raises(InvalidSetting, match=r"give all, coarse \(0-3\), middle \(4-5\), or"):
        chosen_layers("fine", few)


@pytest.mark.parametrize(
    ("config", "ends"),
    [
        (StyleGAN2Config(resolution=1024), (4, 8)),
        # Codes of the layers up to a rate of 16, and up to 32, with that of the transform.
        (StyleGAN3Config(resolution=1024), (3, 5)),
        (StyleGAN3Config(resolution=512), (3, 5)),
        (StyleGAN3Config(resolution=256), (4, 6)),
    ],
    ids=["SG2", "SG3-1024", "SG3-512", "SG3-256"],
)
def test_levels_of_published_generators(config: GeneratorConfig, ends: tuple[int, int]) -> None:
    assert config.level_ends == ends


def test_the_order_of_numbers_is_the_files(tmp_path: Path) -> None:
    np.save(tmp_path / "columns.npy", np.asfortranarray(EACH))
    got = change(steady(1.0), file=str(tmp_path / "columns.npy"))
    np.testing.assert_allclose(got, np.broadcast_to(EACH, got.shape), atol=1e-6)


def test_one_row_of_several(tmp_path: Path) -> None:
    got = change(steady(1.0), file=saved(tmp_path / "all.npy", EACH[:3]), row=2)
    np.testing.assert_allclose(got, np.broadcast_to(EACH[2], got.shape), atol=1e-6)


def test_the_numbers_are_in_the_key_and_the_files_name_is_not(tmp_path: Path) -> None:
    one, same, other = (
        Direction(file=saved(tmp_path / name, row)).identity()
        for name, row in (("a.npy", ROW), ("b.pt", ROW), ("c.npy", ROW * 2))
    )
    assert one == same != other
    assert one["kind"] == "direction" and one["layers"] == "all"


@pytest.mark.parametrize(
    ("array", "settings", "said"),
    [
        (ROW[:-1], {}, rf"edit\.2\.file = .* of {D - 1} numbers, .* have {D}; take one"),
        (EACH[:3], {}, r"edit\.2\.file = .* holds 3 rows; choose one by edit\.2\.row"),
        (EACH[:3], {"row": 3}, r"edit\.2\.row = 3 is not in .* give 0 … 2"),
        (ROW, {"layers": "4"}, r"edit\.2\.layers = '4' names no codes; .* from 0 to 3"),
        (ROW, {"layers": "2-1"}, "names no codes"),
        (ROW, {"layers": ""}, "names no codes"),
        (ROW, {"layers": "1,,2"}, "names no codes"),
        (ROW, {"layers": "-1"}, "names no codes"),
        (ROW, {"layers": "none"}, r"coarse \(0-0\), middle \(1-2\), fine \(3-3\), or numbers"),
    ],
)
def test_what_does_not_fit_the_pack_is_refused_before_any_work(
    tmp_path: Path, array: NDArray[Any], settings: dict[str, Any], said: str
) -> None:
    edit = Direction(file=saved(tmp_path / "age.npy", array), **settings)
    with pytest.raises(InvalidSetting, match=said):
        edit.check(PACK, "edit.2")


def test_what_fits_is_not_refused(tmp_path: Path) -> None:
    for array, row in ((ROW, None), (EACH, None), (EACH[:3], 1)):
        Direction(file=saved(tmp_path / "age.npy", array), row=row).check(PACK, "edit")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"edit\.file is not given"):
        Direction().check(PACK, "edit")
    torch.save({"age": torch.ones(D)}, tmp_path / "table.pt")
    torch.save(torch.ones(2, 3, D), tmp_path / "deep.pt")
    torch.save(torch.ones(D, dtype=torch.int64), tmp_path / "whole.pt")
    torch.save(torch.full((D,), torch.nan), tmp_path / "nan.pt")
    for name in ("absent.npy", "table.pt", "deep.pt", "whole.pt", "nan.pt"):
        with pytest.raises(CheckpointUnreadable, match=name):
            Direction(file=str(tmp_path / name)).check(PACK, "edit")
