"""Nothing may be left out on either side."""

import pytest
import torch
from torch import nn

from tests.models.tiny import randomised, tiny_stylegan2_config
from vidhair.checkpoints.names import (
    STYLEGAN2_ABSENT,
    STYLEGAN2_ADA_UNUSED,
    STYLEGAN2_UNUSED,
    bald_mapper_names,
    rename,
    styleclip_mapper_names,
    stylegan2_ada_names,
    stylegan2_names,
    styleganex_fusion_names,
)
from vidhair.checkpoints.official import load_official
from vidhair.errors import PackDamaged
from vidhair.models.mappers import BaldMapper, LevelsMapper
from vidhair.models.stylegan2 import Generator
from vidhair.models.styleganex import EditAttention, SkipFusion

NAMES = {"fc.w": "weight", "fc.b": "bias"}


def weights() -> dict[str, torch.Tensor]:
    return {"fc.w": torch.ones(1, 3, 2), "fc.b": torch.full([1, 3, 1, 1], 2.0)}


def test_values_arrive_without_their_extra_dimensions():
    module = nn.Linear(2, 3)
    load_official(module, weights(), NAMES)
    assert torch.equal(module.weight, torch.ones(3, 2))
    assert torch.equal(module.bias, torch.full([3], 2.0))


def test_unknown_weights_are_refused_unless_named_as_unused():
    more = weights() | {"blur.kernel": torch.ones(4)}
    with pytest.raises(PackDamaged, match=r"unknown weights blur\.kernel"):
        load_official(nn.Linear(2, 3), more, NAMES)
    load_official(nn.Linear(2, 3), more, NAMES, unused=[r".*\.kernel"])


def test_missing_weights_are_refused_unless_they_may_be_absent():
    few = weights()
    del few["fc.b"]
    module = nn.Linear(2, 3)
    with pytest.raises(PackDamaged, match="no weights for bias"):
        load_official(module, few, NAMES)
    before = module.bias.clone()
    load_official(module, few, NAMES, absent=["bias"])
    assert torch.equal(module.bias, before)


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (6,)])
def test_another_shape_is_refused(shape):
    wrong = weights() | {"fc.w": torch.ones(shape)}
    with pytest.raises(PackDamaged, match=r"fc\.w is \["):
        load_official(nn.Linear(2, 3), wrong, NAMES)


def test_a_refused_checkpoint_changes_nothing():
    module = nn.Linear(2, 3)
    before = module.weight.clone()
    with pytest.raises(PackDamaged):
        load_official(module, weights() | {"x": torch.ones(1)}, NAMES)
    assert torch.equal(module.weight, before)


def test_every_weight_of_stylegan2_has_one_official_name():
    config = tiny_stylegan2_config(64)
    generator = randomised(Generator(config))
    names = stylegan2_names(len(config.sizes), config.mapping_layers)
    assert sorted([*names.values(), *STYLEGAN2_ABSENT]) == sorted(generator.state_dict())
    assert names["noises.noise_3"] == "synthesis.blocks.2.conv0.noise_const"
    assert names["convs.5.activate.bias"] == "synthesis.blocks.3.conv1.bias"
    assert names["to_rgbs.1.conv.weight"] == "synthesis.blocks.2.torgb.weight"
    assert names["style.2.bias"] == "mapping.layers.1.bias"
    fixed = ["convs.0.conv.blur.kernel", "to_rgbs.1.upsample.kernel", "to_rgbs.0.blur_weight"]
    assert len(rename(fixed, tuple((p, "") for p in STYLEGAN2_UNUSED))) == 3


def test_every_weight_of_the_mappers_has_one_official_name():
    names = styleclip_mapper_names()
    assert set(LevelsMapper(4).state_dict()) <= set(names.values())
    assert names["course_mapping.mapping.1.weight"] == "coarse.layers.0.weight"
    official = [f"structure_mapping.fc{k}.{kind}" for k in range(8) for kind in ("weight", "bias")]
    assert set(bald_mapper_names(official).values()) == set(BaldMapper(4).state_dict())


def test_every_weight_of_a_fusion_has_one_official_name():
    layers = nn.ModuleList([SkipFusion(2, 3, attention=EditAttention(3, 4, depth=1))])
    stems = ("transform.0", "fusion_out", "fusion_skip", "linear.0", "linear.2", "norm.style")
    official = [f"0.{s}.{kind}" for s in (*stems, "conv") for kind in ("weight", "bias")]
    assert sorted(styleganex_fusion_names(official).values()) == sorted(layers.state_dict())


def test_names_of_stylegan2_ada_cover_every_weight():
    config = tiny_stylegan2_config(64, c_dim=3)
    generator = randomised(Generator(config))
    names = stylegan2_ada_names(len(config.sizes), config.mapping_layers)
    assert set(generator.state_dict()) <= set(names.values())
    assert names["synthesis.b16.conv0.noise_const"] == "synthesis.blocks.2.conv0.noise_const"
    assert names["mapping.fc1.bias"] == "mapping.layers.1.bias"
    ours = {name: official for official, name in names.items()}
    official = {ours[name]: value for name, value in generator.state_dict().items()}
    official["synthesis.b8.conv0.resample_filter"] = torch.ones(4, 4)
    other = Generator(config)
    load_official(other, official, names, unused=STYLEGAN2_ADA_UNUSED)
    z, c = torch.ones(1, 8), torch.eye(3)[:1]
    want = generator.synthesis(generator.mapping(z, c))
    assert torch.equal(other.synthesis(other.mapping(z, c)), want)
