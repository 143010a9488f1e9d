"""StyleGANEX's generator: features of any size, skips, editing, equality with StyleGAN2."""

import torch
from torch import nn

from tests.golden.adapters.stylegan2 import build
from tests.golden.runner import Case, Check, adapter, relative_error
from vidhair.checkpoints.generator_names import STYLEGANEX_FUSIONS
from vidhair.checkpoints.official import load_official
from vidhair.models.stylegan2 import Canvas, Generator
from vidhair.models.styleganex import EditAttention, SkipFusion, WideGenerator

ATTENTION_DEPTH = 2


def _fusions(case: Case, model: str, *, fuse_rgb: bool = True, attention: bool = False):
    layers = nn.ModuleList()
    for skip_channels, channels in case.options["fusion_channels"]:
        look = EditAttention(channels, 512, ATTENTION_DEPTH) if attention else None
        layers.append(SkipFusion(skip_channels, channels, fuse_rgb=fuse_rgb, attention=look))
    load_official(layers, case.weights(model), STYLEGANEX_FUSIONS)
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
            error = relative_error(image[..., ::2, ::2], case.data[array])
            yield Check(f"{array}/{how}", error, case.bound(array))
