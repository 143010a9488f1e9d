"""Which networks a weight file holds, and how they are built: read from its contents alone.

What a file's tensors leave open (which of two encoders of the same shape) is read from the options
that its authors stored beside them. The name of the file never matters.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints import encoder_names, generator_names
from vidhair.checkpoints.limits import shown
from vidhair.checkpoints.official import NameMap, official_state, under
from vidhair.checkpoints.styleganex_names import styleganex
from vidhair.checkpoints.third_party import Checkpoint, check_tensors, shown_path
from vidhair.errors import WeightsDoNotFit
from vidhair.models.encoders.inversion import PublishedEncoder
from vidhair.models.encoders.restyle import STEPS
from vidhair.models.encoders.style import BackboneName, StyleEncoderConfig
from vidhair.models.generators.mapping import MAPPING_LR_MULTIPLIER, MappingNetwork
from vidhair.models.generators.stylegan2 import FIRST_SIZE, RESAMPLING_TAPS, StyleGAN2Config
from vidhair.models.generators.stylegan3 import (
    CONV_CLAMP,
    StyleGAN3Config,
    designed_filters,
    layer_geometries,
)
from vidhair.models.mappers import BALD_GAIN
from vidhair.models.pack import MISFITS, empty_network, reason_of
from vidhair.models.parsers.bisenet import HAIRCLIP_LABELS, CelebAMaskLabel
from vidhair.models.styleganex.network import one_average, styleganex_config
from vidhair.ops.upfirdn2d import setup_filter

Weights = Mapping[str, Tensor]

LARGEST = 4096  # pixels; no published generator draws more
MEAN_SAMPLES = 10000  # codes whose mean is the average code, where a file has none
W_ENCODER_SIZE = 256
STAGES = 4  # of an encoder's backbone
IR_LAST = "res_layer.3"  # the last convolution of a block of IR-SE50 and IR-50
GATE = "body.0.res_layer.5.fc1.weight"  # of the former alone
FILTER_TOLERANCE = 2**-8  # files may be stored in half precision
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
    # The same without gates, whose names then match nothing.
    ("psp", "ir50"): encoder_names.PYRAMID_ENCODER,
    ("e4e", "ir50"): encoder_names.PYRAMID_ENCODER,
    ("w_encoder", "ir50"): encoder_names.W_ENCODER,
    ("restyle_psp", "ir50"): encoder_names.RESTYLE_IRSE50_ENCODER,
    ("restyle_e4e", "ir50"): encoder_names.RESTYLE_IRSE50_ENCODER,
    ("restyle_psp", "resnet34"): encoder_names.RESTYLE_RESNET34_ENCODER,
    ("restyle_e4e", "resnet34"): encoder_names.RESTYLE_RESNET34_ENCODER,
}
# What NVIDIA's constructors may be told and every generator here has built in.
BUILT_IN: dict[str, Any] = {
    "architecture": "skip",
    "resample_filter": [1, 3, 3, 1],
    "activation": "lrelu",
    "lr_multiplier": MAPPING_LR_MULTIPLIER,
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
    beside: it lies in the file of another network, for whose sake it is there. unused: official
    names in the file that are known and that no picture depends on.
    """

    part: str
    kind: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    beside: bool = False
    unused: tuple[str, ...] = ()


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
    held = data.get("state_dict")
    return _composed(_tensors(held if isinstance(held, dict) else data), data)


