"""HairCLIPv2's parts: F/S split, blending, masks, color, losses, bald mapper."""

import torch

from tests.golden.adapters.stylegan2 import build
from tests.golden.runner import CannotServe, Case, Check, Results, adapter
from vidhair.checkpoints.generator_names import BALD_MAPPER
from vidhair.checkpoints.official import load_official
from vidhair.edits import blending, hair_losses
from vidhair.edits.latents import add_change
from vidhair.imaging.morphology import enlarge_mask
from vidhair.imaging.resize import bicubic_shrink
from vidhair.models.generators.stylegan2 import FIRST_SIZE, Canvas, Generator
from vidhair.models.mappers import BALD_CODES, BALD_GAIN, BaldMapper
from vidhair.report.pictures import paint_labels, to_picture

EAR, HAIR = 6, 10


def _is(case: Case, array: str, *labels: int) -> torch.Tensor:
    """[1, 1, H, W] mask of some classes."""
    return torch.isin(case.tensor(array), torch.tensor(labels)).float()[None, None]


def _generator(case: Case) -> Results:
    options = case.options["generator"]
    options.expect("noise", "fixed buffers")
    synthesis = build(case, options, Generator).synthesis
    ws, other = case.tensor("gen/wplus"), case.tensor("gen/wplus_s")

    def size(array: str, pattern: str, default: str) -> int:
        """Pixels of the block that a call names: 0 is that of 4."""
        return FIRST_SIZE << int(case.said(array, pattern, default))

    half = synthesis.feature_at(ws, size("gen/F", r"end_layer=(\d+)", "3"))
    yield "gen/F", half.feature[:, :: int(case.said("gen/F", r"::(\d+)", "4"))]
    yield "gen/skip_at_F", half.rgb
    yield "gen/img_full", synthesis.finish(half, ws)
    bare = Canvas(half.feature)
    yield "gen/img_from_F", synthesis.finish(bare, other)
    yield "gen/img_from_F_same_w", synthesis.finish(bare, ws)
    name = "gen/F_2_to_3"
    start = Canvas(synthesis.feature_at(ws, size(name, r"\], \d+, (\d+)\)", "1")).feature)
    moved = synthesis.advance(start, other, size(name, r"end_layer=(\d+)", "3"))
    yield name, moved.feature[:, :: int(case.said(name, r"::(\d+)", "8"))]


def _blending(case: Case) -> Results:
    names = ("src", "bald", "global", "local")
    source, bald, proxy, local = (case.tensor(f"blend/feature_{name}") for name in names)
    taken = _is(case, "blend/visual_mask", EAR, HAIR)
    with_proxy = blending.blend_proxy(
        source, bald, proxy, taken, _is(case, "blend/global_seg", HAIR)
    )
    local_mask = _is(case, "blend/local_mask", 1)
    yield "blend/out_global", with_proxy
    yield "blend/out_global_local", blending.blend(with_proxy, local, local_mask)
    yield "blend/out_local", blending.blend(source, local, local_mask)

    side = len(case.data["color/final_hair_mask"])
    mask = blending.color_mask(_is(case, "color/seg", HAIR), side)
    yield "color/final_hair_mask", mask[0, 0]
    source, color = (case.tensor(f"color/feature_{name}").float() for name in ("src", "color"))
    stride = int(case.said("color/*", r"::(\d+)", "2"))
    yield "color/out", blending.blend(source, color, mask)[..., ::stride, ::stride]


def _morphology(case: Case) -> Results:
    for name in (n for n in case.outputs if n.startswith("morph/")):
        mask, size = name.split("_out_k")
        if int(size) < 2:
            raise CannotServe("kernel", int(size), f"{name} would erode by a square of no side")
        yield name, enlarge_mask(case.tensor(mask), int(size))


def _losses(case: Case) -> Results:
    rgb = case.tensor("lab/rgb01")
    yield "lab/xyz", hair_losses.linear_to_xyz(rgb)
    yield "lab/lab", hair_losses.lab(rgb * 2 - 1)
    yield "lab/avg", hair_losses.masked_mean(case.tensor("lab/lab"), case.tensor("lab/mask"))
    target, result = case.tensor("lab/target"), case.tensor("lab/result")
    target_hair, hair = _is(case, "lab/target_seg", HAIR), _is(case, "lab/result_seg", HAIR)
    wanted = hair_losses.masked_mean(hair_losses.lab(target), target_hair)
    yield "lab/loss", hair_losses.hair_colour_loss(result, hair, wanted)
    wanted = hair_losses.lab(case.tensor("lab/single_colour"))
    yield "lab/loss_single_colour", hair_losses.hair_colour_loss(result, hair, wanted)
    yield "bg/loss", hair_losses.background_loss(result, target, hair, target_hair)
    masked = hair_losses.masked_features(case.tensor("style/features"), case.tensor("style/mask"))
    yield "style/masked", masked
    yield "style/gram", hair_losses.gram_matrix(masked)
    space = (case.tensor(f"pnorm/X_{name}").float() for name in ("mean", "comp", "stdev"))
    weight = float(case.said("pnorm/loss", r"embedding = ([\d.]+)", "0.001"))
    yield "pnorm/loss", weight * hair_losses.prior_loss(case.tensor("pnorm/latent"), *space)


@adapter("hairclipv2")
@torch.no_grad()
def check_parts(case: Case) -> Results:
    yield from _generator(case)
    yield from _blending(case)
    yield from _morphology(case)
    yield from _losses(case)
    for name in (n for n in case.outputs if n.startswith("bicubic/y")):
        factor = int(name.removeprefix("bicubic/y"))
        yield name, bicubic_shrink(case.tensor(f"bicubic/x{factor}"), factor)
    yield "display/y", to_picture(case.tensor("display/x")[0])
    yield "display/vis_seg", paint_labels(case.data["display/labels"])

    weights, options = case.weights("bald"), case.options["bald"]
    mapper = BaldMapper(depth=sum(name.endswith(".weight") for name in weights))
    load_official(mapper, weights, BALD_MAPPER)
    ws = case.tensor("bald/src_latent")
    change = mapper(ws)
    yield "bald/mapper_out", change
    strength = options["checkpoint_alpha"] * BALD_GAIN
    options.expect("layers_changed", f"0:{BALD_CODES}")
    yield Check("bald/used_alpha", abs(strength - options["used_alpha"]), 1e-6)
    yield "bald/latent_bald", add_change(ws, change, strength)
