"""Weight files of others are known by what they hold, and refused in one sentence."""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from tests.checkpoints.test_styleganex_names import OPTIONS
from tests.checkpoints.test_styleganex_names import official as styleganex
from tests.checkpoints.third_party_files import EasyDict, saved
from tests.models.official_files import (
    TYPES,
    ada,
    encoder,
    official,
    one_sentence,
    pickled,
    psp,
    rosinality,
    stylegan3,
    tiny_stylegan2,
    without,
    write,
)
from tests.models.tiny import R, T, random, tiny_config, tiny_generator, tiny_styleganex
from vidhair.checkpoints import encoder_names, generator_names
from vidhair.checkpoints.third_party import Checkpoint, Made, read_checkpoint
from vidhair.conversion.recognise import MEAN_SAMPLES, Found, recognise, stylegan3_config
from vidhair.errors import CheckpointUnreadable, VidhairError, WeightsDoNotFit
from vidhair.models.encoders.restyle import STEPS
from vidhair.models.encoders.style import SketchEncoder
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.generators import stylegan3 as sg3
from vidhair.models.mappers import BALD_GAIN, BaldMapper, CodeMapper, LevelsMapper
from vidhair.models.pack import empty_network
from vidhair.models.parsers.bisenet import CelebAMaskParser, HairClipParser
from vidhair.models.skip_init import SkipInit

pytestmark = pytest.mark.usefixtures("one_thread")

ODD = Path("odd.pt")  # of a file that is only in memory


def held(data: Any, networks: dict[str, Made] | None = None) -> list[Found]:
    """What is recognised in the data of a file."""
    return recognise(Checkpoint(ODD, "torch zip", data, networks or {}))


def alone(data: Any) -> Found:
    (found,) = held(data)
    return found


def made_with(weights: dict[str, Tensor], **kwargs: Any) -> Found:
    """The generator of a pickle of NVIDIA's that was made with these arguments."""
    (found,) = held({"G_ema": weights}, {"G_ema": Made("Generator", (), kwargs)})
    return found


def refused(data: Any, *says: object, kind: type[VidhairError] = WeightsDoNotFit) -> None:
    with pytest.raises(kind) as error:
        held(data)
    one_sentence(error, ODD, *says)


def assert_network(found: Found, state: dict[str, Tensor]) -> None:
    """It has these weights, as they are, and loads into what its configuration builds."""
    assert found.tensors.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found.tensors[name].float(), tensor.float()), name
    empty_network(found.kind, found.config).load_state_dict(found.tensors)


# ---- StyleGAN3

CONFIGURATIONS: dict[str, Any] = {"T": T, "R": R}


