import pytest

from tests.models.tiny import R, T, tiny_generator
from vidhair.checkpoints.generator_names import STYLEGAN3
from vidhair.checkpoints.names import rename
from vidhair.models.generators.stylegan3 import Generator


def official_name(ours: str, generator: Generator) -> str:
    """How NVIDIA's code calls a parameter of ours."""
    part, *rest = ours.split(".")
    if rest[0] != "layers":
        return ours
    index = int(rest[1])
    if part == "mapping":
        return ".".join([part, f"fc{index}", *rest[2:]])
    g = generator.synthesis.geometries[index]
    return ".".join([part, f"L{index}_{g.result.size}_{g.result.channels}", *rest[2:]])


@pytest.mark.parametrize("options", [T, R, {"c_dim": 3, "mapping_layers": 8}, {"num_layers": 9}])
def test_every_parameter_has_one_official_name(options: dict[str, int]) -> None:
    generator = tiny_generator(**options)
    want = {official_name(name, generator): name for name in generator.state_dict()}
    assert len(want) == len(generator.state_dict())
    del want["synthesis.input.transform"]  # whatever was rendered last
    assert rename(want, STYLEGAN3.table) == want


def test_known_names() -> None:
    names = {
        "mapping.w_avg": "mapping.w_avg",
        "mapping.fc1.weight": "mapping.layers.1.weight",
        "mapping.embed.bias": "mapping.embed.bias",
        "synthesis.input.freqs": "synthesis.input.freqs",
        "synthesis.input.affine.weight": "synthesis.input.affine.weight",
        "synthesis.L0_36_1024.magnitude_ema": "synthesis.layers.0.magnitude_ema",
        "synthesis.L14_1024_3.affine.bias": "synthesis.layers.14.affine.bias",
    }
    assert rename(names, STYLEGAN3.table) == names


@pytest.mark.parametrize(
    "name",
    [
        "synthesis.L3_52_512.up_filter",  # filters are designed, not loaded
        "synthesis.L3_52_512.down_filter",
        "mapping.fc0.weight.more",
        "module.mapping.w_avg",
        "synthesis.L3.weight",
        "synthesis.b4.conv1.weight",  # of StyleGAN2
    ],
)
def test_other_names_are_left_out(name: str) -> None:
    assert rename([name], STYLEGAN3.table) == {}


def test_the_first_pattern_that_covers_a_whole_name_decides() -> None:
    table = ((r"a\.(\d+)", r"one.\1"), (r"a\.(.+)", r"any.\1"))
    assert rename(["a.1", "a.1.b", "ba.1"], table) == {"a.1": "one.1", "a.1.b": "any.1.b"}
