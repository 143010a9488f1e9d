"""Components, factorised directions, channels of S and mappers: what they add, and what is
refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests import small
from tests.edits.codes import COUNT, PRESENT, RAMP, TRACK, steady
from tests.models.tiny import random
from tests.stages.faces import clip_of
from tests.stages.series import InMemory
from vidhair.edits import Channels, Component, Mapper, Sefa
from vidhair.edits.channels import parsed_channels
from vidhair.edits.edit import Edit
from vidhair.edits.latents import factorize, set_component
from vidhair.edits.style_space import style_sizes, style_spread
from vidhair.errors import CheckpointUnreadable, InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.models.generators.sampling import sampled_codes, style_statistics
from vidhair.models.pack import Pack
from vidhair.recipe import build
from vidhair.stages.render import Codes, DrawnChange, no_drawn_change

pytestmark = pytest.mark.usefixtures("one_thread")

W = small.WIDTH
KINDS: list[Callable[[], Pack]] = [small.stylegan2_pack, small.stylegan3_pack]
K = 5
TABLE = {
    "mean": random(1, W, seed=1),
    "comp": torch.linalg.qr(random(W, W, seed=2))[0][:K, None].contiguous(),
    "std": random(K, seed=3).abs() + 0.5,
}


def codes_of(pack: Pack) -> NDArray[np.float32]:
    return random(COUNT, pack.generator.config.num_ws, W, seed=9).numpy()


@pytest.fixture
def components(tmp_path: Path) -> str:
    """As encoder4editing has them."""
    torch.save(TABLE, tmp_path / "pca.pt")
    return str(tmp_path / "pca.pt")


# ---- components


@pytest.mark.parametrize("ending", ["pt", "npz", "packed npz", "safetensors"])
def test_components_are_read_as_they_are_published(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pca.{ending.split()[-1]}"
    if ending == "pt":
        torch.save(TABLE, path)
    elif ending == "safetensors":
        save_file(TABLE, path)
    else:
        names = zip(("lat_mean", "lat_comp", "lat_stdev"), TABLE.values(), strict=True)
        arrays = {name: x.numpy() for name, x in names} | {"act_comp": np.arange(9)}
        (np.savez_compressed if ending == "packed npz" else np.savez)(path, **arrays)
    edit = Component(file=str(path), component=3)
    edit.check(small.stylegan2_pack(), "edit")
    generator = small.stylegan2_pack().generator
    want = (TABLE["std"][3] * TABLE["comp"][3, 0]).expand(generator.config.num_ws, -1)
    torch.testing.assert_close(edit.change(generator, None), want)


def test_a_value_that_is_set_is_encoder4editings(components: str) -> None:
    """Its `edit` of (component, first code, end, strength), at the mean of each shot's codes."""
    generator, value = small.stylegan2_pack().generator, steady(-3.0)
    edit = Component(file=components, component=2, layers="4-6", by="set")
    before = codes_of(small.stylegan2_pack())
    stood = edit.stand(InMemory(Codes(before)), InMemory(TRACK))
    got = edit.valued(Codes(before), TRACK, value, stood, generator).styles
    assert np.array_equal(got[~PRESENT], before[~PRESENT])
    mean, comp, std = (TABLE[name] for name in ("mean", "comp", "std"))
    for shot in (range(4), range(4, COUNT)):
        frames = [frame for frame in shot if PRESENT[frame]]
        centre = torch.from_numpy(before[frames].mean(0))
        position = ((centre[0] - mean[0]) * comp[2, 0]).sum() / std[2]
        delta = (-3.0 - position) * comp[2, 0] * std[2]
        for frame in frames:
            want = before[frame].copy()
            want[4:7] += delta.numpy()
            np.testing.assert_allclose(got[frame], want, atol=1e-5)


