"""Official parameter names → ours, as data. Loading must leave nothing out on either side."""

import re
from collections.abc import Iterable

# (official pattern, our name); filters are designed, not loaded.
STYLEGAN3 = (
    (r"mapping\.w_avg", "mapping.w_avg"),
    (r"mapping\.embed\.(weight|bias)", r"mapping.embed.\1"),
    (r"mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
    (r"synthesis\.input\.(.+)", r"synthesis.input.\1"),
    (r"synthesis\.L(\d+)_\d+_\d+\.((?!up_filter|down_filter).+)", r"synthesis.layers.\1.\2"),
)

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
# Fixed filters, which we design ourselves; the average code is kept beside these generators.
STYLEGAN2_UNUSED = (r".*\.(blur\.kernel|upsample\.kernel|blur_weight)",)
STYLEGAN2_ABSENT = ("mapping.w_avg",)
STYLEGAN2_ADA_UNUSED = (r".*\.resample_filter",)

STYLEGANEX_FUSION = (
    (r"(\d+)\.transform\.0\.(weight|bias)", r"\1.project.\2"),
    (r"(\d+)\.fusion_out\.(weight|bias)", r"\1.feature.\2"),
    (r"(\d+)\.fusion_skip\.(weight|bias)", r"\1.rgb.\2"),
    (r"(\d+)\.norm\.style\.(weight|bias)", r"\1.attention.style.\2"),
    (r"(\d+)\.conv\.(weight|bias)", r"\1.attention.mask.\2"),
)

BALD_MAPPER = ((r"structure_mapping\.fc(\d+)\.(weight|bias)", r"structure.layers.\1.\2"),)
BALD_MAPPER_UNUSED = (r"structure_mapping\.w_avg",)


def rename(names: Iterable[str], table: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Official → ours for every name that a pattern of the table covers whole."""
    found = {}
    for name in names:
        for pattern, ours in table:
            match = re.fullmatch(pattern, name)
            if match:
                found[name] = match.expand(ours)
                break
    return found


def stylegan3_names(names: Iterable[str]) -> dict[str, str]:
    """Names of NVIDIA's StyleGAN3 `Generator`."""
    return rename(names, STYLEGAN3)


def stylegan2_names(blocks: int, mapping_layers: int) -> dict[str, str]:
    """Names of rosinality's StyleGAN2 `Generator`, which StyleGANEX and HairCLIPv2 share.

    blocks: how many resolutions from 4 pixels on.
    """
    names = {"input.input": "synthesis.const"}
    for k in range(mapping_layers):
        for kind in ("weight", "bias"):
            names[f"style.{k + 1}.{kind}"] = f"mapping.layers.{k}.{kind}"
    convs, torgbs = [("conv1", "0.conv1")], [("to_rgb1", "0.torgb")]
    for k in range(1, blocks):
        convs += [(f"convs.{2 * k - 2}", f"{k}.conv0"), (f"convs.{2 * k - 1}", f"{k}.conv1")]
        torgbs.append((f"to_rgbs.{k - 1}", f"{k}.torgb"))
    for index, (official, ours) in enumerate(convs):
        names[f"noises.noise_{index}"] = f"synthesis.blocks.{ours}.noise_const"
        names |= _layer_names(official, ours, STYLEGAN2_CONV)
    for official, ours in torgbs:
        names |= _layer_names(official, ours, STYLEGAN2_TORGB)
    return names


def _layer_names(official: str, ours: str, table: dict[str, str]) -> dict[str, str]:
    return {f"{official}.{a}": f"synthesis.blocks.{ours}.{b}" for a, b in table.items()}


def styleganex_fusion_names(names: Iterable[str]) -> dict[str, str]:
    """Names of StyleGANEX's list of fusion layers."""
    found = rename(names, STYLEGANEX_FUSION)
    # Its attention has an activation behind every linear layer, which counts in the official name.
    for official in names:
        match = re.fullmatch(r"(\d+)\.linear\.(\d+)\.(weight|bias)", official)
        if match:
            found[official] = f"{match[1]}.attention.mlp.{int(match[2]) // 2}.{match[3]}"
    return found


def styleclip_mapper_names() -> dict[str, str]:
    """Names of StyleCLIP's mappers; the first one's spelling is official."""
    parts = {"course_mapping": "coarse", "medium_mapping": "medium", "fine_mapping": "fine"}
    parts = {f"{official}.": f"{ours}." for official, ours in parts.items()} | {"mapping.": ""}
    return {
        f"{official}mapping.{k + 1}.{kind}": f"{ours}layers.{k}.{kind}"
        for official, ours in parts.items()
        for k in range(4)
        for kind in ("weight", "bias")
    }


def bald_mapper_names(names: Iterable[str]) -> dict[str, str]:
    """Names of HairMapper's network."""
    return rename(names, BALD_MAPPER)


def stylegan2_ada_names(blocks: int, mapping_layers: int) -> dict[str, str]:
    """Names of NVIDIA's StyleGAN2-ADA `Generator` of the skip architecture."""
    names = {
        "mapping.w_avg": "mapping.w_avg",
        "synthesis.b4.const": "synthesis.const",
        "mapping.embed.weight": "mapping.embed.weight",
        "mapping.embed.bias": "mapping.embed.bias",
    }
    for k in range(mapping_layers):
        for kind in ("weight", "bias"):
            names[f"mapping.fc{k}.{kind}"] = f"mapping.layers.{k}.{kind}"
    for k in range(blocks):
        for layer in ("conv0", "conv1", "torgb"):
            for kind in (*STYLEGAN2_TORGB.values(), "noise_strength", "noise_const"):
                names[f"synthesis.b{4 << k}.{layer}.{kind}"] = (
                    f"synthesis.blocks.{k}.{layer}.{kind}"
                )
    return names