@pytest.mark.parametrize("name", ["stylegan3-r-ffhq-1024x1024.pkl", "bisenet.pth", "ü"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
class TestStyleGAN3Files:
    """The name of a file never matters."""

    @pytest.fixture
    def generator(self, configuration: Any) -> sg3.Generator:
        return tiny_generator(**CONFIGURATIONS[configuration])

    def check(self, generator: sg3.Generator, path: Path) -> None:
        (found,) = recognise(read_checkpoint(path))
        assert (found.part, found.kind, found.beside) == ("generator", "stylegan3", False)
        assert_network(found, generator.state_dict())
        got, want = found.config, asdict(generator.config)
        assert without(got, ["channel_base"]) == without(want, ["channel_base"])
        planned = sg3.layer_geometries(sg3.StyleGAN3Config(**got))
        assert planned == sg3.layer_geometries(generator.config)

    def test_a_release_of_nvidia(self, generator: Any, tmp_path: Path, name: str) -> None:
        data = pickled(stylegan3(generator), z_dim=8, conv_clamp=256)
        self.check(generator, write(tmp_path / name, data))

    def test_tensors_alone(self, generator: Any, tmp_path: Path, name: str) -> None:
        weights = stylegan3(generator)
        bare = without(weights, [n for n in weights if n.endswith("_filter")])
        for data in (saved(weights), saved(bare), save(weights)):
            self.check(generator, write(tmp_path / name, data))

    def test_from_several_gpus(self, generator: Any, tmp_path: Path, name: str) -> None:
        weights = {f"module.{n}": t for n, t in stylegan3(generator).items()}
        self.check(generator, write(tmp_path / name, weights))

    def test_a_decoder_alone(self, generator: Any, tmp_path: Path, name: str) -> None:
        weights = {f"decoder.{n}": t for n, t in stylegan3(generator).items()}
        self.check(generator, write(tmp_path / name, {"state_dict": weights}))


PLANS = [
    {"channel_base": 512, "channel_max": 40},
    {"channel_base": 304, "channel_max": 17},
    {"channel_base": 16, "channel_max": 512},
    {"resolution": 64, "channel_base": 1024, "channel_max": 512},
    {"resolution": 32, "num_layers": 9, "channel_base": 704, "channel_max": 50},
    {"mapping_layers": 8, "c_dim": 3, "img_channels": 1},
]


@pytest.mark.parametrize("changes", PLANS, ids=str)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_plan_of_channels(configuration: Any, changes: dict[str, Any]) -> None:
    generator = tiny_generator(**CONFIGURATIONS[configuration], **changes)
    assert_network(alone(stylegan3(generator)), generator.state_dict())


@pytest.mark.parametrize("base", [90, 300])
def test_a_plan_that_nobody_uses(base: int) -> None:
    refused(stylegan3(channel_base=base, channel_max=64), "no published plan", "16 pixels")


def test_the_published_plans() -> None:
    for side, base, most, changes in (
        (1024, 32768, 512, T), (256, 16384, 512, T), (1024, 65536, 1024, R), (256, 32768, 1024, R),
    ):  # fmt: skip
        config = tiny_config(side, channel_base=base, channel_max=most, **changes)
        with SkipInit():
            generator = sg3.Generator(config)
        assert stylegan3_config(stylegan3(generator)) == config


def test_the_transform_of_a_file_is_whatever_was_rendered_last() -> None:
    weights = stylegan3() | {"synthesis.input.transform": torch.ones(3, 3)}
    found = alone(weights)
    assert torch.equal(found.tensors["synthesis.input.transform"], torch.eye(3))
    assert_network(alone(without(weights, ["synthesis.input.transform"])), found.tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_kept(dtype: Any) -> None:
    generator = tiny_generator(**R)
    found = alone({name: tensor.to(dtype) for name, tensor in stylegan3(generator).items()})
    want = {n: t.to(dtype) for n, t in generator.state_dict().items()}
    want["synthesis.input.transform"] = torch.eye(3)
    assert_network(found, want)
    assert found.tensors["mapping.w_avg"].dtype == dtype


@pytest.mark.parametrize("change", [lambda f: f * 1.02, lambda f: f[:-1], lambda f: f.roll(1)])
@pytest.mark.parametrize("kind", ["up_filter", "down_filter"])
def test_other_filters_of_stylegan3(kind: str, change: Any) -> None:
    weights = stylegan3(**R)
    name = next(n for n in weights if n.startswith("synthesis.L4_") and n.endswith(kind))
    refused(weights | {name: change(weights[name])}, name, "not supported")


def test_a_filter_where_there_should_be_none() -> None:
    last = "synthesis.L14_16_3.up_filter"
    refused(stylegan3() | {last: torch.ones(12)}, last, "not supported")


def layers(weights: dict[str, Tensor], *numbers: int) -> list[str]:
    return [n for n in weights if any(n.startswith(f"synthesis.L{k}_") for k in numbers)]


@pytest.mark.parametrize("lost", [[0], [5], [13, 14], range(3, 15), range(15)], ids=str)
def test_layers_that_are_missing(lost: Any) -> None:
    weights = stylegan3()
    refused(without(weights, layers(weights, *lost)))


def renamed(weights: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    assert any(old in name for name in weights), old
    return {name.replace(old, new): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("L5_36_12.", "L5_36_11.", "follow no published plan"),
        ("L5_36_12.", "L5_38_12.", "follow no published plan"),
        ("L13_16_12.", "L13_16_0.", "follow no published plan"),
        ("L14_16_3.", "L14_16_4.", "img_channels"),
        ("L14_16_3.", "L14_0_3.", "pictures of 0 pixels"),
        ("L14_16_3.", "L14_99999999_3.", "pictures of 99999999 pixels"),
        ("L5_36_12.", "L5_36_99999999999.", "follow no published plan"),
    ],
)
def test_names_that_promise_other_layers(old: str, new: str, says: str) -> None:
    weights = renamed(stylegan3(), old, new)
    with pytest.raises(WeightsDoNotFit) as error:
        held(weights)
    one_sentence(error, ODD)
    assert says == "img_channels" or says in str(error.value)


# ---- StyleGAN2


@pytest.fixture
def generator() -> Any:
    return tiny_stylegan2()


@pytest.mark.parametrize(
    ("kwargs", "clamp"),
    [
        ({"synthesis_kwargs": EasyDict(conv_clamp=256, channel_base=128)}, 256),
        ({"synthesis_kwargs": EasyDict(channel_base=128)}, None),
        ({"synthesis_kwargs": EasyDict(conv_clamp=None)}, None),
        ({"synthesis_kwargs": {}}, None),
        ({"channel_base": 128}, 256),  # the code of StyleGAN3, which does not nest
        ({"channel_base": 128, "conv_clamp": None}, None),
        ({"channel_base": 128, "conv_clamp": 64.5}, 64.5),
        ({}, None),  # nothing is told
    ],
    ids=str,
)
def test_stylegan2_ada_and_what_bounds_it(
    generator: Any, tmp_path: Path, kwargs: Any, clamp: float | None
) -> None:
    data = pickled(ada(generator), **kwargs)
    (found,) = recognise(read_checkpoint(write(tmp_path / "sg3-r.pt", data)))
    assert (found.part, found.kind) == ("generator", "stylegan2")
    assert found.config == asdict(generator.config) | {"conv_clamp": clamp}
    assert_network(found, generator.state_dict())


@pytest.mark.parametrize("clamp", ["much", -1, 0, math.nan, math.inf, True, [256], torch.ones(2)])
def test_a_bound_that_is_none(generator: Any, clamp: Any) -> None:
    with pytest.raises(WeightsDoNotFit) as error:
        made_with(ada(generator), synthesis_kwargs={"conv_clamp": clamp})
    one_sentence(error, ODD, "conv_clamp")


@pytest.mark.parametrize("changes", [{"c_dim": 3}, {"img_channels": 4}, {"mapping_layers": 8}])
def test_forms_of_stylegan2_ada(changes: dict[str, Any]) -> None:
    generator = tiny_stylegan2(64, **changes)
    found = alone(ada(generator))
    assert found.config == asdict(generator.config)
    assert_network(found, generator.state_dict())


KWARGS: dict[str, Any] = {
    "architecture": "orig",
    "resample_filter": [1, 2, 1],
    "activation": "relu",
    "lr_multiplier": 1,
    "first_cutoff": 4,
    "first_stopband": 4,
    "last_stopband_rel": 2,
    "num_critical": 3,
    "margin_size": 0,
    "output_scale": 1,
    "filter_size": 8,
    "lrelu_upsampling": torch.ones(2, 2),
    "conv_clamp": 64,
}


@pytest.mark.parametrize("nested", [None, "synthesis_kwargs", "mapping_kwargs"])
@pytest.mark.parametrize("name", KWARGS)
def test_a_generator_that_was_made_otherwise(name: str, nested: str | None) -> None:
    given = {name: KWARGS[name]}
    kwargs = {nested: EasyDict(given)} if nested else given
    if (name, nested) == ("conv_clamp", "mapping_kwargs"):
        return  # no argument of a mapping
    with pytest.raises(WeightsDoNotFit) as error:
        made_with(stylegan3(), **kwargs)
    one_sentence(error, ODD, name, "published")


def test_arguments_that_say_what_is_built_in() -> None:
    given = {
        "first_cutoff": 2, "first_stopband": 2**2.1, "last_stopband_rel": 2**0.3,
        "conv_clamp": 256, "output_scale": 0.25, "magnitude_ema_beta": 0.999, "num_fp16_res": 4,
        "mapping_kwargs": {"num_layers": 2, "activation": "lrelu", "lr_multiplier": 0.01},
    }  # fmt: skip
    assert made_with(stylegan3(), **given).kind == "stylegan3"


def test_stored_noise_of_several_pictures_is_that_of_the_first(generator: Any) -> None:
    weights = rosinality(generator)
    many = {
        name: torch.cat([value, value + 1]) if name.startswith("noises.") else value
        for name, value in weights.items()
    }
    file = {"g_ema": many, "latent_avg": generator.mapping.w_avg}
    assert_network(alone(file), generator.state_dict())


def test_rosinality(generator: Any, tmp_path: Path) -> None:
    file = {
        "g_ema": rosinality(generator), "latent_avg": generator.mapping.w_avg,
        "g_optim": {"state": {}, "param_groups": []}, "d": {"x": torch.ones(1)},
    }  # fmt: skip
    (found,) = recognise(read_checkpoint(write(tmp_path / "stylegan3-t.pkl", file)))
    assert (found.part, found.kind, found.beside) == ("generator", "stylegan2", False)
    assert found.config == asdict(generator.config)
    assert_network(found, generator.state_dict())


class TestAverageOfAGenerator:
    def test_repeated_for_every_layer(self, generator: Any) -> None:
        w_avg, num_ws = generator.mapping.w_avg, generator.config.num_ws
        for average in (w_avg[None], w_avg.repeat(num_ws, 1), w_avg.half()):
            file = {"g_ema": rosinality(generator), "latent_avg": average}
            assert torch.equal(
                alone(file).tensors["mapping.w_avg"], average.float().reshape(-1, 8)[0]
            )

    @pytest.mark.parametrize("latent_avg", [{}, {"latent_avg": None}], ids=["absent", "None"])
    def test_computed_where_there_is_none(
        self, generator: Any, latent_avg: dict[str, None]
    ) -> None:
        file = {"g_ema": rosinality(generator), **latent_avg}
        got = alone(file).tensors["mapping.w_avg"]
        assert torch.equal(alone(file).tensors["mapping.w_avg"], got)
        codes = generator.mapping.w(random(MEAN_SAMPLES, 8, seed=1))
        error = (2 / MEAN_SAMPLES) ** 0.5 * codes.std(0)
        assert ((got - codes.mean(0)).abs() < 5 * error).all()

    @pytest.mark.parametrize(
        "average",
        [
            random(7), random(9, 8), random(8, 8), random(1, 1, 8), random(10, 8), torch.ones(()),
            torch.ones(0), torch.ones(8, dtype=torch.int64), torch.ones(8, dtype=torch.complex64),
        ],
        ids=lambda a: f"{a.dtype} {tuple(a.shape)}",
    )  # fmt: skip
    def test_of_another_shape_or_type(self, generator: Any, average: Any) -> None:
        refused({"g_ema": rosinality(generator), "latent_avg": average}, "latent_avg")


def test_noise_that_a_file_lacks_is_the_same_every_time(generator: Any) -> None:
    file = {"g_ema": rosinality(generator), "latent_avg": generator.mapping.w_avg}
    noises = [name for name in file["g_ema"] if name.startswith("noises")]
    bare = file | {"g_ema": without(file["g_ema"], noises)}
    got, again = alone(bare).tensors, alone(bare).tensors
    for name, want in alone(file).tensors.items():
        assert torch.equal(got[name], again[name])
        assert torch.equal(got[name], want) != name.endswith("noise_const")
        assert got[name].shape == want.shape
    assert 0.9 < torch.cat([t.flatten() for n, t in got.items() if "noise_const" in n]).std() < 1.1


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        (partial(ada), "synthesis.b8.resample_filter"),
        (partial(rosinality), "convs.0.conv.blur.kernel"),
        (partial(rosinality), "to_rgbs.1.upsample.kernel"),
    ],
)
@pytest.mark.parametrize("taps", [torch.ones(4, 4), random(4, 4).abs(), torch.zeros(4, 4)])
def test_other_filters_of_stylegan2(generator: Any, weights: Any, name: str, taps: Any) -> None:
    refused({"g_ema": weights(generator) | {name: taps}}, name, "not supported")


@pytest.mark.parametrize("make", [ada, rosinality])
class TestChannels:
    @pytest.mark.parametrize("base", [64, 128, 192, 512, 5000])
    def test_plans(self, make: Callable[..., Any], base: int) -> None:
        generator = tiny_stylegan2(64, channel_base=base, channel_max=12)
        found = alone({"g_ema": make(generator), "latent_avg": generator.mapping.w_avg})
        assert_network(found, generator.state_dict())

    def test_no_plan(self, make: Callable[..., Any], generator: Any) -> None:
        last = {ada: ("synthesis.b16.conv1.weight", 0), rosinality: ("convs.3.conv.weight", 1)}
        name, axis = last[make]
        weights = make(generator)
        weights[name] = weights[name].narrow(axis, 0, 5)
        refused(weights, "follow no published plan", "6, 6, 5, 4")


def test_more_pixels_than_any_machine_draws() -> None:
    """The names of a small file promise them; memory for them must not be taken."""
    one = torch.ones(1, 1, 1, 1, 1)
    names = [f"b{4 << k}.{layer}.weight" for k in range(20) for layer in ("conv1", "torgb")]
    names += ["b4.const", "b4.conv1.affine.weight"]
    refused({f"synthesis.{name}": one for name in names}, "pictures of 2097152 pixels")
    names = [f"convs.{2 * k + 1}.conv.weight" for k in range(19)]
    names += [f"to_rgbs.{k}.bias" for k in range(19)]
    names += ["conv1.conv.weight", "conv1.conv.modulation.weight"]
    refused({"g_ema": dict.fromkeys(names, one)}, "pictures of 2097152 pixels")


# ---- encoders


def states(kind: str, backbone: str, average: Tensor, **changes: Any) -> dict[str, Tensor]:
    state = encoder(kind, backbone, **changes).state_dict()
    return {**{f"network.{name}": tensor for name, tensor in state.items()}, "w_avg": average}


@pytest.mark.parametrize(("kind", "backbone"), TYPES)
@pytest.mark.parametrize("namespace", [True, False], ids=["Namespace", "dict"])
def test_every_encoder(kind: Any, backbone: Any, namespace: bool, tmp_path: Path) -> None:
    file = psp(kind, backbone, namespace=namespace)
    (found,) = recognise(read_checkpoint(write(tmp_path / "arcface.pth", file)))
    assert (found.part, found.kind, found.beside) == ("encoder", kind, False)
    assert found.config["steps"] == (STEPS if kind.startswith("restyle") else 1)
    assert found.config["backbone"] == backbone
    assert_network(found, states(kind, backbone, file["latent_avg"]))


@pytest.mark.parametrize(("kind", "backbone"), TYPES)
@pytest.mark.parametrize(
    "changes",
    [
        {"num_ws": 16},
        {"num_ws": 3, "size": 64},
        {"units": (3, 4, 6, 3), "widths": (3, 4, 6, 8)},
    ],
    ids=str,
)
def test_forms_of_encoders(kind: Any, backbone: Any, changes: dict[str, Any]) -> None:
    if kind == "w_encoder":
        changes = {**changes, "size": 256}
    file = psp(kind, backbone, changes=changes)
    found = alone(file)
    shape = {n: found.config[n] for n in changes if n in ("num_ws", "size")}
    assert shape == {n: v for n, v in changes.items() if n in shape}
    network: Any = empty_network(kind, found.config)
    network.load_state_dict(found.tensors)
    image = random(1, found.config["in_channels"], found.config["size"], found.config["size"])
    want = encoder(kind, backbone, **changes)(image)
    assert torch.equal(network.eval().network(image), want)


@pytest.mark.parametrize(("kind", "backbone"), TYPES)
def test_stages_that_their_widths_do_not_tell(kind: Any, backbone: Any) -> None:
    """Where the width stays the same, no shape says that the size is halved."""
    refused(psp(kind, backbone, changes={"widths": (4, 4, 6, 8)}), "3 stages", "published")


def test_an_encoder_beside_the_generator_that_it_was_trained_for(
    generator: Any,
) -> None:
    average = generator.mapping.w_avg.repeat(9, 1)
    file = psp("e4e", decoder=stylegan3(w_dim=8), latent_avg=average)
    encoder, decoder = held(file)
    assert (encoder.part, encoder.beside, decoder.part, decoder.beside) == (
        "encoder", False, "generator", True,
    )  # fmt: skip
    assert decoder.kind == "stylegan3"
    num_ws = generator.config.num_ws
    file = psp("e4e", decoder=rosinality(generator), changes={"num_ws": num_ws})
    file["latent_avg"] = generator.mapping.w_avg.repeat(num_ws, 1)
    _, decoder = held(file)
    assert decoder.kind == "stylegan2"
    assert_network(decoder, generator.state_dict())


def test_a_decoder_of_no_known_kind_is_left_out() -> None:
    (found,) = held(psp(decoder={"layer.weight": torch.ones(1)}))
    assert found.part == "encoder"


def test_an_encoder_from_several_gpus() -> None:
    file = psp()
    state = {f"module.{name}": tensor for name, tensor in file["state_dict"].items()}
    assert_network(alone(file | {"state_dict": state}), states("psp", "irse50", file["latent_avg"]))


def test_an_encoder_in_half_precision() -> None:
    file = psp("restyle_e4e", "resnet34")
    half = {n: t.half() if t.is_floating_point() else t for n, t in file["state_dict"].items()}
    found = alone(file | {"state_dict": half, "latent_avg": file["latent_avg"].half()})
    dtypes = {tensor.dtype for name, tensor in found.tensors.items() if name != "w_avg"}
    assert dtypes == {torch.float16, torch.int64}


def test_counters_of_training_may_be_absent() -> None:
    file = psp()
    names = [name for name in file["state_dict"] if name.endswith("num_batches_tracked")]
    assert names
    found = alone(file | {"state_dict": without(file["state_dict"], names)})
    assert_network(found, states("psp", "irse50", file["latent_avg"]))


class TestOptionsOfEncoders:
    @pytest.mark.parametrize("steps", [1, 5, 100])
    def test_steps_of_restyle(self, steps: int) -> None:
        file = psp("restyle_psp", options={"n_iters_per_batch": steps})
        assert alone(file).config["steps"] == steps

    def test_steps_are_nothing_to_others(self) -> None:
        assert alone(psp(options={"n_iters_per_batch": 7})).config["steps"] == 1

    @pytest.mark.parametrize(
        "steps", [0, -1, 101, 10**30, 2.0, math.nan, "3", True, [3], torch.ones(2), {"a": "\n"}]
    )
    def test_steps_that_are_nonsense(self, steps: Any) -> None:
        refused(psp("restyle_psp", options={"n_iters_per_batch": steps}), "n_iters_per_batch")

    @pytest.mark.parametrize(
        "given",
        [
            "BackboneEncoderUsingLastLayerIntoWPlus",
            "",
            "psp",
            3,
            ["Encoder4Editing"],
            "a\nb" * 99,
        ],
    )
    def test_an_unknown_type(self, given: Any) -> None:
        refused(psp(options={"encoder_type": given}), "encoder_type", "Encoder4Editing")

    @pytest.mark.parametrize("opts", [None, {}, "GradualStyleEncoder", 3])
    def test_no_options(self, opts: int | str | dict[Any, Any] | None) -> None:
        refused(psp() | {"opts": opts}, "no encoder_type", "GradualStyleEncoder")
        refused(without(psp(), ["opts"]), "no encoder_type")
        refused(psp()["state_dict"], "no encoder_type")

    def test_options_may_lie_beside_bare_tensors(self) -> None:
        file = psp()
        assert alone({**file["state_dict"], **without(file, ["state_dict"])}).kind == "psp"

    @pytest.mark.parametrize(("kind", "given"), [("psp", "BackboneEncoder"), ("restyle_psp", "x")])
    def test_a_type_that_its_tensors_belie(self, kind: str, given: str) -> None:
        refused(psp(kind, options={"encoder_type": given}), given)

    def test_a_type_without_such_a_backbone(self) -> None:
        file = psp("restyle_psp", "resnet34", options={"encoder_type": "Encoder4Editing"})
        refused(file, "Encoder4Editing", "resnet34")

    @pytest.mark.parametrize("channels", [1, 19])
    def test_encoders_of_sketches_and_label_maps(self, channels: int) -> None:
        refused(psp(changes={"in_channels": channels}), f"{channels} channels", "photographs")


class TestAverageOfAnEncoder:
    SHAPE = 9, 8

    @pytest.mark.parametrize("shape", [(8,), (1, 8), (9, 8)])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
    def test_for_every_layer(self, shape: tuple[int, ...], dtype: Any) -> None:
        average = random(*shape).to(dtype)
        w_avg = alone(psp("e4e", latent_avg=average)).tensors["w_avg"]
        assert w_avg.shape == self.SHAPE and w_avg.dtype == torch.float32
        assert torch.equal(w_avg, average.float().expand(self.SHAPE))

    @pytest.mark.parametrize("shape", [(), (0,), (7,), (9,), (9, 1), (8, 8), (9, 9), (1, 9, 8)])
    def test_of_another_shape(self, shape: tuple[int, ...]) -> None:
        refused(psp("e4e", latent_avg=random(*shape)), "latent_avg", "9 codes of 8 numbers")

    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
    def test_of_another_type(self, dtype: Any) -> None:
        refused(psp(latent_avg=torch.ones(9, 8).to(dtype)), dtype)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_that_is_not_finite(self, value: Any) -> None:
        average = torch.full((9, 8), value)
        refused(psp(latent_avg=average), "w_avg", "not finite", kind=CheckpointUnreadable)

    @pytest.mark.parametrize("entry", [{"latent_avg": None}, {"latent_avg": "mean"}])
    def test_left_to_the_generator(self, entry: dict[str, Any]) -> None:
        for file in (psp() | entry, without(psp(), ["latent_avg"])):
            found = alone(file)
            want = states("psp", "irse50", random(9, 8))
            assert found.tensors.keys() == without(want, ["w_avg"]).keys()

    @pytest.mark.parametrize(("kind", "backbone"), TYPES)
    def test_an_encoder_that_does_not_start_from_it(self, kind: Any, backbone: Any) -> None:
        """ReStyle always does."""
        file = psp(kind, backbone, options={"start_from_latent_avg": False})
        want = file["latent_avg"] if kind.startswith("restyle") else torch.zeros(self.SHAPE)
        assert torch.equal(alone(file).tensors["w_avg"], want)


class TestCodesOfAWEncoder:
    """It gives one code, so its neighbours tell for how many layers."""

    def codes(self, average: Tensor | None = None, **options: Any) -> int:
        return alone(psp("w_encoder", latent_avg=average, options=options)).config["num_ws"]

    def test_told_by_the_average(self) -> None:
        assert self.codes(random(14, 8)) == 14

    @pytest.mark.parametrize(("side", "codes"), [(1024, 18), (256, 14), (4, 2)])
    @pytest.mark.parametrize("option", ["stylegan_size", "output_size"])
    @pytest.mark.parametrize("average", [None, random(8), random(1, 8)])
    def test_told_by_the_options(self, side: int, codes: int, option: str, average: Any) -> None:
        assert self.codes(average, **{option: side}) == codes

    @pytest.mark.parametrize("side", [None, 0, 2, 3, 1000, -4, "1024", 256.0, True])
    def test_not_told(self, side: float | str | None) -> None:
        options = {} if side is None else {"output_size": side}
        refused(psp("w_encoder", latent_avg=random(8), options=options), "which size of generator")


# ---- StyleGANEX


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"skips": 0, "fuse_rgb": False}, {"attention_depth": 1, "task": "edit"},
        {"label_channels": 19, "task": "mask"},
    ],
)  # fmt: skip
def test_styleganex(changes: dict[str, Any], tmp_path: Path) -> None:
    network = tiny_styleganex(**changes)
    file = {
        "state_dict": styleganex(network), "opts": OPTIONS,
        "latent_avg": network.w_avg.repeat(network.config.generator.num_ws, 1),
    }  # fmt: skip
    (found,) = recognise(read_checkpoint(write(tmp_path / "e4e_ffhq_encode.pt", file)))
    assert (found.part, found.kind, found.config) == (
        "styleganex", "styleganex", asdict(network.config),
    )  # fmt: skip
    assert_network(found, network.state_dict())


