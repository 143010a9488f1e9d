"""Every weight of StyleGANEX has one official name; its configuration is read from them."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.models.tiny import TINY_STYLEGANEX, random, tiny_styleganex
from vidhair.checkpoints.generator_names import stylegan2
from vidhair.checkpoints.names import rename
from vidhair.checkpoints.styleganex_names import styleganex
from vidhair.errors import WeightsDoNotFit
from vidhair.models.styleganex.network import (
    StyleGANEX,
    StyleGANEXConfig,
    load_styleganex,
    styleganex_config,
)
from vidhair.ops.upfirdn2d import setup_filter

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = {
    "encoder_type": "GradualStyleEncoder",
    "start_from_latent_avg": True,
    "learn_in_w": False,
    "use_skip": True,
    "dataset_type": "ffhq_encode",
}
KINDS: dict[str, dict[str, Any]] = {
    "inversion": {"skips": 0, "fuse_rgb": False},
    "video editing": {"attention_depth": 1, "task": "edit"},
    "deep attention, colors alone": {"attention_depth": 3, "fuse_rgb": False, "task": "edit"},
    "sketch": {"label_channels": 1, "skips": 1, "task": "sketch"},
    "label map": {"label_channels": 19, "skips": 2, "task": "mask"},
    "every skip": {"resolution": 512, "channel_base": 1024, "skips": 7},
}
# Ours → official; of the generator and the attention's MLP below.
OFFICIAL = (
    (r"encoder\.backbone\.stem\.", "encoder.input_layer."),
    (r"encoder\.backbone\.blocks\.(\d+)\.main\.5\.squeeze", r"encoder.body.\1.res_layer.5.fc1"),
    (r"encoder\.backbone\.blocks\.(\d+)\.main\.5\.excite", r"encoder.body.\1.res_layer.5.fc2"),
    (r"encoder\.backbone\.blocks\.(\d+)\.main\.", r"encoder.body.\1.res_layer."),
    (r"encoder\.backbone\.blocks\.(\d+)\.shortcut\.", r"encoder.body.\1.shortcut_layer."),
    (r"encoder\.heads\.(\d+)\.convolutions\.", r"encoder.styles.\1.convs."),
    (r"encoder\.heads\.", "encoder.styles."),
    (r"encoder\.lateral_middle\.", "encoder.latlayer1."),
    (r"encoder\.lateral_fine\.", "encoder.latlayer2."),
    (r"encoder\.feature\.", "encoder.featlayer."),
    (r"encoder\.label_stem\.(\d+)\.main\.", r"encoder.input_label_layer.model.\1.conv_block."),
    (r"encoder\.label_stem\.", "encoder.input_label_layer.model."),
    (r"fusions\.(\d+)\.project\.", r"encoder.fusion.\1.transform.0."),
    (r"fusions\.(\d+)\.feature\.", r"encoder.fusion.\1.fusion_out."),
    (r"fusions\.(\d+)\.rgb\.", r"encoder.fusion.\1.fusion_skip."),
    (r"fusions\.(\d+)\.attention\.style\.", r"encoder.fusion.\1.norm.style."),
    (r"fusions\.(\d+)\.attention\.mask\.", r"encoder.fusion.\1.conv."),
    *(
        (rf"fusions\.(\d+)\.attention\.mlp\.{k}\.", rf"encoder.fusion.\1.linear.{2 * k}.")
        for k in range(4)
    ),
)


def official(network: StyleGANEX) -> dict[str, torch.Tensor]:
    """A network's weights as the authors' `state_dict` has them, filters included."""
    c = network.config
    names = stylegan2(len(c.generator.sizes), c.mapping_layers)
    generator = {ours: re.sub(r"\\", "", theirs) for theirs, ours in names.table}
    found = {}
    for name, value in network.state_dict().items():
        if name.startswith("generator."):
            theirs = f"decoder.{generator.get(name.removeprefix('generator.'))}"
            found[theirs] = value[None, None] if "noises" in theirs else value
            continue
        (theirs,) = [re.sub(a, b, name) for a, b in OFFICIAL if re.match(a, name)][:1]
        found[theirs] = value
    assert found.pop("decoder.None").shape == (c.w_dim,)  # the average code
    width = c.w_dim // 8
    return found | {
        "encoder.skiplayer.weight": torch.ones(3, 12 * width, 1, 1),
        "encoder.skiplayer.bias": torch.ones(3),
        "decoder.convs.0.conv.blur_weight": setup_filter([1, 2, 1])[None, None],
        "decoder.convs.0.conv.blur.kernel": setup_filter([1, 3, 3, 1]) * 4,
        "decoder.to_rgbs.0.upsample.kernel": setup_filter([1, 3, 3, 1]) * 4,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_is_read_and_the_weights_arrive(kind: str) -> None:
    network = tiny_styleganex(**KINDS[kind])
    weights = official(network)
    assert styleganex_config(weights, OPTIONS) == network.config
    loaded = load_styleganex(weights, OPTIONS, network.w_avg)
    assert not loaded.training
    want = network.state_dict()
    assert all(torch.equal(value, want[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("dataset", "task"),
    [
        ("ffhq_encode", "inversion"),
        ("ffhq_super_resolution", "super_resolution"),
        ("toonify", "toonify"),
        ("ffhq_edit", "inversion"),  # whose shapes say otherwise
        ("celebs_frontalize", "inversion"),
        (None, "inversion"),
    ],
)
def test_the_task_is_what_the_options_call_the_data(dataset: Any, task: str) -> None:
    weights = official(tiny_styleganex())
    assert styleganex_config(weights, OPTIONS | {"dataset_type": dataset}).task == task


def test_shapes_tell_a_task_better_than_options() -> None:
    options = OPTIONS | {"dataset_type": "toonify"}
    for changes, task in (
        ({"label_channels": 1}, "sketch"),
        ({"label_channels": 19}, "mask"),
        ({"attention_depth": 1}, "edit"),
    ):
        weights = official(tiny_styleganex(**changes))
        assert styleganex_config(weights, options).task == task


@pytest.mark.parametrize("rows", [1, TINY_STYLEGANEX.generator.num_ws])
def test_the_average_code_may_be_repeated_for_every_layer(rows: int) -> None:
    network = tiny_styleganex()
    repeated = network.w_avg.expand(rows, -1)
    assert torch.equal(load_styleganex(official(network), {}, repeated).w_avg, network.w_avg)


def test_average_codes_of_their_own_for_the_layers_are_refused() -> None:
    network = tiny_styleganex()
    with pytest.raises(WeightsDoNotFit, match="differs between layers"):
        load_styleganex(official(network), {}, random(network.config.generator.num_ws, 16))


def test_a_file_without_an_average_code_does_not_fit() -> None:
    names = styleganex(5, 2, 4)
    assert rename(["latent_avg"], names.table) == {"latent_avg": "generator.mapping.w_avg"}
    assert not names.absent


def test_a_fusion_for_a_block_that_the_generator_lacks_is_left_out() -> None:
    network = tiny_styleganex()
    weights = official(network)
    for name in ("transform.0", "fusion_out", "fusion_skip"):
        weights |= {f"encoder.fusion.4.{name}.{k}": torch.ones(1) for k in ("weight", "bias")}
    assert load_styleganex(weights, OPTIONS, network.w_avg).config == network.config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder_type", "BackboneEncoderUsingLastLayerIntoW"),
        ("start_from_latent_avg", False),
        ("learn_in_w", True),
        ("max_pooling", True),
        ("feat_ind", 1),
    ],
)
def test_options_that_change_the_computation_are_refused(name: str, value: int | str) -> None:
    with pytest.raises(WeightsDoNotFit, match=f"{name} = {value} "):
        styleganex_config(official(tiny_styleganex()), OPTIONS | {name: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.clear(), "lack StyleGANEX's decoder.noises.noise_0"),
        (lambda w: w.pop("encoder.featlayer.weight"), "lack StyleGANEX's encoder.featlayer"),
        (lambda w: w.update({"encoder.featlayer.weight": torch.tensor(1)}), "lack StyleGANEX's"),
        (lambda w: w.pop("decoder.noises.noise_8"), "lack|fit"),
        (
            lambda w: w.update({"decoder.noises.noise_8": torch.ones(1, 1, 48, 48)}),
            "shape .*48 is no power of two",
        ),
        (lambda w: w.pop("encoder.body.7.res_layer.5.fc1.weight"), "missing: encoder.backbone"),
        (lambda w: w.update({"encoder.fusion.9.odd": torch.ones(1)}), "unknown: encoder.fusion.9"),
        (lambda w: w.update({"module.conv.weight": torch.ones(1)}), "unknown: module.conv"),
    ],
)
def test_other_weights_are_refused(change: Callable[..., Any], says: str) -> None:
    network = tiny_styleganex()
    weights = official(network)
    change(weights)
    with pytest.raises(WeightsDoNotFit, match=says):
        load_styleganex(weights, OPTIONS, network.w_avg)


def test_options_and_names_of_the_file_do_not_decide_the_shape() -> None:
    network = tiny_styleganex(skips=2)
    lying = OPTIONS | {"output_size": 1024, "skip_max_layer": 7, "label_nc": 19, "use_att": 1}
    assert styleganex_config(official(network), lying) == replace(TINY_STYLEGANEX, skips=2)
    assert styleganex_config(official(network), {}) == network.config


def test_the_published_sizes_are_the_defaults() -> None:
    with torch.device("meta"):
        network = StyleGANEX(StyleGANEXConfig(skips=7, attention_depth=1, task="edit"))
    assert styleganex_config(official(network), OPTIONS) == network.config
