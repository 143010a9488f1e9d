"""StyleGANEX: its generator (features of any size, skips, editing), and the whole network."""

import re
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from tests.golden.adapters.stylegan2 import build, check_filters
from tests.golden.runner import CannotServe, Case, Results, adapter, check_as
from tests.memory import release_memory
from vidhair.checkpoints.official import load_official
from vidhair.checkpoints.styleganex_names import FUSIONS
from vidhair.models.folding import folded
from vidhair.models.generators.stylegan2 import Canvas, Generator, Noise
from vidhair.models.styleganex.generator import EditAttention, SkipFusion, WideGenerator
from vidhair.models.styleganex.network import RGB, Layout, StyleGANEX, load_styleganex

Arrays = Iterator[tuple[str, torch.Tensor]]


def _fusions(case: Case, model: str) -> nn.ModuleList:
    """Built as the option of the model's name says: "use_skip_torgb=True, use_att=2 (…)"."""
    told = re.fullmatch(r"use_skip_torgb=(True|False), use_att=(\d+).*", case.options[model])
    if told is None:
        raise CannotServe(model, case.options[model], "it tells no use_skip_torgb and use_att")
    fuse_rgb, depth = told[1] == "True", int(told[2])
    width = case.options["constructor"]["style_dim"]
    layers = nn.ModuleList()
    for skip_channels, channels in case.options["fusion_channels"]:
        look = EditAttention(channels, width, depth) if depth else None
        layers.append(SkipFusion(skip_channels, channels, fuse_rgb=fuse_rgb, attention=look))
    load_official(layers, case.weights(model), FUSIONS)
    return layers.eval()


@adapter("styleganex_generator")
@torch.no_grad()
def check_generator(case: Case) -> Results:
    options = case.options["constructor"]
    synthesis = build(case, options, WideGenerator).synthesis
    quiet = synthesis.no_noise()
    ws, editing = case.tensor("wplus"), case.tensor("editing_w")
    f, f_rgb = case.tensor("f").float(), case.tensor("f_rgb")
    sides = list(f.shape[2:])
    case.options.expect("feature_hw", sides, f"the feature is {sides}")
    skips = [case.tensor(f"skip/{k}").float() for k in range(len(case.options["fusion_channels"]))]

    last: list[torch.Tensor] = []
    hook = synthesis.blocks[-1].conv1.register_forward_hook(lambda *call: last.append(call[2]))
    yield "img_f", synthesis.render(f, ws)
    hook.remove()
    yield "f_out_std", last[0].std([1, 2, 3])
    yield "img_f_zero_noise", synthesis.render(f, ws, noise=quiet)
    yield "img_f_ind1", synthesis.render_after_first_block(Canvas(f, f_rgb), ws)
    yield "latent_edit", ws + editing
    yield "img_f_edit", synthesis.render_fused(f, ws, [], [], editing=editing, noise=quiet)

    plain = _fusions(case, "fusion")
    yield "img_skip", synthesis.render_fused(f, ws, skips, plain)
    for name in (n for n in case.outputs if re.fullmatch(r"img_skip_\d+", n)):
        first = plain[: int(name.removeprefix("img_skip_"))]
        yield name, synthesis.render_fused(f, ws, skips, first, noise=quiet)
    no_rgb = _fusions(case, "fusion_notorgb")
    yield "img_skip_notorgb", synthesis.render_fused(f, ws, skips, no_rgb, noise=quiet)
    attentive = _fusions(case, "fusion_att")
    yield (
        "img_skip_att_edit",
        synthesis.render_fused(f, ws, skips, attentive, editing=editing, noise=quiet),
    )
    yield "img_skip_att_noedit", synthesis.render_fused(f, ws, skips, attentive, noise=quiet)

    # The plain generator, the wide one, and the wide one fed with the constant must agree.
    original = build(case, options, Generator).synthesis
    constant = synthesis.const[None].repeat_interleave(8, 2).repeat_interleave(8, 3)
    for name, noise in (("image_original", None), ("image_original_zero_noise", quiet)):
        array, step = f"compat/{name}", int(case.said("compat/image_original", r"::(\d+)", "2"))
        yield array, original(ws[:1], noise=noise)[..., ::step, ::step]
        for how, image in (
            ("wide", synthesis(ws[:1], noise=noise)),
            ("constant", synthesis.render(constant, ws[:1], noise=noise)),
        ):
            yield check_as(case, array, how, image[..., ::step, ::step])


def _network(case: Case, model: str) -> StyleGANEX:
    weights, options = case.weights(model), case.options["options"][model]
    check_filters(weights)
    network = load_styleganex(weights, options, case.tensor("latent_avg"))
    # What the shapes of the weights told must be what the options say.
    config = network.config
    fusions = sum(name.endswith("fusion_out.weight") for name in weights)
    for option, told in (
        ("output_size", config.resolution),
        ("n_styles", config.generator.num_ws),
        ("input_nc", config.label_channels or RGB),
        ("label_nc", config.label_channels),
        ("use_skip", config.skips > 0),
        ("use_skip_torgb", config.fuse_rgb),
        ("use_att", config.attention_depth),
        ("skip_max_layer", fusions),
    ):
        options.expect(option, told, f"the weights tell {told!r}")
    blocks = options.get("res_num")  # of labels; says nothing of networks without
    if config.label_channels and blocks != config.label_blocks:
        raise CannotServe("res_num", blocks, f"the weights tell {config.label_blocks}")
    return network