def test_what_styleganex_has_no_use_for_is_told_and_not_fatal() -> None:
    network = tiny_styleganex(skips=2)
    idle = {f"encoder.fusion.5.{n}.bias": torch.ones(1) for n in ("fusion_out", "transform.0")}
    file = {
        "state_dict": styleganex(network) | idle, "opts": OPTIONS, "latent_avg": network.w_avg,
        "discriminator": {"convs.0.weight": torch.ones(1)},
    }  # fmt: skip
    found = alone(file)
    assert set(found.unused) == {
        "encoder.skiplayer.weight", "encoder.skiplayer.bias", *idle, "discriminator",
    }  # fmt: skip
    assert_network(found, network.state_dict())


class TestEditingVector:
    @pytest.fixture
    def file(self) -> Any:
        network = tiny_styleganex()
        return {"state_dict": styleganex(network), "opts": OPTIONS, "latent_avg": network.w_avg}

    @pytest.mark.parametrize("count", [1, 3])
    def test_the_first_is_used(self, file: Any, count: int) -> None:
        vectors = random(count, 10, 16)
        network, found = held(file | {"editing_w": vectors})
        assert network.kind == "styleganex"
        assert (found.part, found.kind, found.config) == ("editing_vector", "editing_vector", {})
        assert torch.equal(found.tensors["editing_w"], vectors[:1])

    @pytest.mark.parametrize("shape", [(), (16,), (10, 16), (0, 10, 16), (1, 9, 16), (1, 10, 15)])
    def test_of_another_shape(self, file: Any, shape: tuple[int, ...]) -> None:
        refused(file | {"editing_w": random(*shape)}, "editing_w")

    def test_not_finite(self, file: Any) -> None:
        vectors = torch.full((1, 10, 16), math.inf)
        refused(file | {"editing_w": vectors}, "editing_w", kind=CheckpointUnreadable)