def _tensors(entries: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The named tensors; training with several GPUs puts "module." before every name."""
    weights = {n: t for n, t in entries.items() if isinstance(n, str) and isinstance(t, Tensor)}
    if weights and all(n.startswith("module.") for n in weights):
        return under(weights, "module.")
    return weights


def _keywords(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of NVIDIA's generators, those for the synthesis on the same level.

    Raises WeightsDoNotFit if they ask for what the generators here do not have.
    """
    nested = [kwargs.get(name) for name in ("synthesis_kwargs", "mapping_kwargs")]
    synthesis, mapping = ({**n} if isinstance(n, Mapping) else {} for n in nested)
    for level in (kwargs, synthesis, mapping):
        for name, value in BUILT_IN.items():
            _refuse_other(name, level.get(name, value), value)
    # StyleGAN2-ADA's code nests them, and bounds nothing by default; StyleGAN3's does neither.
    flat = kwargs and "synthesis_kwargs" not in kwargs
    default = {"conv_clamp": CONV_CLAMP} if flat else {}
    return {**default, **kwargs, **synthesis}


def _refuse_other(name: str, given: Any, value: Any) -> None:
    if isinstance(value, (str, list)):
        same = given == value
    else:
        same = isinstance(given, (int, float)) and abs(given - value) < 1e-6
    if not same:
        raise WeightsDoNotFit(
            f"the generator was made with {name} = {shown(given)}, and only {value} is supported; "
            "use one of the published configurations"
        )


def _alone(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> list[Found]:
    """A network that fills its file. beside: what else the file holds."""
    for mark, read in ALONE.items():
        if mark in weights:
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
    decoder = _alone(under(weights, "decoder."), {}, beside)
    found += [replace(network, beside=bool(found)) for network in decoder]
    return found or _alone(weights, {}, beside)


def _outline(data: Any) -> str:
    if not isinstance(data, dict) or not data:
        return "no named tensors"
    names = [repr(name)[:40] for name in list(data)[:3]]
    return f"{len(data)} entries ({', '.join(names)} …)"


# ---- what they share


def _fitted(
    kind: str, config: Mapping[str, Any], weights: Weights, names: NameMap
) -> dict[str, Tensor]:
    """The weights under our names, without what official files lack by design.

    Raises WeightsDoNotFit unless all of both sides fit.
    """
    try:
        module = empty_network(kind, dict(config))
    except MISFITS as error:
        raise WeightsDoNotFit(
            f"the shapes of its tensors make no {kind} ({reason_of(error)}); download the file "
            "again, or use a published one"
        ) from error
    network, prefix = module, ""
    if isinstance(module, PublishedEncoder):
        network, prefix = module.network, "network."
    given = official_state(network, weights, names)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):  # a counter of training, which old files lack
            given.setdefault(name, torch.zeros(value.shape, dtype=value.dtype))
    return {prefix + name: value for name, value in given.items()}


def _size(weights: Weights, name: str, dimension: int) -> int:
    tensor = weights.get(name)
    if tensor is None or not -tensor.ndim <= dimension < tensor.ndim or not tensor.numel():
        raise WeightsDoNotFit(
            f"the tensor {name} is missing or of another form; download the file again"
        )
    return tensor.shape[dimension]


def _count(weights: Weights, pattern: str) -> int:
    """How many different numbers stand at the group of the pattern."""
    return len({m[1] for name in weights if (m := re.fullmatch(pattern, name))})


# ---- generators


def _stylegan3(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    _refuse_other("conv_clamp", keywords.get("conv_clamp", CONV_CLAMP), CONV_CLAMP)
    config = stylegan3_config(weights)
    for index, geometry in enumerate(layer_geometries(config)):
        layer = f"synthesis.L{index}_{geometry.result.size}_{geometry.result.channels}"
        up, down = designed_filters(geometry)
        _refuse_other_filter(weights, f"{layer}.up_filter", up)
        _refuse_other_filter(weights, f"{layer}.down_filter", down)
    plan = asdict(config)
    tensors = _fitted("stylegan3", plan, weights, generator_names.STYLEGAN3)
    # The transform in the file is whatever was rendered last.
    upright = {"synthesis.input.transform": torch.eye(3)}
    return Found("generator", "stylegan3", plan, {**tensors, **upright})


def stylegan3_config(weights: Weights) -> StyleGAN3Config:
    """From the names and shapes of NVIDIA's parameters; raises WeightsDoNotFit."""
    pattern = r"synthesis\.L(\d+)_(\d+)_(\d+)\.weight"
    matches = [m for name in weights if (m := re.fullmatch(pattern, name))]
    layers = sorted((int(m[1]), int(m[2]), int(m[3])) for m in matches)
    if [index for index, *_ in layers] != list(range(len(layers))) or len(layers) < 4:
        raise WeightsDoNotFit("it lacks layers of a StyleGAN3; download the file again")
    sizes, channels = [k[1] for k in layers], [k[2] for k in layers]
    _refuse_size(sizes[-1])
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
        if [(g.result.size, g.result.channels) for g in planned] == list(
            zip(sizes, channels, strict=True)
        ):
            return candidate
    raise WeightsDoNotFit(
        f"its layers ({sizes[-1]} pixels, {', '.join(map(str, channels))} channels) follow no "
        "published plan of a StyleGAN3; such generators are not supported"
    )


def _refuse_other_filter(weights: Weights, name: str, want: Tensor | None) -> None:
    """Filters are designed, not loaded, so those of the file must be the same."""
    got = weights.get(name)
    if got is None:
        return
    if (
        want is None
        or want.shape != got.shape
        or not torch.allclose(got.float(), want, FILTER_TOLERANCE, 1e-5)
    ):
        raise WeightsDoNotFit(
            f"its filter {name} is not the published one; such generators are not supported"
        )


# How StyleGAN2's and StyleGANEX's files call filters, which are designed here.
FILTERS = ("resample_filter", "blur.kernel", "upsample.kernel", "blur_weight")


def _refuse_other_taps(weights: Weights) -> None:
    """Like the filters of StyleGAN3, those of StyleGAN2, which some files keep with a gain."""
    for name, got in weights.items():
        if name.endswith(FILTERS[:3]):
            taps = setup_filter(RESAMPLING_TAPS)
            _refuse_other_filter({name: got / got.sum()}, name, taps)


def _stylegan2_ada(
    weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]
) -> Found:
    _refuse_other_taps(weights)
    clamp = keywords.get("conv_clamp")
    if clamp is not None and not (type(clamp) in (int, float) and 0 < clamp < 1e9):
        raise WeightsDoNotFit(
            f"the generator was made with conv_clamp = {shown(clamp)}, which is no bound; use one "
            "of the published configurations"
        )
    blocks = _count(weights, r"synthesis\.b(\d+)\.torgb\.weight")
    channels = [_size(weights, f"synthesis.b{4 << k}.conv1.weight", 0) for k in range(blocks)]
    config = StyleGAN2Config(
        w_dim=_size(weights, "synthesis.b4.conv1.affine.weight", 1),
        img_channels=_size(weights, "synthesis.b4.torgb.weight", 0),
        conv_clamp=clamp,
        **_channel_plan(channels),
        **_mapping_config(weights, "mapping.fc{}.weight", 0),
    )
    plan, names = asdict(config), generator_names.stylegan2_ada(blocks, config.mapping_layers)
    return Found("generator", "stylegan2", plan, _fitted("stylegan2", plan, weights, names))


def _rosinality(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    _refuse_other_taps(weights)
    blocks = _count(weights, r"to_rgbs\.(\d+)\.bias") + 1
    lasts = ["conv1", *(f"convs.{2 * k + 1}" for k in range(blocks - 1))]
    config = StyleGAN2Config(
        w_dim=_size(weights, "conv1.conv.modulation.weight", 1),
        **_channel_plan([_size(weights, f"{name}.conv.weight", 1) for name in lasts]),
        **_mapping_config(weights, "style.{}.weight", 1),
    )
    plan, names = asdict(config), generator_names.stylegan2(blocks, config.mapping_layers)
    # Noise stored for several pictures: a generator keeps that of the first.
    first = {n: value[:1] for n, value in weights.items() if n.startswith("noises.") and value.ndim}
    tensors = _fitted("stylegan2", plan, {**weights, **first}, names)
    average = beside.get("latent_avg")
    if isinstance(average, Tensor):
        w_avg = one_average(_average(average, (config.num_ws, config.w_dim)))
    else:
        w_avg = _mean_code(config, tensors)
    noise = {name: value for name, value in _noise(config) if name not in tensors}
    return Found("generator", "stylegan2", plan, {**tensors, **noise, "mapping.w_avg": w_avg})


def _noise(config: StyleGAN2Config) -> Iterator[tuple[str, Tensor]]:
    """Constant noise, the same every time; early files have none."""
    random = torch.Generator().manual_seed(0)
    for k, size in enumerate(config.sizes):
        for conv in ("conv0", "conv1") if k else ("conv1",):
            values = torch.randn(size, size, generator=random)
            yield f"synthesis.blocks.{k}.{conv}.noise_const", values


def _channel_plan(channels: Sequence[int]) -> dict[str, int]:
    """Resolution and widths from the channels of the blocks from 4 pixels on."""
    resolution = FIRST_SIZE << len(channels) >> 1
    _refuse_size(resolution)
    plan = {"resolution": resolution, "channel_max": max(channels)}
    for base in _bases(channels[-1], plan["resolution"]):
        config = StyleGAN2Config(channel_base=base, **plan)
        if [config.channels(size) for size in config.sizes] == list(channels):
            return {**plan, "channel_base": base}
    raise WeightsDoNotFit(
        f"its channels ({', '.join(map(str, channels))}) follow no published plan of a StyleGAN2; "
        "such generators are not supported"
    )


def _refuse_size(pixels: int) -> None:
    if not FIRST_SIZE <= pixels <= LARGEST:
        raise WeightsDoNotFit(
            f"it draws pictures of {pixels} pixels, and {FIRST_SIZE} to {LARGEST} are supported; "
            "use a published generator"
        )


def _bases(last: int, resolution: int) -> list[int]:
    """Candidates for channel_base, of which `last` channels are left at full resolution."""
    exact = last * resolution
    near = exact.bit_length()
    return [exact, *(1 << k for k in range(max(0, near - 2), near + 2))]


def _mapping_config(weights: Weights, pattern: str, first: int) -> dict[str, int]:
    """pattern: names of the mapping's weights, numbered from `first` on."""
    layers = _count(weights, pattern.replace(".", r"\.").replace("{}", r"(\d+)"))
    c_dim = embedded = 0
    if (embedding := "mapping.embed.weight") in weights:
        embedded, c_dim = (_size(weights, embedding, dimension) for dimension in (0, 1))
    z_dim = _size(weights, pattern.format(first), 1) - embedded
    return {"z_dim": z_dim, "c_dim": c_dim, "mapping_layers": layers}


def _mean_code(config: StyleGAN2Config, tensors: Weights) -> Tensor:
    """The mean of many codes, as the published code finds it where a file has none."""
    mapping = MappingNetwork(config)
    mapping.load_state_dict({**under(tensors, "mapping."), "w_avg": mapping.w_avg})
    z = torch.randn(MEAN_SAMPLES, config.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return mapping.w(z).mean(0)


# ---- encoders


def _encoder(weights: Weights, options: Mapping[str, Any], average: Any) -> Found:
    given = options.get("encoder_type")
    kind = ENCODER_TYPES.get(str(given))
    if kind is None:
        says = "no encoder_type" if given is None else f"encoder_type = {shown(given)}"
        raise WeightsDoNotFit(
            f"its options have {says}, and the tensors alone do not tell which encoder it is; use "
            f"a file whose options name one of {', '.join(ENCODER_TYPES)}"
        )
    config = _encoder_config(weights, kind, options, average)
    names = ENCODER_NAMES.get((kind, config.backbone))
    looped = kind.startswith("restyle")
    channels = 6 if looped else 3
    if names is None or config.in_channels != channels:
        raise WeightsDoNotFit(
            f"its encoder_type is {given}, but it has a {config.backbone} for pictures of "
            f"{config.in_channels} channels instead of {channels}; use an encoder of photographs"
        )
    steps = options.get("n_iters_per_batch", STEPS) if looped else 1
    if type(steps) is not int or not 1 <= steps <= 100:
        raise WeightsDoNotFit(
            f"its options have n_iters_per_batch = {shown(steps)}, not 1 to 100; use the file as "
            "it was published"
        )
    plan = {**asdict(config), "steps": steps}
    tensors = _fitted(kind, plan, weights, names)
    shape = config.num_ws, config.w_dim
    # ReStyle starts from the average whatever this option says.
    if not looped and options.get("start_from_latent_avg") is False:
        tensors["w_avg"] = torch.zeros(shape)
    elif isinstance(average, Tensor):
        tensors["w_avg"] = _average(average, shape)
    return Found("encoder", kind, plan, tensors)


def _average(latent_avg: Tensor, shape: tuple[int, int]) -> Tensor:
    """A file's average code, [D], [1, D] or [L, D], as [L, D]; shape: (L, D)."""
    num_ws, width = shape
    known = tuple(latent_avg.shape) in ((width,), (1, width), shape)
    if not known or not latent_avg.is_floating_point():
        raise WeightsDoNotFit(
            f"its latent_avg is {latent_avg.dtype} of the shape {tuple(latent_avg.shape)}, not an "
            f"average of {num_ws} codes of {width} numbers; use the file as it was published"
        )
    return latent_avg.float().expand(shape).contiguous()


def _encoder_config(
    weights: Weights, kind: str, options: Mapping[str, Any], average: Any
) -> StyleEncoderConfig:
    backbone: BackboneName = "irse50" if GATE in weights else "ir50"
    stem, last = "input_layer.0.weight", IR_LAST
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
    widths, units = _stages(weights, last)
    return StyleEncoderConfig(
        num_ws=num_ws,
        w_dim=w_dim,
        size=size,
        in_channels=_size(weights, stem, 1),
        backbone=backbone,
        widths=widths,
        units=units,
    )


def _stages(weights: Weights, last: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of a backbone's stages, and how many blocks each has; last: a block's convolution."""
    blocks = _count(weights, rf"body\.(\d+)\.{re.escape(last)}\.weight")
    outputs = [_size(weights, f"body.{index}.{last}.weight", 0) for index in range(blocks)]
    stages = [(width, len(list(run))) for width, run in groupby(outputs)]
    if len(stages) != STAGES:
        raise WeightsDoNotFit(
            f"its backbone has {len(stages)} stages of different widths where published ones have "
            f"{STAGES}; download the file again, or use a published encoder"
        )
    return tuple(width for width, _ in stages), tuple(count for _, count in stages)


def _codes_of_w_encoder(options: Mapping[str, Any], average: Any) -> int:
    """One code serves all layers, so only what lies beside the encoder tells how many there are."""
    if isinstance(average, Tensor) and average.ndim == 2 and len(average) > 1:
        return len(average)
    for name in ("stylegan_size", "output_size"):
        side = options.get(name)
        if type(side) is int and side >= FIRST_SIZE and side.bit_count() == 1:
            return StyleGAN2Config(resolution=side).num_ws
    raise WeightsDoNotFit(
        "neither its latent_avg nor its options tell for which size of generator it is; use the "
        "file as it was published"
    )


def _sketch_encoder(weights: Weights) -> Found:
    kind, config = "sketch_encoder", {"in_channels": _size(weights, "input_layer.0.weight", 1)}
    return Found(kind, kind, config, _fitted(kind, config, weights, encoder_names.SKETCH_ENCODER))


# What training leaves beside a network of StyleGANEX.
STRAY = ("discriminator", "discriminator_optimizer", "optimizer", "global_step", "best_val_loss")


def _styleganex(
    weights: Weights, options: Mapping[str, Any], beside: Mapping[str, Any]
) -> list[Found]:
    _refuse_other_taps(weights)
    config = styleganex_config(weights, options)
    names = styleganex(len(config.generator.sizes), config.mapping_layers, config.skips)
    given = {**weights, "latent_avg": one_average(beside.get("latent_avg"))}
    plan = asdict(config)
    stray = [name for name in weights if names.leaves_out(name) and not name.endswith(FILTERS)]
    stray += [key for key in STRAY if key in beside]
    tensors = _fitted("styleganex", plan, given, names)
    found = [Found("styleganex", "styleganex", plan, tensors, unused=tuple(stray))]
    if isinstance(vectors := beside.get("editing_w"), Tensor):
        shape = config.generator.num_ws, config.w_dim
        if vectors.ndim != 3 or not len(vectors) or tuple(vectors.shape[1:]) != shape:
            raise WeightsDoNotFit(
                f"its editing_w has the shape {tuple(vectors.shape)}, not {shape} for each vector; "
                "use the file as it was published"
            )
        # Training draws one of them; the authors edit with the first.
        first = {"editing_w": vectors[:1].float()}
        found.append(Found("editing_vector", "editing_vector", {}, first))
    return found


# ---- mappers, parsers, identity


def _styleclip_mapper(weights: Weights) -> Found:
    parts = {"coarse": "course", "medium": "medium", "fine": "fine"}  # the spelling is official
    held = {
        ours: any(name.startswith(f"{theirs}_mapping.") for name in weights)
        for ours, theirs in parts.items()
    }
    kind, names, first, levels = "code_mapper", generator_names.STYLECLIP_SINGLE, "", {}
    if any(held.values()):
        kind, names, levels = "levels_mapper", generator_names.STYLECLIP_LEVELS, held
        first = next(f"{parts[ours]}_mapping." for ours in parts if held[ours])
    config = {"w_dim": _size(weights, f"{first or 'mapping.'}mapping.1.weight", 0), **levels}
    return Found("mapper", kind, config, _fitted(kind, config, weights, names))


def _bald_mapper(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    alpha = beside.get("alpha")
    if isinstance(alpha, Tensor) and alpha.numel() == 1:
        alpha = alpha.item()
    if not isinstance(alpha, (int, float)) or not abs(alpha) < 100:  # NaN fails
        raise WeightsDoNotFit(
            f"it has {shown(alpha)} as alpha, the strength of a bald mapper; use the file as it "
            "was published"
        )
    config = {
        "w_dim": _size(weights, "structure_mapping.fc0.weight", 0),
        "depth": _count(weights, r"structure_mapping\.fc(\d+)\.weight"),
        "strength": BALD_GAIN * alpha,
    }
    kind = "bald_mapper"
    return Found(kind, kind, config, _fitted(kind, config, weights, generator_names.BALD_MAPPER))


def _parser(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    labels = _size(weights, "conv_out.conv_out.weight", 0)
    if labels == len(CelebAMaskLabel):
        kind, names = "celebamask_parser", encoder_names.CELEBAMASK_PARSER
    elif labels == HAIRCLIP_LABELS:
        kind, names = "hairclip_parser", encoder_names.HAIRCLIP_PARSER
    else:
        raise WeightsDoNotFit(
            f"it is a BiSeNet of {labels} labels; use one of {len(CelebAMaskLabel)} "
            f"(CelebAMask-HQ) or of {HAIRCLIP_LABELS} (HairCLIPv2)"
        )
    return Found("parser", kind, {}, _fitted(kind, {}, weights, names))


def _identity(weights: Weights, keywords: Mapping[str, Any], beside: Mapping[str, Any]) -> Found:
    widths, units = _stages(weights, IR_LAST)
    cells = _size(weights, "output_layer.3.weight", 1) // widths[-1]
    config = {
        "size": math.isqrt(cells) << STAGES,
        "width": _size(weights, "output_layer.3.weight", 0),
        "widths": widths,
        "units": units,
        "affine": "output_layer.4.weight" in weights,
        "gated": GATE in weights,
    }
    tensors = _fitted("face_identity", config, weights, encoder_names.FACE_IDENTITY)
    return Found("identity", "face_identity", config, tensors)


# A name that only this network has → how it is read from weights, constructor and neighbours.
Read = Callable[[Weights, Mapping[str, Any], Mapping[str, Any]], Found]
ALONE: dict[str, Read] = {
    "synthesis.input.freqs": _stylegan3,
    "synthesis.b4.const": _stylegan2_ada,
    "conv1.conv.modulation.weight": _rosinality,
    "cp.resnet.conv1.weight": _parser,
    "output_layer.3.weight": _identity,
    "structure_mapping.fc0.weight": _bald_mapper,
}