def _injected(case: Case, ws: torch.Tensor, injected: torch.Tensor) -> torch.Tensor:
    """The codes that the mask names are those that are injected."""
    mixed = ws.clone()
    mixed[:, case.options["latent_mask"]] = injected[:, case.options["latent_mask"]]
    return mixed


def _pooled(case: Case, array: str, image: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(image, int(case.said(array, r"pooled? by (\d+)", "4")))


def _picture(case: Case, name: str) -> torch.Tensor:
    return case.tensor(name).permute(0, 3, 1, 2).float() / 255 * 2 - 1


@adapter("styleganex_psp")
@torch.no_grad()
def check_network(case: Case) -> Results:
    for model, check in (
        ("rgb", _check_pictures),
        ("att", _check_attention),
        ("sketch", _check_labels),
        ("mask", _check_labels),
        ("rgb1024", _check_large),
    ):
        yield from _check_model(case, model, check)
        release_memory()


def _check_model(case: Case, model: str, check: Callable[..., Arrays]) -> Results:
    """A function of its own, so that one network of a gigabyte is gone before the next one."""
    network = _network(case, model)
    quiet = network.synthesis.no_noise()
    for array, value in check(case, network, quiet, model):
        yield f"{model}/{array}", value
    if model == "rgb":
        ready, x1, style = folded(network), _picture(case, "x1"), case.tensor("rgb/codes_x2")
        image = ready.render(ready.encode_layout(x1), style, noise=quiet)
        yield check_as(case, "rgb/img_skip", "folded", image)


def _check_pictures(case: Case, network: StyleGANEX, quiet: Noise, _model: str) -> Arrays:
    x1, x2, v = _picture(case, "x1"), _picture(case, "x2"), case.tensor("editing_w")
    ws, layout = network.encode(x1)
    inversion = Layout(layout.feature)
    yield "f", network.encode_layout(x1).feature
    yield "codes_x1", ws
    yield "img_x1", network.render(inversion, ws)
    small = network.reduced(network.render(inversion, ws, noise=quiet))
    yield "img_x1_zero_noise_resized", _pooled(case, "rgb/img_x1_zero_noise_resized", small)

    style = network.encode_style(x2)
    yield "codes_x2", style
    yield "img_x1_x2", network.render(inversion, style, noise=quiet)
    yield "img_skip", network.render(layout, style, noise=quiet)
    yield "img_skip_edit", network.render(layout, style, editing=v, noise=quiet)
    yield "latent_edit", style + v
    plain = network.synthesis(ws, noise=quiet)
    yield "img_no_feature", _pooled(case, "rgb/img_no_feature", plain)

    injected = case.tensor("inject_latent")
    mixed = _injected(case, ws, injected)
    yield "img_mask_inject", network.render(inversion, mixed, noise=quiet)
    share = float(case.said("rgb/img_mask_inject_alpha", r"alpha=([\d.]+)", "0.35"))
    partly = _injected(case, ws, ws.lerp(injected, share))
    yield "img_mask_inject_alpha", network.render(layout, partly, noise=quiet)


def _check_attention(case: Case, network: StyleGANEX, quiet: Noise, _model: str) -> Arrays:
    layout = network.encode_layout(_picture(case, "x1"))
    style, v = network.encode_style(_picture(case, "x2")), case.tensor("editing_w")
    yield "img_skip", network.render(layout, style, noise=quiet)
    yield "img_skip_edit", network.render(layout, style, editing=v, noise=quiet)


def _check_labels(case: Case, network: StyleGANEX, quiet: Noise, model: str) -> Arrays:
    if model == "sketch":
        labels = case.tensor("sketch")[:, None].float() / 255
    else:
        count = network.config.label_channels
        labels = F.one_hot(case.tensor("labels").long(), count).permute(0, 3, 1, 2).float()
    ws, layout = network.encode(labels)
    yield "codes", ws
    yield "img", network.render(Layout(layout.feature), ws, noise=quiet)
    mixed = _injected(case, ws, case.tensor("inject_latent"))
    yield "img_skip_inject", network.render(layout, mixed, noise=quiet)


def _check_large(case: Case, network: StyleGANEX, quiet: Noise, _model: str) -> Arrays:
    ws, layout = network.encode(_picture(case, "rgb1024/x1"))
    yield "codes", ws
    image = network.render(layout, ws, noise=quiet)
    pooled = next(n for n in case.outputs if n.startswith("rgb1024/img_skip_pool"))
    yield pooled.removeprefix("rgb1024/"), F.avg_pool2d(image, int(pooled.split("pool")[1]))
    height, width = case.data["rgb1024/img_skip_crop"].shape[2:]
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    yield "img_skip_crop", image[..., top : top + height, left : left + width]
    yield "img_resized", network.reduced(network.render(Layout(layout.feature), ws))