@pytest.mark.parametrize("average", [None, torch.ones(()), torch.ones(0), random(10, 16), "mean"])
def test_styleganex_without_one_average(average: Any) -> None:
    network = tiny_styleganex(skips=0, fuse_rgb=False)
    file = {"state_dict": styleganex(network), "opts": OPTIONS, "latent_avg": average}
    refused(file, "latent_avg")


def test_styleganex_with_other_filters() -> None:
    network = tiny_styleganex(skips=0, fuse_rgb=False)
    weights = styleganex(network) | {"decoder.convs.0.conv.blur.kernel": torch.ones(4, 4)}
    file = {"state_dict": weights, "opts": OPTIONS, "latent_avg": network.w_avg}
    refused(file, "blur.kernel")


# ---- mappers, parsers, identity, sketches


def blank(network: torch.nn.Module, names: Any) -> dict[str, Tensor]:
    """Official weights of zeros that take no memory."""
    state = network.state_dict().items()
    return official({n: torch.zeros((), dtype=t.dtype).expand(t.shape) for n, t in state}, names)


LEVELS: tuple[dict[str, Any], ...] = (
    {},
    {"fine": False},
    {"coarse": False},
    {"coarse": False, "medium": False},
)


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_a_mapper_of_styleclip(levels: dict[str, Any], tmp_path: Path) -> None:
    mapper = LevelsMapper(6, **levels)
    weights = official(mapper.state_dict(), generator_names.STYLECLIP_LEVELS)
    state = {f"mapper.{name}": tensor for name, tensor in weights.items()}
    state |= {f"decoder.{name}": tensor for name, tensor in stylegan3().items()}
    file = write(tmp_path / "x", {"state_dict": state, "opts": {"mapper_type": "LevelsMapper"}})
    found, decoder = recognise(read_checkpoint(file))
    assert (found.part, found.kind, found.beside) == ("mapper", "levels_mapper", False)
    assert decoder.kind == "stylegan3" and decoder.beside
    assert found.config == {"w_dim": 6, "coarse": True, "medium": True, "fine": True} | levels
    assert_network(found, mapper.state_dict())


