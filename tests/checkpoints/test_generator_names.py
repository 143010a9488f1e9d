"""Every weight of ours has one official name, and nothing is left out on either side."""

import pytest
import torch
from torch import nn

from tests.models.tiny import randomised, tiny_stylegan2_config
from vidhair.checkpoints import generator_names
from vidhair.checkpoints.names import rename
from vidhair.checkpoints.official import NameMap, load_official
from vidhair.errors import WeightsDoNotFit
from vidhair.models.generators.stylegan2 import Generator
from vidhair.models.mappers import BaldMapper, CodeMapper, LevelsMapper


class TestShapes:
    NAMES = NameMap(((r"fc\.w", "weight"), (r"fc\.b", "bias")))

    def test_values_arrive_without_their_extra_dimensions(self) -> None:
        module = nn.Linear(2, 3)
        weights = {"fc.w": torch.ones(1, 3, 2), "fc.b": torch.full([1, 3, 1, 1], 2.0)}
        load_official(module, weights, self.NAMES)
        assert torch.equal(module.weight, torch.ones(3, 2))
        assert torch.equal(module.bias, torch.full([3], 2.0))

    @pytest.mark.parametrize("shape", [(2, 3), (3, 3), (6,)])
    def test_another_shape_is_refused(self, shape: tuple[int, ...]) -> None:
        weights = {"fc.w": torch.ones(shape), "fc.b": torch.ones(3)}
        with pytest.raises(WeightsDoNotFit, match=r"weight .* instead of"):
            load_official(nn.Linear(2, 3), weights, self.NAMES)

    def test_what_is_absent_by_design_keeps_its_value(self) -> None:
        module = nn.Linear(2, 3)
        before = module.bias.clone()
        with pytest.raises(WeightsDoNotFit, match="missing: bias"):
            load_official(module, {"fc.w": torch.ones(3, 2)}, self.NAMES)
        names = NameMap(self.NAMES.table, absent=("bias",))
        load_official(module, {"fc.w": torch.ones(3, 2)}, names)
        assert torch.equal(module.bias, before) and torch.equal(module.weight, torch.ones(3, 2))


def rosinality_names(blocks: int, mapping_layers: int) -> list[str]:
    """As his `Generator.state_dict()` has them, filters included."""
    conv = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias")
    names = [f"style.{k + 1}.{n}" for k in range(mapping_layers) for n in ("weight", "bias")]
    names += ["input.input", *(f"noises.noise_{k}" for k in range(2 * blocks - 1))]
    convs = ["conv1", *(f"convs.{k}" for k in range(2 * blocks - 2))]
    torgbs = ["to_rgb1", *(f"to_rgbs.{k}" for k in range(blocks - 1))]
    names += [f"{c}.{n}" for c in convs for n in (*conv, "noise.weight", "activate.bias")]
    names += [f"{c}.{n}" for c in torgbs for n in (*conv, "bias")]
    names += [f"convs.{2 * k}.conv.blur.kernel" for k in range(blocks - 1)]
    return names + [f"to_rgbs.{k}.upsample.kernel" for k in range(blocks - 1)]


def test_stylegan2() -> None:
    config = tiny_stylegan2_config(64)
    blocks = len(config.sizes)
    names = generator_names.stylegan2(blocks, config.mapping_layers)
    renamed = rename(rosinality_names(blocks, config.mapping_layers), names.table)
    own = set(Generator(config).state_dict())
    assert len(set(renamed.values())) == len(renamed)
    assert own - set(renamed.values()) == {"mapping.w_avg"}
    assert set(renamed.values()) <= own
    assert renamed["noises.noise_3"] == "synthesis.blocks.2.conv0.noise_const"
    assert renamed["convs.5.activate.bias"] == "synthesis.blocks.3.conv1.bias"
    assert renamed["to_rgbs.1.conv.weight"] == "synthesis.blocks.2.torgb.weight"
    assert renamed["style.2.bias"] == "mapping.layers.1.bias"


def test_stylegan2_ada() -> None:
    config = tiny_stylegan2_config(64, c_dim=3)
    generator = randomised(Generator(config))
    names = generator_names.stylegan2_ada(len(config.sizes), config.mapping_layers)
    ours = {name: pattern.replace("\\", "") for pattern, name in names.table}
    assert ours["synthesis.blocks.2.conv0.noise_const"] == "synthesis.b16.conv0.noise_const"
    assert ours["mapping.layers.1.bias"] == "mapping.fc1.bias"
    official = {ours[name]: value for name, value in generator.state_dict().items()}
    official["synthesis.b8.conv0.resample_filter"] = torch.ones(4, 4)
    other = Generator(config)
    load_official(other, official, names)
    z, c = torch.ones(1, 8), torch.eye(3)[:1]
    with torch.no_grad():  # only one of them has weights that ask for gradients
        want = generator.synthesis(generator.mapping(z, c))
        assert torch.equal(other.synthesis(other.mapping(z, c)), want)


def both(*stems: str) -> list[str]:
    return [f"{stem}.{kind}" for stem in stems for kind in ("weight", "bias")]


def test_mappers() -> None:
    levels = [f"{n}_mapping.mapping.{k}" for n in ("course", "medium", "fine") for k in range(1, 5)]
    for names, official, module in (
        (generator_names.STYLECLIP_LEVELS, levels, LevelsMapper(4)),
        (
            generator_names.STYLECLIP_SINGLE,
            [f"mapping.mapping.{k}" for k in range(1, 5)],
            CodeMapper(4),
        ),
        (
            generator_names.BALD_MAPPER,
            [f"structure_mapping.fc{k}" for k in range(8)],
            BaldMapper(4),
        ),
    ):
        renamed = rename(both(*official), names.table)
        assert sorted(renamed.values()) == sorted(module.state_dict())
    assert rename(levels, generator_names.STYLECLIP_SINGLE.table) == {}
