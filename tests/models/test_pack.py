"""A pack's networks: what was written is what is loaded, and misfits are said."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.tiny import (
    TINY_STYLEGANEX,
    random,
    seeded,
    tiny_config,
    tiny_generator,
    tiny_published_encoder,
    tiny_stylegan2_config,
)
from vidhair.checkpoints.packs import write_pack
from vidhair.errors import PackDamaged, PackNotFound
from vidhair.models.encoders.inversion import ENCODERS
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.pack import BUILDERS, Pack, load_pack
from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig

ENCODER = SmallEncoderConfig(size=8, num_ws=16, w_dim=12, widths=(4,), hidden=6)
PARSER = FaceParserConfig(widths=(4, 6))


def networks() -> dict[str, tuple[Any, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, parser = SmallEncoder(ENCODER), FaceParser(PARSER)
    generator = tiny_generator()
    return {
        "generator": ("stylegan3", asdict(generator.config), generator.state_dict()),
        "encoder": ("small_encoder", asdict(ENCODER), encoder.state_dict()),
        "parser": ("face_parser", asdict(PARSER), parser.state_dict()),
        "attributes": ("attributes", {"names": ["yaw"]}, {"directions": random(1, 12)}),
    }


def write(folder: Path, **parts: tuple[Any, ...]) -> Path:
    write_pack(folder, "small", networks() | parts, {})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("packs") / "small")


def test_networks_are_those_that_were_written(folder: Path) -> None:
    pack = load_pack(folder)
    assert pack.name == "small"
    for part, (_, _, tensors) in networks().items():
        if part == "attributes":
            continue
        state = pack.build(part).state_dict()
        assert state.keys() == tensors.keys()
        for name, tensor in tensors.items():
            want = tensor.half().float() if tensor.is_floating_point() else tensor
            assert torch.equal(state[name], want), name


def test_encoder_and_parser_have_their_normalisations_folded(folder: Path) -> None:
    pack = load_pack(folder)
    for part in ("encoder", "parser"):
        built, ready = pack.build(part), getattr(pack, part)
        assert any(isinstance(m, torch.nn.BatchNorm2d) for m in built.modules())
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in ready.modules())
        image = random(2, 3, 8, 8)
        torch.testing.assert_close(ready(image), built(image))


def test_networks_are_ready_to_be_used(folder: Path) -> None:
    pack = load_pack(folder)
    for module in (pack.generator, pack.encoder, pack.parser):
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())
    ws = pack.encoder(random(2, 3, 8, 8))
    assert pack.generator.synthesis(ws).shape == (2, 3, 16, 16)
    assert pack.parser(random(1, 3, 8, 8)).shape == (1, 4, 8, 8)


def test_networks_that_are_first_used_in_inference_mode_are_none_of_it(folder: Path) -> None:
    """Kernels keep what they prepare of weights only if they can see these change."""
    pack = load_pack(folder)
    with torch.inference_mode():
        networks = pack.generator, pack.encoder, pack.parser
    for network in networks:
        assert not any(t.is_inference() for t in network.state_dict(keep_vars=True).values())


def test_a_network_is_loaded_once(folder: Path) -> None:
    pack = load_pack(folder)
    assert pack.generator is pack.generator


def test_tables_are_tensors(folder: Path) -> None:
    table = load_pack(folder).table("attributes")
    assert torch.equal(table["directions"], random(1, 12).half().float())


def test_fingerprints_tell_weights_and_configurations_apart(folder: Path, tmp_path: Path) -> None:
    pack, again = load_pack(folder), load_pack(write(tmp_path / "again"))
    prints = {part: pack.fingerprint(part) for part in networks()}
    assert len(set(prints.values())) == len(prints)
    assert {part: again.fingerprint(part) for part in prints} == prints
    w_mean = {"w_mean": torch.ones(12)}
    weights = load_pack(write(tmp_path / "w", **altered("encoder", tensors=w_mean)))
    settings = load_pack(write(tmp_path / "c", **altered("encoder", config={"size": 16})))
    both = {p.fingerprint("encoder") for p in (weights, settings)}
    assert len(both | {prints["encoder"]}) == 3
    assert weights.fingerprint("generator") == prints["generator"]


def test_a_part_that_is_not_there_has_no_fingerprint(folder: Path) -> None:
    with pytest.raises(PackDamaged, match="no part 'mapper'"):
        load_pack(folder).fingerprint("mapper")


@pytest.mark.parametrize(
    ("part", "asked"),
    [("encoder", "encoder"), ("encoder", "inverter"), ("generator", "generator")],
)
def test_a_missing_part_is_said_in_one_sentence(part: str, asked: str, tmp_path: Path) -> None:
    write_pack(tmp_path, "half", {n: p for n, p in networks().items() if n != part}, {})
    pack = load_pack(tmp_path)
    message = rf"pack 'half' has no part '{part}' \(it has .*parser.*\); use a pack that does"
    with pytest.raises(PackDamaged, match=message) as error:
        getattr(pack, asked)
    assert "\n" not in str(error.value)


def test_the_bundled_parser_stands_in(folder: Path, tmp_path: Path) -> None:
    write_pack(tmp_path, "half", {n: p for n, p in networks().items() if n != "parser"}, {})
    pack, bundled = load_pack(tmp_path), load_pack()
    assert not pack.has("parser") and load_pack(folder).has("parser")
    assert pack.fingerprint("parser") == bundled.fingerprint("parser")
    assert pack.fingerprint("parser") != load_pack(folder).fingerprint("parser")
    state, want = pack.parser.state_dict(), bundled.parser.state_dict()
    assert state.keys() == want.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in want.items())


BISENET = {"widths": [4, 8, 8, 12]}
BACKBONE = {"widths": [4, 5, 6, 8], "units": [1, 1, 1, 1]}
SKETCH = {"num_ws": [3, 2, 1], "w_dim": 5, "widths": [4, 5, 6], "units": [1, 1, 1]}
# kind → configuration as JSON gives it
CONFIGS: dict[str, dict[str, Any]] = {
    "stylegan3": asdict(tiny_config()),
    "stylegan2": asdict(tiny_stylegan2_config()),
    "small_encoder": asdict(ENCODER),
    **{kind: tiny_published_encoder(kind).plan for kind in ENCODERS},
    "face_parser": asdict(PARSER),
    "celebamask_parser": BISENET,
    "hairclip_parser": BISENET,
    "face_identity": {"size": 32, "width": 7, **BACKBONE},
    "levels_mapper": {"w_dim": 6, "medium": False},
    "code_mapper": {"w_dim": 6, "depth": 3},
    "bald_mapper": {"w_dim": 6, "depth": 2, "strength": 0.5},
    "sketch_encoder": SKETCH,
    "styleganex": asdict(TINY_STYLEGANEX),
}


def test_all_kinds_are_tried() -> None:
    assert CONFIGS.keys() == BUILDERS.keys()


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_comes_back_as_it_was_written(kind: Any, tmp_path: Path) -> None:
    module = seeded(lambda: BUILDERS[kind](CONFIGS[kind]))
    want = module.state_dict()
    write_pack(tmp_path, "one", {"part": (kind, CONFIGS[kind], want)}, {}, dtype=None)
    pack = load_pack(tmp_path)
    assert pack.files.part("part").config == json.loads(json.dumps(CONFIGS[kind]))
    got = pack.build("part")
    assert type(got) is type(module) and repr(got) == repr(module)
    assert got.state_dict().keys() == want.keys()
    assert all(torch.equal(got.state_dict()[name], tensor) for name, tensor in want.items())
    plain = {n: v for n, v in vars(module).items() if isinstance(v, (int, float, str))}
    assert {n: vars(got)[n] for n in plain} == plain


def test_float32_weights_lie_over_their_file(tmp_path: Path) -> None:
    """Nothing is copied until it is read: a pack of a gigabyte opens at once."""
    generator = tiny_generator()
    parts = {"generator": ("stylegan3", asdict(generator.config), generator.state_dict())}
    write_pack(tmp_path, "big", parts, {}, dtype=None)
    state = load_pack(tmp_path).generator.state_dict()
    ends = {t.data_ptr(): t.data_ptr() + t.nbytes for t in state.values()}
    # One after the other, as in the file behind its header; copies would be scattered.
    total = sum(t.nbytes for t in state.values())
    assert max(ends.values()) - min(ends) == total
    header = int.from_bytes((tmp_path / "generator.safetensors").read_bytes()[:8], "little")
    assert (tmp_path / "generator.safetensors").stat().st_size == 8 + header + total


def test_an_absent_pack(tmp_path: Path) -> None:
    with pytest.raises(PackNotFound, match="nowhere"):
        load_pack(tmp_path / "nowhere")


def altered(
    part: str,
    *,
    kind: Any = None,
    config: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
) -> dict[str, tuple[Any, ...]]:
    old_kind, old_config, old_tensors = networks()[part]
    return {
        part: (
            kind or old_kind,
            old_config | (config or {}),
            {n: t for n, t in (old_tensors | (tensors or {})).items() if t is not None},
        )
    }


MISFITS = {
    "missing tensor": altered("generator", tensors={"synthesis.layers.3.bias": None}),
    "surplus tensor": altered("encoder", tensors={"more": torch.ones(1)}),
    "other shape": altered("parser", tensors={"head.bias": torch.ones(5)}),
    "other size": altered("generator", config={"channel_max": 8}),
    "unknown key": altered("encoder", config={"depth": 3}),
    "wrong type": altered("encoder", config={"hidden": "many"}),
    "no layers": altered("generator", config={"num_layers": -1}),
    "no resolution": altered("generator", config={"resolution": 0}),
    "no widths": altered("parser", config={"widths": []}),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_part_that_does_not_fit_its_configuration(misfit: Any, tmp_path: Path) -> None:
    (part,) = MISFITS[misfit]
    pack = load_pack(write(tmp_path / "small", **MISFITS[misfit]))
    with pytest.raises(PackDamaged, match=f"the {part} of pack 'small' does not fit") as error:
        getattr(pack, part)
    assert "\n" not in str(error.value)


def test_the_other_parts_of_a_damaged_pack_still_load(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path / "small", **MISFITS["missing tensor"]))
    assert pack.encoder(random(1, 3, 8, 8)).shape == (1, 16, 12)


def test_a_part_of_an_unknown_kind(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path / "small", **altered("encoder", kind="transformer")))
    with pytest.raises(PackDamaged, match=r"'transformer'.*update vidhair"):
        pack.encoder  # noqa: B018


def test_an_altered_file_is_found_when_its_part_is_loaded(tmp_path: Path) -> None:
    folder = write(tmp_path / "small")
    path = folder / "generator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    pack = load_pack(folder)
    with pytest.raises(PackDamaged, match=r"generator\.safetensors"):
        pack.generator  # noqa: B018


class TestEditingVector:
    def pack(self, folder: Path, sign: Any) -> Pack:
        vector = {"editing_w": random(2, 10, 16)}
        contents = {"editing_vector": ("editing_vector", {"sign": sign}, vector)}
        write_pack(folder, "edits", contents, {}, dtype=None)
        return load_pack(folder)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_its_sign_is_the_packs(self, tmp_path: Path, sign: int) -> None:
        vector = self.pack(tmp_path / "a", sign).editing_vector
        assert torch.equal(vector.signed, sign * random(2, 10, 16)[:1])

    def test_another_sign_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(PackDamaged, match="sign of its editing vector is 'minus'"):
            self.pack(tmp_path / "a", "minus").editing_vector  # noqa: B018
