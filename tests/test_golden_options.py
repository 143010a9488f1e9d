"""The adapters take their options from the case; made cases, without the shared folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.golden import adapters  # noqa: F401  (registers the adapters)
from tests.golden.adapters import edits, encoders, hairclipv2
from tests.golden.runner import CannotServe, Case
from vidhair.models.style_encoders import RestyleE4eEncoder

FILL = """
import numpy as np
def fill(spec, model, data):
    random = np.random.default_rng(0)
    return {p["name"]: random.standard_normal(p["shape"]).astype("float32")
            for p in spec["models"][model]["params"]}
"""


def make(
    folder: Path, name: str, options: dict, inputs: dict, outputs: dict, models: dict | None = None
) -> Case:
    """A case in a folder; models: name → official parameter → shape."""
    roles = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    spec = {
        "options": options,
        "tolerance": {"rel_absmax": 1e-4},
        "arrays": {array: {"role": role} for array, role in roles.items()},
        "models": {
            model: {"params": [{"name": n, "shape": s} for n, s in shapes.items()]}
            for model, shapes in (models or {}).items()
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(spec))
    np.savez(folder / f"{name}.npz", **inputs, **outputs)
    (folder / "fill.py").write_text(FILL)
    return Case(folder, name)


def sefa_case(folder: Path, indices, edited, weights: list[str]) -> Case:
    """Computed anew with numpy, by singular values instead of eigenvalues."""
    random = np.random.default_rng(1)
    inputs = {
        f"sefa/{name}": random.standard_normal((9, 6)).astype("float32")
        for name in ("conv1", "convs.0", "convs.1", "convs.2")
    }
    inputs["sefa/latents"] = random.standard_normal((1, 4, 6)).astype("float32")
    rows = np.concatenate([inputs[f"sefa/{name}"] for name in weights]).astype("float64")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, singular, vectors = np.linalg.svd(rows)
    moved = np.repeat(inputs["sefa/latents"], 3, 0)
    moved[:, edited] += np.array([-2.0, 0.0, 2.0])[:, None, None] * vectors[0]
    options = {
        "indices": indices,
        "layers_edited": edited,
        "semantics": 1,
        "start_distance": -2,
        "end_distance": 2,
        "step": 3,
    }
    outputs = {
        "sefa/boundaries": vectors.astype("float32"),
        "sefa/eigen_values": (singular**2).astype("float32"),
        "sefa/edits": moved.astype("float32"),
    }
    return make(folder, "edit_directions", {"sefa": options}, inputs, outputs)


class TestSefa:
    @pytest.mark.parametrize(
        ("indices", "edited", "weights"),
        [
            ([2, 3], [1, 2], ["convs.1", "convs.2"]),
            ([0, 1, 3], [0, 2], ["conv1", "convs.0", "convs.2"]),
            ([0, 2], [1], ["conv1", "convs.1"]),
            ("all", [0, 1, 2], ["conv1", "convs.0", "convs.1", "convs.2"]),
        ],
    )
    def test_first_layer_counts_and_is_never_edited(self, tmp_path, indices, edited, weights):
        case = sefa_case(tmp_path, indices, edited, weights)
        for name, value in edits._sefa(case):
            np.testing.assert_allclose(value, case.data[name], rtol=1e-4, atol=1e-4, err_msg=name)

    def test_contradicting_options_are_refused(self, tmp_path):
        case = sefa_case(tmp_path, [0, 2], [0, 1], ["conv1"])
        with pytest.raises(CannotServe, match="layers_edited"):
            list(edits._sefa(case))


class TestMapper:
    @pytest.mark.parametrize("absent", ["course", "medium", "fine"])
    def test_levels_are_those_of_the_parameters(self, tmp_path, absent):
        shapes = {
            f"{level}_mapping.mapping.{k}.{kind}": [8, 8] if kind == "weight" else [8]
            for level in ("course", "medium", "fine")
            if level != absent
            for k in range(1, 5)
            for kind in ("weight", "bias")
        }
        w = np.random.default_rng(2).standard_normal((1, 10, 8)).astype("float32")
        outputs = {"some/out": w, "some/w_hat": w}
        case = make(tmp_path, "styleclip_mapper", {}, {"w": w}, outputs, {"some": shapes})
        got = dict(edits.check_mappers(case))
        where = {"course": slice(0, 5), "medium": slice(5, 8), "fine": slice(8, 10)}
        for level, codes in where.items():
            assert bool(got["some/out"][:, codes].any()) == (level != absent)
        torch.testing.assert_close(got["some/w_hat"], torch.tensor(w) + 0.1 * got["some/out"])

    def test_another_split_is_refused(self, tmp_path):
        case = make(tmp_path, "styleclip_mapper", {"split": "0:4"}, {"w": np.zeros(1)}, {})
        with pytest.raises(CannotServe, match="option split is '0:4'"):
            list(edits.check_mappers(case))


class TestRestyleLoop:
    def test_described_generator(self):
        text = "config {}, w_dim 64, img_resolution 32, channel_base 1024, channel_max 16"
        turning, moving = (encoders._described_generator(text.format(c)) for c in "RT")
        assert (turning.w_dim, turning.resolution, turning.channel_max) == (64, 32, 16)
        assert (turning.conv_kernel, turning.radial_filters) == (1, True)
        assert (moving.conv_kernel, moving.radial_filters) == (3, False)
        for unknown in ("config S, img_resolution 32", "config R, img_resolution 32, depth 3"):
            with pytest.raises(CannotServe, match="generator"):
                encoders._described_generator(unknown)

    def test_encoder_by_its_published_name(self):
        kind = encoders._encoder("ResNetProgressiveBackboneEncoder")
        assert kind == (RestyleE4eEncoder, "resnet34")
        with pytest.raises(CannotServe, match="encoder is 'Nonsense'"):
            encoders._encoder("Nonsense")


@pytest.mark.parametrize(("mask", "size"), [("m0", 2), ("m7", 5), ("other", 9)])
def test_morphology_of_every_output(tmp_path, mask, size):
    dot = np.zeros((30, 20), np.uint8)
    dot[15, 10] = 1
    name = f"morph/{mask}_out_k{size}"
    case = make(tmp_path, "hairclipv2", {}, {f"morph/{mask}": dot}, {name: dot})
    got = dict(hairclipv2._morphology(case))
    side = size - size // 2 + 1  # an opened dot: grown by size, shrunk by half of it
    assert int(got[name].sum()) == side**2


def test_morphology_without_a_kernel_is_refused(tmp_path):
    case = make(tmp_path, "hairclipv2", {}, {"morph/m": np.zeros(1)}, {"morph/m_out_k1": 0})
    with pytest.raises(CannotServe, match="kernel is 1"):
        list(hairclipv2._morphology(case))