def test_a_single_mapper_of_styleclip() -> None:
    mapper = CodeMapper(6)
    weights = official(mapper.state_dict(), generator_names.STYLECLIP_SINGLE)
    found = alone({"state_dict": {f"mapper.{name}": tensor for name, tensor in weights.items()}})
    assert (found.part, found.kind, found.config) == ("mapper", "code_mapper", {"w_dim": 6})
    assert_network(found, mapper.state_dict())


BALD = BaldMapper(6, depth=5)
BALD_WEIGHTS = official(BALD.state_dict(), generator_names.BALD_MAPPER)


@pytest.mark.parametrize("alpha", [0.7, torch.tensor(0.7), torch.tensor([0.7]), np.float64(0.7)])
@pytest.mark.parametrize("held_at", ["state_dict", ""])
def test_a_mapper_to_bald_heads(alpha: Any, held_at: str, tmp_path: Path) -> None:
    unused = {"structure_mapping.w_avg": torch.ones(6)}
    weights = {**BALD_WEIGHTS, **unused}
    file = {held_at: weights} if held_at else weights
    if not held_at and isinstance(alpha, Tensor):
        file = {"state_dict": weights}
    path = write(tmp_path / "x", {**file, "alpha": alpha})
    (found,) = recognise(read_checkpoint(path))
    assert (found.part, found.kind) == ("bald_mapper", "bald_mapper")
    assert found.config["strength"] == pytest.approx(BALD_GAIN * 0.7)
    assert (found.config["w_dim"], found.config["depth"]) == (6, 5)
    assert_network(found, BALD.state_dict())