def test_added_deviations_are_the_same_for_all_frames(components: str) -> None:
    generator = small.stylegan3_pack().generator
    edit = Component(file=components, component=1, layers="coarse")
    before = codes_of(small.stylegan3_pack())
    step = edit.code_step(generator)
    got = edit.stepped(Codes(before), TRACK, RAMP, step).styles - before
    middle, _ = generator.config.level_ends
    want = RAMP.values[:, None, None] * (TABLE["std"][1] * TABLE["comp"][1]).numpy()
    np.testing.assert_allclose(
        got[PRESENT][:, :middle], np.repeat(want[PRESENT], middle, 1), atol=1e-5
    )
    assert not got[:, middle:].any() and not got[~PRESENT].any()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mean": TABLE["mean"]}, "has no mean, comp, std"),
        (TABLE | {"std": -TABLE["std"]}, "mean or deviations that are none"),
        (TABLE | {"std": TABLE["std"][:2]}, "of the shape .* for 2 deviations"),
        (TABLE | {"mean": torch.full((1, W), torch.nan)}, "mean or deviations that are none"),
        (TABLE | {"comp": TABLE["comp"].long()}, "components that are no numbers"),
    ],
)
def test_tables_that_hold_no_components(tmp_path: Path, table: Any, said: str) -> None:
    torch.save(table, tmp_path / "pca.pt")
    with pytest.raises(CheckpointUnreadable, match=said):
        Component(file=str(tmp_path / "pca.pt")).check(small.stylegan2_pack(), "edit")


def test_an_archive_of_other_arrays_or_of_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", codes=np.ones(4))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:60])
    (tmp_path / "object.npz").write_bytes(b"")
    np.savez(tmp_path / "object.npz", lat_mean=np.array([{}], object))
    for name in ("other", "cut", "object"):
        with pytest.raises(CheckpointUnreadable, match=rf"{name}\.npz"):
            Component(file=str(tmp_path / f"{name}.npz")).check(small.stylegan2_pack(), "edit")


# ---- factorised directions


@pytest.mark.parametrize("pack", KINDS)
def test_codes_move_along_what_their_own_layers_feel(pack: Callable[[], Pack]) -> None:
    generator = pack().generator
    edit = Sefa(component=1, layers="2-4")
    edit.check(pack(), "edit")
    step = edit.change(generator, None)
    weights = [w for code, w in generator.synthesis.code_affines() if code in (2, 3, 4)]
    directions, _ = factorize(weights)
    assert abs(float(step[3] @ directions[1])) == pytest.approx(1, abs=1e-4)
    assert torch.equal(step[2], step[4]) and step[3].abs().max() == step[3].max()
    assert not step[:2].any() and not step[5:].any()


@pytest.mark.parametrize("pack", KINDS)
def test_styles_depend_on_the_codes_that_are_said(pack: Callable[[], Pack]) -> None:
    synthesis, config = pack().generator.synthesis, pack().generator.config
    for code, weight in synthesis.code_affines():
        codes = torch.zeros(2, config.num_ws, W)
        codes[1, code] = 1
        sizes = {tuple(s.shape) for s in synthesis.styles(codes) if not torch.equal(s[0], s[1])}
        assert (2, len(weight)) in sizes


def test_the_transforms_code_does_not_move(components: str) -> None:
    assert not Sefa().change(small.stylegan3_pack().generator, None)[0].any()
    with pytest.raises(InvalidSetting, match=r"edit\.layers = '0' are codes of no convolution"):
        Sefa(layers="0").check(small.stylegan3_pack(), "edit")


# ---- channels


def test_channels_as_they_are_written() -> None:
    assert parsed_channels(" 6/501:-2,9_409 ", "") == [(6, 501, -2.0), (9, 409, 1.0)]
    for text in ("6-501", "6_501:", "6_501:x", "_3", "6_501,", "1_2:1e9"):
        with pytest.raises(InvalidSetting, match=r"edit\.channels = .* is no list of channels"):
            parsed_channels(text, "edit.channels")


@pytest.mark.parametrize("pack", KINDS)
def test_a_channel_moves_by_its_deviations_alone(pack: Callable[[], Pack]) -> None:
    generator = pack().generator
    spread = style_spread(generator)
    edit = Channels(channels="3/1:-2, 2/0")
    edit.check(pack(), "edit")
    parts = np.split(edit.style_change(spread), np.cumsum(spread.sizes)[:-1])
    spreads = np.split(spread.deviation, np.cumsum(spread.sizes)[:-1])
    assert parts[3][1] == -2 * spreads[3][1] != 0 and parts[2][0] == spreads[2][0] != 0
    assert sum(np.count_nonzero(part) for part in parts) == 2
    made = edit.of_styles(spread, InMemory(RAMP), InMemory(unchanged(len(RAMP.values))))
    assert np.array_equal(made.strength, RAMP.values[:, None])
    assert np.array_equal(made.styles, np.concatenate(parts)[None, None])
    assert not made.features.size


