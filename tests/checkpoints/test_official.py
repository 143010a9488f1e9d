"""Official weights: all of both sides, or an error that says what is wrong."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from vidhair.checkpoints import encoder_names
from vidhair.checkpoints.names import rename
from vidhair.checkpoints.official import NameMap, load_official, under
from vidhair.errors import WeightsDoNotFit
from vidhair.models.encoders.style import (
    E4eEncoder,
    RestylePspEncoder,
    SketchEncoder,
    StyleEncoderConfig,
    WEncoder,
)
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.parsers.bisenet import CelebAMaskParser, HairClipParser
from vidhair.models.skip_init import SkipInit

NAMES = NameMap(
    ((r"fc\.(weight|bias)", r"linear.\1"), (r"bn\.(\w+)", r"norm.\1")), unused=(r"old\..+",)
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    rows = {n: torch.randn(3, generator=g) for n in ("weight", "bias", "running_mean")}
    return {
        "fc.weight": torch.randn(3, 2, generator=g),
        "fc.bias": torch.randn(3, generator=g),
        **{f"bn.{name}": value for name, value in rows.items()},
        "bn.running_var": torch.rand(3, generator=g),
        "bn.num_batches_tracked": torch.tensor(7),
        "old.weight": torch.zeros(1),
    }


def test_all_tensors_arrive(weights: dict[str, torch.Tensor]) -> None:
    net = Net()
    load_official(net, weights, NAMES)
    assert torch.equal(net.linear.weight, weights["fc.weight"])
    assert torch.equal(net.state_dict()["norm.running_var"], weights["bn.running_var"])
    assert net.norm.num_batches_tracked == 7


def test_what_may_be_absent(weights: dict[str, torch.Tensor]) -> None:
    del weights["bn.num_batches_tracked"], weights["old.weight"]
    load_official(Net(), weights, NAMES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("bn.running_mean"), "missing: norm.running_mean"),
        (lambda w: w.update(surprise=torch.zeros(1)), "unknown: surprise"),
        (lambda w: w.update({"bn.extra": torch.zeros(1)}), "unknown: bn.extra"),
        (lambda w: w.update({"fc.bias": torch.zeros(4)}), r"linear.bias \(4,\) instead of \(3,\)"),
        (lambda w: w.clear(), "missing: linear.weight, linear.bias, norm.weight and 3 more"),
    ],
)
def test_anything_else_is_an_error_and_changes_nothing(
    weights: dict[str, torch.Tensor], change: Callable[..., Any], says: str
) -> None:
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    change(weights)
    with pytest.raises(WeightsDoNotFit, match=says):
        load_official(net, weights, NAMES)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_entries_under_a_prefix(weights: dict[str, torch.Tensor]) -> None:
    whole = {f"encoder.{name}": value for name, value in weights.items()} | {
        "encoderx": torch.tensor(0)
    }
    assert under(whole, "encoder.").keys() == weights.keys()


@cache
def modules() -> dict[str, tuple[nn.Module, NameMap]]:
    def config(**changes: Any) -> StyleEncoderConfig:
        return StyleEncoderConfig(num_ws=14, **changes)

    names = encoder_names
    resnet = config(backbone="resnet34")
    with SkipInit():
        return {
            "e4e": (E4eEncoder(config()), names.PYRAMID_ENCODER),
            "W": (WEncoder(config()), names.W_ENCODER),
            "ReStyle": (RestylePspEncoder(config()), names.RESTYLE_IRSE50_ENCODER),
            "ReStyle, ResNet": (RestylePspEncoder(resnet), names.RESTYLE_RESNET34_ENCODER),
            "sketch": (SketchEncoder(), names.SKETCH_ENCODER),
            "ArcFace": (FaceIdentity(), names.FACE_IDENTITY),
            "19 labels": (CelebAMaskParser(), names.CELEBAMASK_PARSER),
            "16 labels": (HairClipParser(), names.HAIRCLIP_PARSER),
        }


@pytest.mark.parametrize(
    ("kind", "pairs"),
    {
        "e4e": {
            "input_layer.0.weight": "backbone.stem.0.weight",
            "body.20.res_layer.5.fc2.weight": "backbone.blocks.20.main.5.excite.weight",
            "body.3.shortcut_layer.1.running_var": "backbone.blocks.3.shortcut.1.running_var",
            "styles.13.convs.10.bias": "heads.13.convolutions.10.bias",
            "latlayer2.weight": "lateral_fine.weight",
        },
        "W": {"linear.bias": "linear.bias"},
        "ReStyle": {"styles.0.linear.weight": "heads.0.linear.weight"},
        "ReStyle, ResNet": {
            "relu.weight": "backbone.stem.2.weight",
            "body.3.downsample.0.weight": "backbone.blocks.3.shortcut.0.weight",
            "body.15.bn2.num_batches_tracked": "backbone.blocks.15.main.4.num_batches_tracked",
        },
        "sketch": {
            "output_layer_3.3.weight": "heads.0.3.weight",
            "output_layer_5.0.bias": "heads.2.0.bias",
        },
        "ArcFace": {"output_layer.3.weight": "head.2.weight"},
        "19 labels": {
            "cp.resnet.layer4.1.bn2.bias": "context.backbone.blocks.7.main.4.bias",
            "cp.arm16.bn_atten.weight": "context.refine_16.attention.1.weight",
            "cp.conv_avg.conv.weight": "context.whole.0.weight",
            "ffm.conv2.weight": "fusion.attention.2.weight",
            "conv_out32.conv_out.weight": "head_16.1.weight",
        },
        "16 labels": {"conv_out.conv.bn.running_mean": "head.0.1.running_mean"},
    }.items(),
)
def test_known_names(kind: str, pairs: dict[str, str]) -> None:
    module, names = modules()[kind]
    assert rename(pairs, names.table) == pairs
    assert set(pairs.values()) <= module.state_dict().keys()


def test_other_names_are_left_out() -> None:
    for name in ("output_layer.0.weight", "body.0.res_layer.6.weight", "module.body.0.bn1.weight"):
        assert rename([name], encoder_names.PYRAMID_ENCODER.table) == {}
    assert rename(["conv_out16.conv_out.weight"], encoder_names.HAIRCLIP_PARSER.table) == {}