@pytest.mark.parametrize(
    "alpha", [None, "0.7", math.nan, math.inf, 10**400, [0.7], torch.ones(2), torch.tensor(1j)]
)
def test_a_mapper_to_bald_heads_of_no_strength(alpha: Any) -> None:
    refused({"state_dict": BALD_WEIGHTS, "alpha": alpha}, "alpha")
    refused(BALD_WEIGHTS, "alpha")


IDENTITY = {
    "size": 112, "width": 512, "widths": (64, 128, 256, 512), "units": (3, 4, 14, 3),
    "affine": True, "gated": True,
}  # fmt: skip
SMALL_IDENTITY: dict[str, Any] = {
    "size": 48, "width": 9, "widths": (4, 5, 6, 7), "units": (1, 3, 2, 1),
    "affine": False, "gated": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def big() -> dict[str, tuple[torch.nn.Module, dict[str, Tensor]]]:
    """Networks as they are published, and an identity of another size."""
    with SkipInit():
        networks: dict[str, tuple[torch.nn.Module, Any, str]] = {
            "celebamask_parser": (CelebAMaskParser(), encoder_names.CELEBAMASK_PARSER, ""),
            "hairclip_parser": (HairClipParser(), encoder_names.HAIRCLIP_PARSER, ""),
            "face_identity": (FaceIdentity(), encoder_names.FACE_IDENTITY, ""),
            "plain": (FaceIdentity(**SMALL_IDENTITY), encoder_names.FACE_IDENTITY, ""),
            "sketch_encoder": (
                SketchEncoder(), encoder_names.SKETCH_ENCODER, "encoder_firststage.",
            ),
        }  # fmt: skip
    return {
        name: (network, {prefix + n: t for n, t in blank(network, names).items()})
        for name, (network, names, prefix) in networks.items()
    }


@pytest.mark.parametrize(
    ("name", "part", "config"),
    [
        ("celebamask_parser", "parser", {}),
        ("hairclip_parser", "parser", {}),
        ("face_identity", "identity", IDENTITY),
        ("plain", "identity", IDENTITY | SMALL_IDENTITY),
        ("sketch_encoder", "sketch_encoder", {"in_channels": 1}),
    ],
)
def test_networks_of_one_size(big: Any, name: str, part: str, config: Any) -> None:
    network, weights = big[name]
    for data in (weights, {"state_dict": weights}, {f"module.{n}": t for n, t in weights.items()}):
        found = alone(data)
        kind = "face_identity" if name == "plain" else name
        assert (found.part, found.kind, found.config) == (part, kind, config)
        assert {n: t.shape for n, t in found.tensors.items()} == {
            n: t.shape for n, t in network.state_dict().items()
        }


def test_heads_of_training_are_left_out_where_nothing_needs_them(big: Any) -> None:
    _, weights = big["hairclip_parser"]
    assert alone(weights | {"conv_out16.conv_out.weight": torch.ones(1)}).kind == "hairclip_parser"
    _, weights = big["celebamask_parser"]
    refused(without(weights, ["conv_out16.conv_out.weight"]), "head_8")


def test_a_parser_of_other_labels(big: Any) -> None:
    _, weights = big["celebamask_parser"]
    last = {"conv_out.conv_out.weight": torch.ones(12, 256, 1, 1)}
    refused(weights | last, "12 labels", "19", "16")


def test_an_identity_of_another_depth(big: Any) -> None:
    _, weights = big["face_identity"]
    refused(weights | {"body.24.res_layer.1.weight": torch.ones(512, 512, 3, 3)}, "body.24")


# ---- what is no network, and what is unfit


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"state_dict": {}}, {"g_ema": {}}, {"state_dict": 3, "opts": {}},
        {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, torch.ones(3), {0: torch.ones(1)},
        {"features.0.weight": torch.ones(64, 3, 11, 11)}, {"a\nb": torch.ones(1)},
        {"encoder.weight": 3}, {"module.x": torch.ones(1)},
    ],
    ids=str,
)  # fmt: skip
def test_files_of_nothing_known(data: Any) -> None:
    refused(data, "no known network", "vidhair models list")


