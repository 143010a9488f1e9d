"""Tiny networks of ours, as the weight files of others hold them."""

import argparse
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.checkpoints.test_names import official_name
from tests.checkpoints.third_party_files import EasyDict, network, nvidia_modules
from tests.models.encoders.test_style import CONFIG
from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from vidhair.checkpoints.generator_names import stylegan2, stylegan2_ada
from vidhair.checkpoints.official import NameMap
from vidhair.conversion.recognise import ENCODER_NAMES, ENCODER_TYPES
from vidhair.models.encoders.inversion import ENCODERS
from vidhair.models.encoders.style import StyleEncoder, StyleEncoderConfig
from vidhair.models.generators import stylegan2 as sg2
from vidhair.models.generators.stylegan3 import Generator
from vidhair.ops.upfirdn2d import setup_filter

Weights = dict[str, Tensor]
TAPS = setup_filter([1, 3, 3, 1])


def one_sentence(error: pytest.ExceptionInfo[Any], *says: object) -> str:
    """The message, after checking that it is one sentence with a remedy that says all these."""
    message = str(error.value)
    assert "\n" not in message and "; " in message and len(message) < 600, message
    assert not message.endswith(".") and "Error" not in message, message
    for text in says:
        assert str(text) in message, (text, message)
    return message


def official(state: Mapping[str, Tensor], names: NameMap) -> Weights:
    """The weights under the names that a table translates to ours; those it lacks are left out."""
    inverses = [_inverse(*row) for row in names.table]
    found = {}
    for ours, tensor in state.items():
        for pattern, theirs in inverses:
            if match := re.fullmatch(pattern, ours):
                found[theirs.format(**match.groupdict())] = tensor
                break
    return found


def _inverse(theirs: str, ours: str) -> tuple[str, str]:
    """A row of a table → (pattern of our names, form of theirs)."""
    group = r"\((?:\?P<(\w+)>)?([^()]*)\)"
    bodies: dict[str, str] = {}
    for number, match in enumerate(re.finditer(group, theirs), 1):
        bodies[match[1] or str(number)] = match[2]
    forms = iter(bodies)
    form = re.sub(group, lambda _: f"{{_{next(forms)}}}", theirs)
    pattern = ""
    for part in re.split(r"(\\\d|\\g<\w+>)", ours):
        key = re.sub(r"\\g<(\w+)>|\\(\d)", r"\1\2", part)
        pattern += f"(?P<_{key}>{bodies[key]})" if part.startswith("\\") else re.escape(part)
    return pattern, re.sub(r"\\(.)", r"\1", form)


# ---- generators


def stylegan3(generator: Generator | None = None, **changes: Any) -> Weights:
    """NVIDIA's names, filters included."""
    generator = generator or tiny_generator(**changes)
    weights = {official_name(n, generator): t for n, t in generator.state_dict().items()}
    for index, layer in enumerate(generator.synthesis.layers):
        g = layer.geometry
        for kind in ("up_filter", "down_filter"):
            if (taps := getattr(layer, kind)) is not None:
                weights[f"synthesis.L{index}_{g.result.size}_{g.result.channels}.{kind}"] = taps
    return weights


def tiny_stylegan2(resolution: int = 32, **changes: Any) -> sg2.Generator:
    """With an average code, and a noise that counts."""
    generator = seeded(lambda: sg2.Generator(tiny_stylegan2_config(resolution, **changes)))
    generator.mapping.w_avg.copy_(random(len(generator.mapping.w_avg), seed=5))
    for name, strength in generator.named_parameters():
        if name.endswith("noise_strength"):
            strength.fill_(0.3)
    return generator