def unchanged(count: int) -> DrawnChange:
    return no_drawn_change(clip_of(8, 8, np.arange(count).tolist()))


def test_channels_of_several_edits_add_up_each_by_its_own_strength() -> None:
    generator = small.stylegan3_pack().generator
    spread, count = style_spread(generator), len(RAMP.values)
    first, second = Channels(channels="3/1"), Channels(channels="2/0:-2, 3/1")
    half = steady(0.5)
    one = first.of_styles(spread, InMemory(RAMP), InMemory(unchanged(count)))
    both = second.of_styles(spread, InMemory(half), InMemory(one))
    a, b = (edit.style_change(spread) for edit in (first, second))
    want = RAMP.values[:, None] * a + 0.5 * b
    got = both.of_frames("styles", range(count)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-6)
    part = both.rows(1, 3).of_frames("styles", range(1, 3)).numpy()
    assert np.array_equal(part, got[1:3])
    each = DrawnChange(one.strength, np.repeat(one.styles, count, 0), one.features)
    assert np.array_equal(each.with_styles(half.values, b).of_frames("styles", range(count)), got)


@pytest.mark.parametrize("pack", KINDS)
def test_the_spread_is_that_of_random_faces(pack: Callable[[], Pack]) -> None:
    generator = pack().generator
    mean, deviation = style_statistics(generator, 300, 0.5, 3)
    codes = torch.cat(list(sampled_codes(generator, 300, truncation_psi=0.5, truncation_cutoff=3)))
    assert codes.shape == (300, generator.config.num_ws, W)
    styles = torch.cat(generator.synthesis.styles(codes), 1)
    torch.testing.assert_close(mean, styles.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(deviation, styles.std(0, correction=0), atol=1e-5, rtol=1e-3)
    assert sum(style_sizes(generator)) == len(mean)


def test_channels_of_a_file_are_those_that_are_written(tmp_path: Path) -> None:
    table = {
        "layer": torch.tensor([3, 2]),
        "channel": torch.tensor([1, 0]),
        "amount": torch.tensor([-2.0, 1.0]),
    }
    save_file(table, tmp_path / "found.safetensors")
    by_file = Channels(file=str(tmp_path / "found.safetensors"))
    written = Channels(channels="3_1:-2, 2_0:1")
    by_file.check(small.stylegan2_pack(), "edit")
    assert list(by_file.chosen()) == list(written.chosen())
    for name, bad in (
        ("layer", torch.tensor([-3, 2])), ("channel", torch.tensor([1.0, 0.0])),
        ("amount", torch.tensor([1.0])), ("amount", torch.tensor([torch.nan, 1.0])),
    ):  # fmt: skip
        save_file(table | {name: bad}, tmp_path / "bad.safetensors")
        with pytest.raises(CheckpointUnreadable, match=r"bad\.safetensors holds"):
            Channels(file=str(tmp_path / "bad.safetensors")).check(small.stylegan2_pack(), "edit")


# ---- mappers


def test_a_mapper_makes_one_change_per_shot() -> None:
    pack, edit = small.stylegan2_pack(), Mapper()
    edit.check(pack, "edit")
    before = codes_of(pack)
    made = edit.shot_changes(InMemory(Codes(before)), InMemory(TRACK), pack.mappers)
    network = pack.build("mapper-afro")
    for shot, frames in enumerate(([0, 1, 3], [4, 5])):
        mean = torch.from_numpy(before[frames].mean(0, keepdims=True))
        want = 0.1 * network(mean)[0].numpy()
        np.testing.assert_allclose(made.styles[shot], want, atol=1e-6)
    got = edit.mapped(Codes(before), TRACK, RAMP, made).styles - before
    want = RAMP.values[PRESENT, None, None] * made.styles[made.shot[PRESENT]]
    np.testing.assert_allclose(got[PRESENT], want, atol=1e-6)
    assert np.abs(made.styles).max() > 0 and not got[~PRESENT].any()


# ---- all


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Component(), r"edit\.file is not given; name a file of components"),
        (Sefa(component=W), rf"edit\.component = {W} is not there; .* give 0 … {W - 1}"),
        (Sefa(layers="x"), r"edit\.layers = 'x' names no codes"),
        (Channels(), r"edit\.channels or edit\.file is needed, and neither is given"),
        (Channels(channels="1_1", file="x"), "and both are given"),
        (Channels(channels="99_1"), "there is no layer 99; this pack's generator has"),
        (Channels(channels="1_9999"), "layer 1 of .* so there is no 1/9999"),
        (Mapper(name="bob"), r"edit\.name = 'bob' is no mapper of this pack; it has afro"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Edit) else "",
)
def test_what_does_not_fit_is_refused(edit: Edit, said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        edit.check(small.stylegan2_pack(), "edit")


def test_what_does_not_fit_a_file_is_refused(components: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=rf"component = {K} is not in .* give 0 … {K - 1}"):
        Component(file=components, component=K).check(small.stylegan2_pack(), "edit")
    torch.save(TABLE | {"mean": torch.ones(7), "comp": torch.ones(K, 7)}, tmp_path / "narrow.pt")
    with pytest.raises(InvalidSetting, match=f"rows of 7 numbers, .* have {W}; take one"):
        Component(file=str(tmp_path / "narrow.pt")).check(small.stylegan2_pack(), "edit")


def test_a_file_of_channels_of_another_generator_is_named(tmp_path: Path) -> None:
    place = torch.tensor([99])
    table = {"layer": place, "channel": place.clone(), "amount": torch.ones(1)}
    save_file(table, tmp_path / "found.safetensors")
    with pytest.raises(InvalidSetting, match=r"edit\.file = .*found.* there is no layer 99"):
        Channels(file=str(tmp_path / "found.safetensors")).check(small.stylegan2_pack(), "edit")


def test_a_pack_without_mappers_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="needs a pack with a mapper of StyleCLIP"):
        Mapper().check(small.stylegan3_pack(), "edit")