def test_a_whole_module_of_something_else(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pt", saved(torch.nn.Linear(2, 3)))
    with pytest.raises(WeightsDoNotFit) as error:
        recognise(read_checkpoint(path))
    one_sentence(error, path, "no known network")


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "StyleGAN3": stylegan3,
    "StyleGAN2-ADA": lambda: ada(tiny_stylegan2(16, c_dim=2)),
    "rosinality": lambda: {"g_ema": rosinality(tiny_stylegan2(16)), "latent_avg": random(8)},
    "pSp": partial(psp, "psp", changes={"num_ws": 4}),
    "W": partial(psp, "w_encoder"),
    "ReStyle": partial(psp, "restyle_e4e", "resnet34", changes={"num_ws": 4}),
    "mapper": lambda: {
        f"mapper.{name}": tensor
        for name, tensor in official(
            LevelsMapper(6, coarse=False).state_dict(), generator_names.STYLECLIP_LEVELS
        ).items()
    },
    "bald mapper": lambda: {"state_dict": BALD_WEIGHTS, "alpha": 1},
}
OPTIONAL = ("_filter", ".kernel", "input.transform", "num_batches_tracked")


def weights_of(file: dict[str, Any]) -> dict[str, Any]:
    return file.get("g_ema") or file.get("state_dict") or file


