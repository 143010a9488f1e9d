"""Which networks a weight file holds, and how they are built: read from its contents alone.

What a file's tensors leave open (which of two encoders of the same shape) is read from the options
that its authors stored beside them. The name of the file never matters.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor

from vidhair.checkpoints import encoder_names, generator_names
from vidhair.checkpoints.foreign import Checkpoint, check_tensors, shown_path
from vidhair.checkpoints.official import NameMap, official_state, under
from vidhair.checkpoints.styleganex_names import styleganex
from vidhair.errors import WeightsDoNotFit
from vidhair.models.bisenet import (
    HAIRCLIP_LABELS,
    CelebAMaskLabel,
)
from vidhair.models.inversion import PublishedEncoder
from vidhair.models.mappers import BALD_GAIN
from vidhair.models.mapping import MappingNetwork
from vidhair.models.pack import BUILDERS
from vidhair.models.style_encoders import StyleEncoderConfig
from vidhair.models.stylegan2 import StyleGAN2Config
from vidhair.models.stylegan3 import StyleGAN3Config, designed_filters, layer_geometries
from vidhair.models.styleganex_network import one_average, styleganex_config
from vidhair.models.unfilled import Unfilled

Weights = Mapping[str, Tensor]

MEAN_SAMPLES = 10000  # codes whose mean is the average code, where a file has none
RESTYLE_STEPS = 3
W_ENCODER_SIZE = 256
# encoder_type in the options of the published encoders → our kind
ENCODER_TYPES = {
    "GradualStyleEncoder": "psp",
    "Encoder4Editing": "e4e",
    "BackboneEncoderUsingLastLayerIntoW": "w_encoder",
    "SingleStyleCodeEncoder": "w_encoder",
    "BackboneEncoder": "restyle_psp",
    "ResNetBackboneEncoder": "restyle_psp",
    "ProgressiveBackboneEncoder": "restyle_e4e",
    "ResNetProgressiveBackboneEncoder": "restyle_e4e",
}
ENCODER_NAMES = {
    ("psp", "irse50"): encoder_names.PYRAMID_ENCODER,
    ("e4e", "irse50"): encoder_names.PYRAMID_ENCODER,
    ("w_encoder", "irse50"): encoder_names.W_ENCODER,
    ("restyle_psp", "irse50"): encoder_names.RESTYLE_IRSE50_ENCODER,
    ("restyle_e4e", "irse50"): encoder_names.RESTYLE_IRSE50_ENCODER,
    ("restyle_psp", "resnet34"): encoder_names.RESTYLE_RESNET34_ENCODER,
    ("restyle_e4e", "resnet34"): encoder_names.RESTYLE_RESNET34_ENCODER,
}
# What NVIDIA's generators may be told and every generator here has built in.
BUILT_IN: dict[str, Any] = {
    "architecture": "skip",
    "resample_filter": [1, 3, 3, 1],
    "activation": "lrelu",
    "num_critical": 2,
    "first_cutoff": 2,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "margin_size": 10,
    "output_scale": 0.25,
    "filter_size": 6,
    "lrelu_upsampling": 2,
}


@dataclass(frozen=True)
class Found:
    """A network of a file: its place in a pack, its kind (of `models.pack.BUILDERS`), its
    configuration and its weights under our names.

    An encoder whose file does not tell its average code lacks `w_avg`: it is the generator's.
    beside: it lies in the file of another network, for whose sake it is there.
    """

    part: str
    kind: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    beside: bool = False


def recognise(checkpoint: Checkpoint) -> list[Found]:
    """The networks of a weight file, in the order in which they matter.

    Raises WeightsDoNotFit, which names the file, if it holds none that is known, or one that is
    incomplete or of an unpublished design; CheckpointUnreadable if a tensor is no fit weight.
    """
    where = shown_path(checkpoint.path)
    try:
        found = _networks(checkpoint)
    except WeightsDoNotFit as error:
        raise WeightsDoNotFit(f"{where}: {error}") from error
    if not found:
        raise WeightsDoNotFit(
            f"{where} holds {_outline(checkpoint.data)}, in which no known network is recognised; "
            "`vidhair models list` names files that are"
        )
    for network in found:
        check_tensors(checkpoint.path, network.tensors)
    return found


def _networks(checkpoint: Checkpoint) -> list[Found]:
    data = checkpoint.data
    if not isinstance(data, dict):
        return []
    for key in ("G_ema", ""):  # NVIDIA's; "" is a generator that was pickled alone
        if key in checkpoint.networks:
            made = checkpoint.networks[key]
            weights = data[key] if key else data
            return _alone(weights, _keywords(made.kwargs or {}), {})
    if isinstance(data.get("g_ema"), dict):  # rosinality's
        return _alone(_tensors(data["g_ema"]), {}, data)
    if isinstance(data.get("state_dict"), dict):
        return _composed(_tensors(data["state_dict"]), data)
    weights = _tensors(data)
    composed = any(name.startswith(("encoder.", "decoder.", "mapper.")) for name in weights)
    return _composed(weights, {}) if composed else _alone(weights, {}, {})


def _tensors(entries: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The named tensors; training with several GPUs puts "module." before every name."""
    weights = {n: t for n, t in entries.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if weights and all(n.startswith("module.") for n in weights):
        return under(weights, "module.")
    return weights


def _keywords(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments, those for synthesis and mapping on the same level."""
    nested = kwargs.get("synthesis_kwargs")
    return {**kwargs, **(nested if isinstance(nested, Mapping) else {})}


def _alone(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> list[Found]:
    """A network that fills its file. beside: what else the file holds."""
    for mark, read in ALONE.items():
        if any(re.fullmatch(mark, name) for name in weights):
            return [read(weights, keywords, beside)]
    return []


def _composed(weights: Weights, beside: Mapping[str, Any]) -> list[Found]:
    """Networks that lie under prefixes of one file."""
    options = beside.get("opts")
    options = options if isinstance(options, Mapping) else {}
    if "encoder.featlayer.weight" in weights:
        return _styleganex(weights, options, beside)
    found = []
    if sketch := under(weights, "encoder_firststage."):
        found.append(_sketch_encoder(sketch))
    if mapper := under(weights, "mapper."):
        found.append(_styleclip_mapper(mapper))
    if encoder := under(weights, "encoder."):
        found.append(_encoder(encoder, options, beside.get("latent_avg")))
    decoder = under(weights, "decoder.")
    found += [replace(network, beside=True) for network in _alone(decoder, {}, beside)]
    return found or _alone(weights, {}, beside)


def _outline(data: Any) -> str:
    if not isinstance(data, dict) or not data:
        return "no named tensors"
    names = [repr(name)[:40] for name in list(data)[:3]]
    return f"{len(data)} entries ({', '.join(names)} …)"


# ---- what they share


def _fitted(
    part: str,
    kind: str,
    config: dict[str, Any],
    weights: Weights,
    names: NameMap,
    absent: Mapping[str, Tensor] | None = None,
) -> Found:
    """absent: what to take for weights that the file may lack, by our names."""
    with Unfilled():
        module = BUILDERS[kind](config)
    network, prefix = module, ""
    if isinstance(module, PublishedEncoder):
        network, prefix = module.network, "network."
    state = {prefix + n: value for n, value in official_state(network, weights, names).items()}
    state = {**(absent or {}), **state}
    for name, value in module.state_dict().items():
        if name not in state:  # a counter of training
            state[name] = torch.zeros(value.shape, dtype=value.dtype)
    return Found(part, kind, config, state)


def _size(weights: Weights, name: str, dimension: int) -> int:
    try:
        return weights[name].shape[dimension]
    except LookupError:
        raise WeightsDoNotFit(
            f"the tensor {name} is missing or of another form; download the file again"
        ) from None


def _count(weights: Weights, pattern: str) -> int:
    """How many different numbers stand at the group of the pattern."""
    return len({m[1] for name in weights if (m := re.fullmatch(pattern, name))})


# ---- generators


def _stylegan3(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    _refuse_unknown_design(keywords)
    config = stylegan3_config(weights)
    _refuse_other_filters(config, weights)
    upright = {"synthesis.input.transform": torch.eye(3)}
    names = generator_names.STYLEGAN3
    return _fitted("generator", "stylegan3", asdict(config), weights, names, upright)


def stylegan3_config(weights: Weights) -> StyleGAN3Config:
    """From the names and shapes of NVIDIA's parameters; raises WeightsDoNotFit."""
    pattern = r"synthesis\.L(\d+)_(\d+)_(\d+)\.weight"
    matches = [m for name in weights if (m := re.fullmatch(pattern, name))]
    layers = sorted((int(m[1]), int(m[2]), int(m[3])) for m in matches)
    if [index for index, *_ in layers] != list(range(len(layers))) or len(layers) < 4:
        raise WeightsDoNotFit("it lacks layers of a StyleGAN3; download the file again")
    sizes, channels = [k[1] for k in layers], [k[2] for k in layers]
    kernel = _size(weights, f"synthesis.L0_{sizes[0]}_{channels[0]}.weight", -1)
    filters = [t for n, t in weights.items() if n.endswith(".down_filter")]
    config = StyleGAN3Config(
        resolution=sizes[-1],
        w_dim=_size(weights, "synthesis.input.affine.weight", 1),
        channel_max=max(channels[:-1]),
        num_layers=len(layers) - 1,
        conv_kernel=kernel,
        radial_filters=any(f.ndim == 2 for f in filters) if filters else kernel == 1,
        img_channels=channels[-1],
        **_mapping_config(weights, "mapping.fc{}.weight", 0),
    )
    for base in _bases(channels[-2], sizes[-1]):
        candidate = replace(config, channel_base=base)
        planned = layer_geometries(candidate)
        if [(g.out_size, g.out_channels) for g in planned] == list(
            zip(sizes, channels, strict=True)
        ):
            return candidate
    raise WeightsDoNotFit(
        f"its layers ({sizes[-1]} pixels, {', '.join(map(str, channels))} channels) follow no "
        "published plan of a StyleGAN3; such generators are not supported"
    )


def _refuse_other_filters(config: StyleGAN3Config, weights: Weights) -> None:
    for index, geometry in enumerate(layer_geometries(config)):
        up, down = designed_filters(geometry)
        for kind, want in (("up_filter", up), ("down_filter", down)):
            name = f"synthesis.L{index}_{geometry.out_size}_{geometry.out_channels}.{kind}"
            got = weights.get(name)
            if got is None:
                continue
            if (
                want is None
                or want.shape != got.shape
                or not torch.allclose(want, got.float(), 1e-3, 1e-5)
            ):
                raise WeightsDoNotFit(
                    f"its filter {name} is not the published one; such generators are not supported"
                )


def _stylegan2_ada(
    weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]
) -> Found:
    _refuse_unknown_design(keywords)
    blocks = _count(weights, r"synthesis\.b(\d+)\.torgb\.weight")
    channels = [_size(weights, f"synthesis.b{4 << k}.conv1.weight", 0) for k in range(blocks)]
    config = StyleGAN2Config(
        w_dim=_size(weights, "synthesis.b4.conv1.affine.weight", 1),
        img_channels=_size(weights, "synthesis.b4.torgb.weight", 0),
        conv_clamp=keywords.get("conv_clamp"),
        **_channel_plan(channels),
        **_mapping_config(weights, "mapping.fc{}.weight", 0),
    )
    names = generator_names.stylegan2_ada(blocks, config.mapping_layers)
    return _fitted("generator", "stylegan2", asdict(config), weights, names)


def _rosinality(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    blocks = _count(weights, r"to_rgbs\.(\d+)\.bias") + 1
    lasts = ["conv1", *(f"convs.{2 * k + 1}" for k in range(blocks - 1))]
    config = StyleGAN2Config(
        w_dim=_size(weights, "conv1.conv.modulation.weight", 1),
        **_channel_plan([_size(weights, f"{name}.conv.weight", 1) for name in lasts]),
        **_mapping_config(weights, "style.{}.weight", 1),
    )
    names = generator_names.stylegan2(blocks, config.mapping_layers)
    random = torch.Generator().manual_seed(0)
    absent = {
        f"synthesis.blocks.{k}.{conv}.noise_const": torch.randn(size, size, generator=random)
        for k, size in enumerate(config.sizes)
        for conv in (("conv0", "conv1") if k else ("conv1",))
    }
    average = beside.get("latent_avg")
    if not isinstance(average, Tensor) or average.shape != (config.w_dim,):
        average = _mean_code(config, weights)
    absent["mapping.w_avg"] = average
    return _fitted("generator", "stylegan2", asdict(config), weights, names, absent)


def _channel_plan(channels: Sequence[int]) -> dict[str, int]:
    """Resolution and widths from the channels of the blocks from 4 pixels on."""
    plan = {"resolution": 4 << (len(channels) - 1), "channel_max": max(channels)}
    for base in _bases(channels[-1], plan["resolution"]):
        config = StyleGAN2Config(channel_base=base, **plan)
        if [config.channels(size) for size in config.sizes] == list(channels):
            return {**plan, "channel_base": base}
    raise WeightsDoNotFit(
        f"its channels ({', '.join(map(str, channels))}) follow no published plan of a StyleGAN2; "
        "such generators are not supported"
    )


def _bases(last: int, resolution: int) -> list[int]:
    """Candidates for channel_base, of which `last` channels are left at full resolution."""
    exact = last * resolution
    powers = [1 << k for k in range(exact.bit_length() - 2, exact.bit_length() + 2)]
    return [exact, *(base for base in powers if base > 0)]


def _mapping_config(weights: Weights, pattern: str, first: int) -> dict[str, int]:
    """pattern: names of the mapping's weights, numbered from `first` on."""
    layers = _count(weights, pattern.replace(".", r"\.").replace("{}", r"(\d+)"))
    c_dim = embedded = 0
    if "mapping.embed.weight" in weights:
        embedded, c_dim = weights["mapping.embed.weight"].shape
    z_dim = _size(weights, pattern.format(first), 1) - embedded
    return {"z_dim": z_dim, "c_dim": c_dim, "mapping_layers": layers}


def _mean_code(config: StyleGAN2Config, weights: Weights) -> Tensor:
    """The mean of many codes, as the published code finds it where a file has none."""
    mapping = MappingNetwork(config)
    for k, layer in enumerate(mapping.layers):
        layer.load_state_dict(under(weights, f"style.{k + 1}."))
    z = torch.randn(MEAN_SAMPLES, config.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return mapping.w(z).mean(0)


def _refuse_unknown_design(keywords: Mapping[str, Any]) -> None:
    for name, value in BUILT_IN.items():
        given = keywords.get(name, value)
        if isinstance(value, (str, list)):
            same = given == value
        else:
            same = isinstance(given, (int, float)) and abs(given - value) < 1e-6
        if not same:
            raise WeightsDoNotFit(
                f"the generator was made with {name} = {given!r}, and only {value!r} is supported; "
                "use one of the published configurations"
            )


# ---- encoders


def _encoder(weights: Weights, options: Mapping[str, Any], average: Any) -> Found:
    given = options.get("encoder_type")
    kind = ENCODER_TYPES.get(str(given))
    if kind is None:
        says = "no encoder_type" if given is None else f"encoder_type = {given!r}"
        raise WeightsDoNotFit(
            f"its options have {says}, and the tensors alone do not tell which encoder it is; use "
            f"a file whose options name one of {', '.join(ENCODER_TYPES)}"
        )
    steps = options.get("n_iters_per_batch", RESTYLE_STEPS) if kind.startswith("restyle") else 1
    if not isinstance(steps, int) or not 1 <= steps <= 100:
        raise WeightsDoNotFit(f"its options have n_iters_per_batch = {steps!r}, not 1 to 100")
    config = _encoder_config(weights, kind, options, average)
    shape = config.num_ws, config.w_dim
    starts_at_zero = options.get("start_from_latent_avg") is False
    known = isinstance(average, Tensor) and not starts_at_zero
    w_avg = average.float() if known else torch.zeros(shape)
    if w_avg.ndim > 2 or w_avg.shape[-1] != config.w_dim or len(w_avg) not in (*shape, 1):
        raise WeightsDoNotFit(f"its latent_avg is {tuple(w_avg.shape)} for {shape} codes")
    names = ENCODER_NAMES[kind, config.backbone]
    plan = {**asdict(config), "steps": steps}
    absent = {"w_avg": w_avg.expand(shape).contiguous()}
    found = _fitted("encoder", kind, plan, weights, names, absent)
    if not known and not starts_at_zero:
        del found.tensors["w_avg"]
    return found


def _encoder_config(
    weights: Weights, kind: str, options: Mapping[str, Any], average: Any
) -> StyleEncoderConfig:
    backbone: Literal["irse50", "resnet34"] = "irse50"
    stem, last = "input_layer.0.weight", "res_layer.3"
    if "conv1.weight" in weights:
        backbone, stem, last = "resnet34", "conv1.weight", "conv2"
    if kind == "w_encoder":
        w_dim, size = _size(weights, "linear.weight", 0), W_ENCODER_SIZE
        num_ws = _codes_of_w_encoder(options, average)
    else:
        w_dim = _size(weights, "styles.0.linear.weight", 0)
        num_ws = _count(weights, r"styles\.(\d+)\.linear\.weight")
        # The first head halves the last features, at 1/16 of the size, until one pixel is left.
        size = 16 << _count(weights, r"styles\.0\.convs\.(\d+)\.weight")
    blocks = _count(weights, rf"body\.(\d+)\.{re.escape(last)}\.weight")
    outputs = [_size(weights, f"body.{index}.{last}.weight", 0) for index in range(blocks)]
    stages = [(width, len(list(run))) for width, run in groupby(outputs)]
    return StyleEncoderConfig(
        num_ws=num_ws,
        w_dim=w_dim,
        size=size,
        in_channels=_size(weights, stem, 1),
        backbone=backbone,
        widths=tuple(width for width, _ in stages),
        units=tuple(count for _, count in stages),
    )


def _codes_of_w_encoder(options: Mapping[str, Any], average: Any) -> int:
    """One code serves all layers, so only what lies beside the encoder tells how many there are."""
    if isinstance(average, Tensor) and average.ndim == 2 and len(average) > 1:
        return len(average)
    for name in ("stylegan_size", "output_size"):
        side = options.get(name)
        if isinstance(side, int) and side >= 4:
            return 2 * side.bit_length() - 4
    raise WeightsDoNotFit(
        "neither its latent_avg nor its options tell for which size of generator it is; use the "
        "file as it was published"
    )


def _sketch_encoder(weights: Weights) -> Found:
    config = {"in_channels": _size(weights, "input_layer.0.weight", 1)}
    return _fitted(
        "sketch_encoder",
        "sketch_encoder",
        config,
        weights,
        encoder_names.SKETCH_ENCODER,
    )


def _styleganex(
    weights: Weights, options: Mapping[str, Any], beside: Mapping[str, Any]
) -> list[Found]:
    config = styleganex_config(weights, options)
    average = one_average(beside.get("latent_avg"))
    names = styleganex(len(config.generator.sizes), config.mapping_layers, config.skips)
    given = {**weights, "latent_avg": average}
    found = [_fitted("styleganex", "styleganex", asdict(config), given, names)]
    if isinstance(vector := beside.get("editing_w"), Tensor):
        found.append(Found("editing_vector", "editing_vector", {}, {"editing_w": vector.float()}))
    return found


# ---- mappers, parsers, identity


def _styleclip_mapper(weights: Weights) -> Found:
    parts = {"coarse": "course", "medium": "medium", "fine": "fine"}  # the spelling is official
    given = {ours: f"{theirs}_mapping." for ours, theirs in parts.items()}
    held = {ours: any(n.startswith(prefix) for n in weights) for ours, prefix in given.items()}
    if any(held.values()):
        first = next(n for n in weights if n.endswith("mapping.mapping.1.weight"))
        config = {"w_dim": _size(weights, first, 0), **held}
        names, kind = generator_names.STYLECLIP_LEVELS, "levels_mapper"
        return _fitted("mapper", kind, config, weights, names)
    config = {"w_dim": _size(weights, "mapping.mapping.1.weight", 0)}
    names, kind = generator_names.STYLECLIP_SINGLE, "code_mapper"
    return _fitted("mapper", kind, config, weights, names)


def _bald_mapper(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    alpha = beside.get("alpha")
    if isinstance(alpha, Tensor) and alpha.numel() == 1:
        alpha = alpha.item()
    if not isinstance(alpha, (int, float)):
        raise WeightsDoNotFit("it has no number `alpha`, the strength of a bald mapper")
    config = {
        "w_dim": _size(weights, "structure_mapping.fc0.weight", 0),
        "depth": _count(weights, r"structure_mapping\.fc(\d+)\.weight"),
        "strength": BALD_GAIN * float(alpha),
    }
    names = generator_names.BALD_MAPPER
    return _fitted("bald_mapper", "bald_mapper", config, weights, names)


def _parser(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    labels = _size(weights, "conv_out.conv_out.weight", 0)
    if labels == len(CelebAMaskLabel):
        kind, names = "celebamask_parser", encoder_names.CELEBAMASK_PARSER
    elif labels == HAIRCLIP_LABELS:
        kind, names = "hairclip_parser", encoder_names.HAIRCLIP_PARSER
    else:
        raise WeightsDoNotFit(
            f"a BiSeNet of {labels} labels; those of {len(CelebAMaskLabel)} (CelebAMask-HQ) and of "
            f"{HAIRCLIP_LABELS} (HairCLIPv2) are known"
        )
    return _fitted("parser", kind, {}, weights, names)


def _identity(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    config = {"affine": "output_layer.4.weight" in weights}
    names = encoder_names.FACE_IDENTITY
    return _fitted("identity", "face_identity", config, weights, names)


# A name that only this network has → how it is read from weights, constructor and neighbours.
Read = Callable[[Weights, Mapping[str, Any], Mapping[str, Any]], Found]
ALONE: dict[str, Read] = {
    r"synthesis\.input\.freqs": _stylegan3,
    r"synthesis\.b4\.const": _stylegan2_ada,
    r"conv1\.conv\.modulation\.weight": _rosinality,
    r"cp\.resnet\.conv1\.weight": _parser,
    r"output_layer\.3\.weight": _identity,
    r"structure_mapping\.fc0\.weight": _bald_mapper,
}