def test_edits_of_styles_stack_and_none_that_is_found_does_with_them() -> None:
    channels: dict[str, Any] = {"kind": "channels", "channels": "3_1"}
    stages = Flow(build("both", "", {"edit": [channels, channels]}), small.pack()).stages
    assert "drawn_change_1" in stages["drawn_change"].values
    assert "former_drawn" in stages["drawn_change_1"].values
    assert [name for name in stages if name.startswith("style_spread")] == ["style_spread"]
    found = {"kind": "hair_mask", "mask": str(small.painted_hair()), "space": "s"}
    with pytest.raises(InvalidSetting, match=r"edit\.2 changes more than codes, as edit\.1 does"):
        Flow(build("both", "", {"edit": [channels, found]}), small.pack())


def test_set_components_are_not_moved_in_the_frames(components: str) -> None:
    table = {"kind": "component", "file": components, "by": "set"}
    recipe = build("set", "", {"edit": table, "compose": {"mode": "difference"}})
    with pytest.raises(InvalidSetting, match=r"edit\.by = 'set' differs between people"):
        Flow(recipe, small.stylegan2_pack())


def test_the_component_is_in_the_key_and_the_files_name_is_not(
    components: str, tmp_path: Path
) -> None:
    torch.save(TABLE, tmp_path / "again.pt")
    one, same = (Component(file=f).identity() for f in (components, str(tmp_path / "again.pt")))
    assert one == same != Component(file=components, component=1).identity()


def test_values_of_every_frame_at_once() -> None:
    codes, component = random(3, 4, W), TABLE["comp"][0, 0]
    values = torch.tensor([1.0, -2.0, 0.5])
    at_once = set_component(codes, TABLE["mean"], component, 2.0, values, [1, 3])
    for row, value in enumerate(values.tolist()):
        alone = set_component(
            codes[row : row + 1], TABLE["mean"], component, 2.0, value, slice(1, 4, 2)
        )
        torch.testing.assert_close(at_once[row], alone[0])