def needed(file: dict[str, Any]) -> dict[str, Tensor]:
    """The weights without which a file is refused."""
    weights = weights_of(file).items()
    return {n: t for n, t in weights if not n.endswith(OPTIONAL) and "noises." not in n}


def changed(file: dict[str, Any], name: str, tensor: Tensor | None) -> dict[str, Any]:
    """A file with one tensor replaced or, for None, left out."""
    weights = without(weights_of(file), [name]) | ({} if tensor is None else {name: tensor})
    key = next((key for key in ("g_ema", "state_dict") if key in file), None)
    return {**file, key: weights} if key else weights


@pytest.mark.parametrize("kind", FILES)
class TestUnfitFiles:
    def test_each_tensor_is_needed(self, kind: Any) -> None:
        file = FILES[kind]()
        for name in weights_of(file):
            if name in needed(file):
                refused(changed(file, name, None))
            else:
                assert held(changed(file, name, None))

    def test_each_tensor_has_its_shape(self, kind: Any) -> None:
        file = FILES[kind]()
        others = (torch.zeros(0, 3), random(7), torch.ones(2, 1), random(1, 2, 3, 4, 5))
        for name, other in zip(needed(file), cycle(others)):
            refused(changed(file, name, other))

    def test_each_tensor_is_finite(self, kind: Any) -> None:
        file = FILES[kind]()
        for name, value in zip([*needed(file)][::3], cycle((math.nan, math.inf, -math.inf))):
            spoilt = needed(file)[name].clone()
            spoilt.view(-1)[-1] = value
            refused(changed(file, name, spoilt), "not finite", kind=CheckpointUnreadable)

    def test_a_tensor_too_many(self, kind: Any) -> None:
        file = FILES[kind]()
        first = next(iter(weights_of(file)))
        refused(changed(file, f"{first}.more", torch.ones(2)), "unknown: ")

    @pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64])
    def test_numbers_of_another_kind(self, kind: Any, dtype: Any) -> None:
        file = FILES[kind]()
        name = [*needed(file)][len(needed(file)) // 2]
        tensor = needed(file)[name].to(dtype)
        refused(changed(file, name, tensor), f"{dtype} instead of torch.float32")

    def test_numbers_of_too_few_bits(self, kind: Any) -> None:
        file = FILES[kind]()
        name = [*needed(file)][-1]
        tensor = needed(file)[name].to(torch.float8_e5m2)
        refused(changed(file, name, tensor), "float8_e5m2", kind=CheckpointUnreadable)