def rosinality(generator: sg2.Generator) -> Weights:
    """His names and shapes, filters included; the average code is kept beside them."""
    config = generator.config
    names = stylegan2(len(config.sizes), config.mapping_layers)
    weights = official(generator.state_dict(), names)
    for name, value in weights.items():
        if name.endswith(".conv.weight") or name == "input.input":
            weights[name] = value[None]
        elif name.startswith("noises."):
            weights[name] = value[None, None]
        elif name.startswith("to_rgb") and name.count(".") < 3 and name.endswith("bias"):
            weights[name] = value.view(1, -1, 1, 1)
        elif name.endswith("noise.weight"):
            weights[name] = value.view(1)
    for k in range(len(config.sizes) - 1):
        weights[f"convs.{2 * k}.conv.blur.kernel"] = TAPS * 4
        weights[f"to_rgbs.{k}.upsample.kernel"] = TAPS * 4
    return weights


def ada(generator: sg2.Generator) -> Weights:
    """NVIDIA's names, filters included."""
    config = generator.config
    weights = official(
        generator.state_dict(), stylegan2_ada(len(config.sizes), config.mapping_layers)
    )
    for size in config.sizes:
        weights[f"synthesis.b{size}.resample_filter"] = TAPS
        if size > config.sizes[0]:
            weights[f"synthesis.b{size}.conv0.resample_filter"] = TAPS
    return weights


def pickled(weights: Mapping[str, Tensor], **kwargs: Any) -> bytes:
    """A release of NVIDIA's; kwargs: with which its generator was made."""
    with nvidia_modules():
        held = {name: network("Generator", weights, **kwargs) for name in ("G", "G_ema")}
        return pickle.dumps({"training_set_kwargs": EasyDict(), **held, "D": None}, 4)


# ---- encoders

TYPES = {  # our kind → the option of one published encoder
    ("psp", "irse50"): "GradualStyleEncoder",
    ("e4e", "irse50"): "Encoder4Editing",
    ("e4e", "ir50"): "Encoder4Editing",
    ("w_encoder", "irse50"): "BackboneEncoderUsingLastLayerIntoW",
    ("restyle_psp", "irse50"): "BackboneEncoder",
    ("restyle_psp", "ir50"): "BackboneEncoder",
    ("restyle_psp", "resnet34"): "ResNetBackboneEncoder",
    ("restyle_e4e", "irse50"): "ProgressiveBackboneEncoder",
    ("restyle_e4e", "resnet34"): "ResNetProgressiveBackboneEncoder",
}
assert all(ENCODER_TYPES[name] == kind for (kind, _), name in TYPES.items())


def encoder(kind: str, backbone: str = "irse50", **changes: Any) -> StyleEncoder:
    channels = 6 if kind.startswith("restyle") else 3
    config = {**CONFIG, "in_channels": channels, "backbone": backbone, **changes}
    return seeded(lambda: ENCODERS[kind](StyleEncoderConfig(**config)))


def psp(
    kind: str = "psp",
    backbone: str = "irse50",
    *,
    decoder: Mapping[str, Tensor] | None = None,
    options: Mapping[str, Any] | None = None,
    namespace: bool = False,
    changes: Mapping[str, Any] | None = None,
    **beside: Any,
) -> dict[str, Any]:
    """What pSp and its heirs save. decoder: the weights of a generator. changes: of the encoder's
    configuration. beside: further entries."""
    network = encoder(kind, backbone, **(changes or {}))
    weights = official(network.state_dict(), ENCODER_NAMES[kind, backbone])
    state = {f"encoder.{name}": value for name, value in weights.items()}
    state |= {f"decoder.{name}": value for name, value in (decoder or {}).items()}
    opts = {"encoder_type": TYPES[kind, backbone], "start_from_latent_avg": True}
    opts |= {"device": "cuda:0", "learn_in_w": False, **(options or {})}
    average = {"latent_avg": random(network.config.num_ws, network.config.w_dim, seed=6)}
    held = argparse.Namespace(**opts) if namespace else opts
    return {"state_dict": state, "opts": held, **average, **beside}


# ---- files


def write(path: Path, value: Any) -> Path:
    """As bytes, or with torch.save."""
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        torch.save(value, path)
    return path


def without(entries: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    left_out = set(names)
    return {name: value for name, value in entries.items() if name not in left_out}
