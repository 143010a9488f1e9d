"""StyleGANEX: its generator (features of any size, skips, editing), and the whole network."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.golden.adapters.stylegan2 import build, check_filters
from tests.golden.runner import Case, adapter, check_as
from vidhair.checkpoints.official import load_official
from vidhair.checkpoints.styleganex_names import FUSIONS
from vidhair.models.folding import folded
from vidhair.models.stylegan2 import Canvas, Generator, mix_codes
from vidhair.models.styleganex import EditAttention, SkipFusion, WideGenerator
from vidhair.models.styleganex_network import LAYOUT_CODES, Layout, StyleGANEX, load_styleganex

ATTENTION_DEPTH = 2


def _fusions(case: Case, model: str, *, fuse_rgb: bool = True, attention: bool = False):
    layers = nn.ModuleList()
    for skip_channels, channels in case.options["fusion_channels"]:
        look = EditAttention(channels, 512, ATTENTION_DEPTH) if attention else None
        layers.append(SkipFusion(skip_channels, channels, fuse_rgb=fuse_rgb, attention=look))
    load_official(layers, case.weights(model), FUSIONS)
    return layers.eval()


@adapter("styleganex_generator")
@torch.no_grad()
def check_generator(case: Case):
    options = case.options["constructor"]
    synthesis = build(case, options, WideGenerator).synthesis
    quiet = {"noise": synthesis.no_noise()}
    ws, editing = case.tensor("wplus"), case.tensor("editing_w")
    f, f_rgb = case.tensor("f").float(), case.tensor("f_rgb")
    skips = [case.tensor(f"skip/{k}").float() for k in range(5)]

    last: list[torch.Tensor] = []
    hook = synthesis.blocks[-1].conv1.register_forward_hook(lambda *call: last.append(call[2]))
    yield "img_f", synthesis.render(f, ws)
    hook.remove()
    yield "f_out_std", last[0].std([1, 2, 3])
    yield "img_f_zero_noise", synthesis.render(f, ws, **quiet)
    yield "img_f_ind1", synthesis.render_after_first_block(Canvas(f, f_rgb), ws)
    yield "latent_edit", ws + editing
    yield "img_f_edit", synthesis.render_fused(f, ws, [], [], editing=editing, **quiet)

    plain = _fusions(case, "fusion")
    yield "img_skip", synthesis.render_fused(f, ws, skips, plain)
    yield "img_skip_3", synthesis.render_fused(f, ws, skips, plain[:3], **quiet)
    no_rgb = _fusions(case, "fusion_notorgb", fuse_rgb=False)
    yield "img_skip_notorgb", synthesis.render_fused(f, ws, skips, no_rgb, **quiet)
    attentive = _fusions(case, "fusion_att", attention=True)
    yield (
        "img_skip_att_edit",
        synthesis.render_fused(f, ws, skips, attentive, editing=editing, **quiet),
    )
    yield "img_skip_att_noedit", synthesis.render_fused(f, ws, skips, attentive, **quiet)

    # The plain generator, the wide one, and the wide one fed with the constant must agree.
    original = build(case, options, Generator).synthesis
    constant = synthesis.const[None].repeat_interleave(8, 2).repeat_interleave(8, 3)
    for name, settings in (("image_original", {}), ("image_original_zero_noise", quiet)):
        array = f"compat/{name}"
        yield array, original(ws[:1], **settings)[..., ::2, ::2]
        for how, image in (
            ("wide", synthesis(ws[:1], **settings)),
            ("constant", synthesis.render(constant, ws[:1], **settings)),
        ):
            yield check_as(case, array, how, image[..., ::2, ::2])


def _network(case: Case, model: str) -> StyleGANEX:
    weights = case.weights(model)
    check_filters(weights)
    return load_styleganex(weights, case.options["options"][model], case.tensor("latent_avg"))


def _picture(case: Case, name: str) -> torch.Tensor:
    return case.tensor(name).permute(0, 3, 1, 2).float() / 255 * 2 - 1


@adapter("styleganex_psp")
@torch.no_grad()
def check_network(case: Case):
    for model, check in (
        ("rgb", _check_pictures),
        ("att", _check_attention),
        ("sketch", _check_labels),
        ("mask", _check_labels),
        ("rgb1024", _check_large),
    ):
        network = _network(case, model)
        quiet = network.synthesis.no_noise()
        for array, value in check(case, network, quiet, model):
            yield f"{model}/{array}", value
        if model == "rgb":
            ready, x1, style = folded(network), _picture(case, "x1"), case.tensor("rgb/codes_x2")
            image = ready.render(ready.encode_layout(x1), style, noise=quiet)
            yield check_as(case, "rgb/img_skip", "folded", image)


def _check_pictures(case: Case, network: StyleGANEX, quiet, _model: str):
    x1, x2, v = _picture(case, "x1"), _picture(case, "x2"), case.tensor("editing_w")
    ws, layout = network.encode(x1)
    inversion = Layout(layout.feature)
    yield "f", network.encode_layout(x1).feature
    yield "codes_x1", ws
    yield "img_x1", network.render(inversion, ws)
    small = network.reduced(network.render(inversion, ws, noise=quiet))
    yield "img_x1_zero_noise_resized", F.avg_pool2d(small, 4)

    style = network.encode_style(x2)
    yield "codes_x2", style
    yield "img_x1_x2", network.render(inversion, style, noise=quiet)
    yield "img_skip", network.render(layout, style, noise=quiet)
    yield "img_skip_edit", network.render(layout, style, editing=v, noise=quiet)
    yield "latent_edit", style + v
    yield "img_no_feature", F.avg_pool2d(network.synthesis(ws, noise=quiet), 4)

    injected = case.tensor("inject_latent")
    mixed = mix_codes(ws, injected, LAYOUT_CODES)
    yield "img_mask_inject", network.render(inversion, mixed, noise=quiet)
    partly = mix_codes(ws, ws.lerp(injected, 0.35), LAYOUT_CODES)
    yield "img_mask_inject_alpha", network.render(layout, partly, noise=quiet)


def _check_attention(case: Case, network: StyleGANEX, quiet, _model: str):
    layout = network.encode_layout(_picture(case, "x1"))
    style, v = network.encode_style(_picture(case, "x2")), case.tensor("editing_w")
    yield "img_skip", network.render(layout, style, noise=quiet)
    yield "img_skip_edit", network.render(layout, style, editing=v, noise=quiet)


def _check_labels(case: Case, network: StyleGANEX, quiet, model: str):
    if model == "sketch":
        labels = case.tensor("sketch")[:, None].float() / 255
    else:
        labels = F.one_hot(case.tensor("labels").long(), 19).permute(0, 3, 1, 2).float()
    ws, layout = network.encode(labels)
    yield "codes", ws
    yield "img", network.render(Layout(layout.feature), ws, noise=quiet)
    mixed = mix_codes(ws, case.tensor("inject_latent"), LAYOUT_CODES)
    yield "img_skip_inject", network.render(layout, mixed, noise=quiet)


def _check_large(case: Case, network: StyleGANEX, quiet, _model: str):
    ws, layout = network.encode(_picture(case, "rgb1024/x1"))
    yield "codes", ws
    image = network.render(layout, ws, noise=quiet)
    yield "img_skip_pool4", F.avg_pool2d(image, 4)
    top, left = (side // 2 - 24 for side in image.shape[2:])
    yield "img_skip_crop", image[..., top : top + 48, left : left + 48]
    yield "img_resized", network.reduced(network.render(Layout(layout.feature), ws))
