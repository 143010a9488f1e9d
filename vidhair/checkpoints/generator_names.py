"""Official parameter names of the generators and latent mappers → ours, as data."""

import re

from vidhair.checkpoints.official import NameMap

Table = tuple[tuple[str, str], ...]

# Within one layer of rosinality's StyleGAN2.
STYLEGAN2_TORGB = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "bias": "bias",
}
STYLEGAN2_CONV = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
}


# Filters follow from the configuration; the transform is whatever was rendered last.
STYLEGAN3 = NameMap(
    (
        (r"mapping\.w_avg", "mapping.w_avg"),
        (r"mapping\.embed\.(weight|bias)", r"mapping.embed.\1"),
        (r"mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
        (r"synthesis\.input\.(weight|freqs|phases|affine\..+)", r"synthesis.input.\1"),
        (r"synthesis\.L(\d+)_\d+_\d+\.((?!up_filter|down_filter).+)", r"synthesis.layers.\1.\2"),
    ),
    unused=(r"synthesis\.L.+\.(up|down)_filter", r"synthesis\.input\.transform"),
    absent=(r"synthesis\.input\.transform",),
)


def stylegan2(blocks: int, mapping_layers: int) -> NameMap:
    """Names of rosinality's StyleGAN2 `Generator`, which StyleGANEX and HairCLIPv2 share.

    blocks: how many resolutions from 4 pixels on. Filters are designed, not loaded; the average
    code is kept beside these generators.
    """
    names = {"input.input": "synthesis.const"}
    for k in range(mapping_layers):
        for kind in ("weight", "bias"):
            names[f"style.{k + 1}.{kind}"] = f"mapping.layers.{k}.{kind}"
    convs, torgbs = [("conv1", "0.conv1")], [("to_rgb1", "0.torgb")]
    for k in range(1, blocks):
        convs += [(f"convs.{2 * k - 2}", f"{k}.conv0"), (f"convs.{2 * k - 1}", f"{k}.conv1")]
        torgbs.append((f"to_rgbs.{k - 1}", f"{k}.torgb"))
    for index, (_, ours) in enumerate(convs):
        names[f"noises.noise_{index}"] = f"synthesis.blocks.{ours}.noise_const"
    for layers, kinds in ((convs, STYLEGAN2_CONV), (torgbs, STYLEGAN2_TORGB)):
        for theirs, ours in layers:
            names |= {f"{theirs}.{a}": f"synthesis.blocks.{ours}.{b}" for a, b in kinds.items()}
    return NameMap(
        _exact(names),
        unused=(r".+\.(blur\.kernel|upsample\.kernel|blur_weight)",),
        absent=(r"mapping\.w_avg", r".+\.noise_const"),
    )


def stylegan2_ada(blocks: int, mapping_layers: int) -> NameMap:
    """Names of NVIDIA's StyleGAN2-ADA `Generator` of the skip architecture."""
    names = {
        "mapping.w_avg": "mapping.w_avg",
        "mapping.embed.weight": "mapping.embed.weight",
        "mapping.embed.bias": "mapping.embed.bias",
        "synthesis.b4.const": "synthesis.const",
    }
    for k in range(mapping_layers):
        for kind in ("weight", "bias"):
            names[f"mapping.fc{k}.{kind}"] = f"mapping.layers.{k}.{kind}"
    torgb = tuple(STYLEGAN2_TORGB.values())
    conv = (*torgb, "noise_strength", "noise_const")
    for k in range(blocks):
        for layer, kinds in (("conv0", conv), ("conv1", conv), ("torgb", torgb)):
            for kind in kinds:
                theirs = f"synthesis.b{4 << k}.{layer}.{kind}"
                names[theirs] = f"synthesis.blocks.{k}.{layer}.{kind}"
    return NameMap(_exact(names), unused=(r".+\.resample_filter",))


def _exact(names: dict[str, str]) -> Table:
    return tuple((re.escape(theirs), ours) for theirs, ours in names.items())


# A list of fusion layers. An activation follows every linear layer of the attention, and counts
# in the official index.
STYLEGANEX_FUSIONS = NameMap(
    (
        (r"(\d+)\.transform\.0\.(weight|bias)", r"\1.project.\2"),
        (r"(\d+)\.fusion_out\.(weight|bias)", r"\1.feature.\2"),
        (r"(\d+)\.fusion_skip\.(weight|bias)", r"\1.rgb.\2"),
        (r"(\d+)\.norm\.style\.(weight|bias)", r"\1.attention.style.\2"),
        (r"(\d+)\.conv\.(weight|bias)", r"\1.attention.mask.\2"),
        *(
            (rf"(\d+)\.linear\.{2 * k}\.(weight|bias)", rf"\1.attention.mlp.{k}.\2")
            for k in range(8)
        ),
    )
)

# The spelling of the first part is official.
STYLECLIP_LEVELS = NameMap(
    tuple(
        (rf"{theirs}_mapping\.mapping\.{k + 1}\.(weight|bias)", rf"{ours}.layers.{k}.\1")
        for theirs, ours in (("course", "coarse"), ("medium", "medium"), ("fine", "fine"))
        for k in range(4)
    )
)
STYLECLIP_SINGLE = NameMap(
    tuple((rf"mapping\.mapping\.{k + 1}\.(weight|bias)", rf"layers.{k}.\1") for k in range(4))
)

BALD_MAPPER = NameMap(
    ((r"structure_mapping\.fc(\d+)\.(weight|bias)", r"structure.layers.\1.\2"),),
    unused=(r"structure_mapping\.w_avg",),
)
