"""The adapters take their options from the case; made cases, without the shared folder."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden import adapters  # noqa: F401  (registers the adapters)
from tests.golden.adapters import (
    align,
    edits,
    encoders,
    hairclipv2,
    ops,
    parsers,
    stylegan2,
    stylegan3,
    styleganex,
)
from tests.golden.runner import ADAPTERS, CannotServe, Case, Options, run
from tests.models.official_files import official
from vidhair.checkpoints import encoder_names
from vidhair.models.encoders.style import RestyleE4eEncoder
from vidhair.models.parsers.bisenet import HairClipParser
from vidhair.ops.upfirdn2d import downsample2d

FILL = """
import numpy as np
def fill(spec, model, data):
    random = np.random.default_rng(0)
    return {p["name"]: random.standard_normal(p["shape"]).astype("float32")
            for p in spec["models"][model]["params"]}
"""


def make(
    folder: Path,
    name: str,
    options: dict[str, Any] | list[dict[str, Any]],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    models: dict[str, Any] | None = None,
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


class TestOptions:
    def test_what_was_not_read_is_told_with_its_path(self) -> None:
        options = Options({"a": 1, "b": {"c": 2, "d": {}}, "e": [{"set": "s", "f": 3}, {"g": 4}]})
        assert dict(options.unread()) == {"a": 1, "b.c": 2, "e.s.set": "s", "e.s.f": 3, "e.1.g": 4}
        assert "a" in options and options.get("a") == 1 and options["b"]["c"] == 2
        assert options["e"][0]["f"] == 3
        assert dict(options.unread()) == {"e.s.set": "s", "e.1.g": 4}

    def test_being_asked_for_alone_is_no_reading(self) -> None:
        options = Options({"a": 1})
        assert "a" in options and list(options) == ["a"] and len(options) == 1
        assert dict(options.unread()) == {"a": 1}

    def test_explanations_need_no_reading(self) -> None:
        assert not dict(Options({"note": "as it is", "a": {"meaning": "so"}}).unread())

    def test_what_is_expected(self) -> None:
        options = Options({"a": [1, 2]}, "s.")
        options.expect("a", [1, 2])
        options.expect("b", 3)
        assert not dict(options.unread())
        with pytest.raises(CannotServe, match=r"option s\.a is \[1, 2\]: .*\[1\]"):
            options.expect("a", [1])

    @pytest.mark.parametrize("options", [{"wide": 3, "seen": 1}, [{"seen": 1, "wide": 3}]])
    def test_an_option_that_no_one_reads_fails_the_case(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        options: list[dict[str, int]] | dict[str, int],
    ) -> None:
        def lazy(case: Case) -> Iterator[Any]:
            given = case.options[0] if isinstance(case.options, list) else case.options
            yield "y", case.data["x"] * given["seen"]

        monkeypatch.setitem(ADAPTERS, "some", lazy)
        x = np.ones(2, "float32")
        case = make(tmp_path, "some", options, {"x": x}, {"y": x})
        with pytest.raises(CannotServe, match=r"wide is 3: tests.*lazy does not read it"):
            run(case)

    def test_one_more_option_fails_an_adapter_of_ours(
        self, shared: Callable[..., Any], tmp_path: Path
    ) -> None:
        case = Case(shared("golden"), "smooth")
        more = Case(case.folder, "smooth")
        more.spec = case.spec | {"options": case.spec["options"] | {"window": "hann"}}
        with pytest.raises(CannotServe, match=r"option window is 'hann'.*check_smooth"):
            run(more)
        assert run(case).passed


class TestSmooth:
    def case(self, folder: Path, kernel: list[float], divide_by: float) -> Case:
        """Computed anew, by a convolution of every column."""
        random = np.random.default_rng(4)

        def smoothed(values: Any) -> Any:
            columns = values.reshape(len(values), -1).T
            rows = [np.convolve(c, kernel[::-1], "valid") / divide_by for c in columns]
            return np.stack(rows, 1).reshape(-1, *values.shape[1:])

        codes, edited, moves = (random.standard_normal(s) for s in [(9, 4, 3)] * 2 + [(9, 3, 3)])
        averaged = codes.copy(), edited.copy()
        for values in averaged:
            values[:, 2:] = values[:, 2:].mean(0)
        outputs = {
            "smooth_ws": smoothed(codes),
            "inversion/latents": smoothed(averaged[0]),
            "inversion/transforms": smoothed(moves),
            "edit/smoothed_latents": smoothed(averaged[1]),
            "edit/smoothed_transforms": smoothed(moves),
        }
        inputs = {"latents": codes, "landmarks_transforms": moves, "edit/latents": edited}
        options = {"kernel": kernel, "divide_by": divide_by, "average_layers_from": 2}
        return make(folder, "smooth", options, inputs, outputs)

    @pytest.mark.parametrize(("kernel", "divide_by"), [([1, 2, 4], 3), ([1, 0, 2, 3, 1, 1, 1], 10)])
    def test_any_odd_kernel(self, tmp_path: Path, kernel: list[float], divide_by: int) -> None:
        report = run(self.case(tmp_path, kernel, divide_by))
        assert report.passed, report.line()

    def test_an_even_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CannotServe, match="kernel"):
            run(self.case(tmp_path, [1, 1], 2))


class TestOps:
    def test_calls_of_wrappers(self) -> None:
        x, taps = torch.randn(1, 2, 8, 8), {"q": torch.ones(2, 2)}
        got = ops._called("downsample2d(x, q, down=4, gain=2.0)", x, taps)
        torch.testing.assert_close(got, downsample2d(x, taps["q"], down=4, gain=2.0))
        with pytest.raises(CannotServe, match="no call"):
            ops._called("x.mean()", x, taps)

    @pytest.mark.parametrize(("kind", "taps"), [("2d", [1.0]), ("none", [[1.0]]), ("sep", [[1.0]])])
    def test_a_filter_of_another_form_is_refused(
        self, tmp_path: Path, kind: str, taps: list[float | list[float]]
    ) -> None:
        case = make(tmp_path, "ops", [{"set": "s", "fu": kind}], {"s/fu": np.array(taps)}, {})
        with pytest.raises(CannotServe, match="fu is"):
            ops._filter(case, case.options[0], "fu")

    def test_a_bias_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        case = make(tmp_path, "ops", [{"set": "s", "bias": True}], {"s/x": np.ones(1)}, {})
        with pytest.raises(CannotServe, match=r"s\.bias"):
            ops._inputs(case, case.options[0])


class TestAlign:
    def test_kinds_of_quads(self) -> None:
        points = np.random.default_rng(5).uniform(0, 99, (68, 2))
        axes = align._axes(points, eyes_only=True)
        for kind, quad in (("aligned", axes.quad), ("fixed", axes.upright_quad)):
            np.testing.assert_array_equal(align._quad(points, Options({"kind": kind})), quad)
        with pytest.raises(CannotServe, match="kind is 'tilted'"):
            align._quad(points, Options({"kind": "tilted"}))

    def test_a_shrinking_that_the_quad_does_not_ask_for_is_refused(self, tmp_path: Path) -> None:
        options = {"set": "c", "output_size": 4, "transform_size": 4, "enable_padding": True}
        quad = np.array([[0, 0], [0, 20], [20, 20], [20, 0]], float)
        image = np.zeros((30, 30, 3), "uint8")
        inputs = {"crop/image": image, "c/quad": quad}
        case = make(tmp_path, "align", [options | {"shrink": 1}], inputs, {})
        with pytest.raises(CannotServe, match=r"c\.shrink is 1: this quad asks for 2"):
            list(align._crops(case))


class TestGenerators:
    def test_truncations_of_every_name(self, tmp_path: Path) -> None:
        names = ("ws_psi1", "ws_psi05", "ws_psi035_cutoff12", "ws_other")
        case = make(tmp_path, "sg3_t", {}, {}, dict.fromkeys(names, np.zeros(1)))
        assert stylegan3._truncations(case) == {
            "ws_psi1": (1.0, None), "ws_psi05": (0.5, None), "ws_psi035_cutoff12": (0.35, 12),
        }  # fmt: skip

    def test_another_geometry_is_refused(self, shared: Callable[..., Any]) -> None:
        case = Case(shared("golden"), "sg3_t")
        generator = stylegan3.config_of(case)
        checks: list[Any] = list(stylegan3._geometry(case, generator))
        assert all(check.passed for check in checks)
        layers = [*case.spec["options"]["layers"]]
        layers[3] = layers[3] | {"down_taps": 10}
        other = Case(case.folder, "sg3_t")
        other.spec = case.spec | {"options": case.spec["options"] | {"layers": layers}}
        with pytest.raises(CannotServe, match=r"layers\.3\.down_taps is 10: the layer has 12"):
            list(stylegan3._geometry(other, generator))

    @pytest.mark.parametrize(("option", "value"), [("blur_kernel", [1, 2, 1]), ("lr_mlp", 0.1)])
    def test_what_is_built_in_is_refused(
        self, tmp_path: Path, option: str, value: float | list[int]
    ) -> None:
        case = make(tmp_path, "sg2_rosinality", {option: value}, {}, {})
        with pytest.raises(CannotServe, match=option):
            list(stylegan2.check_generator(case))

    def test_fusions_are_built_as_they_are_described(self, tmp_path: Path) -> None:
        options = {
            "constructor": {"style_dim": 6},
            "fusion_channels": [[2, 3]],
            "f1": "use_skip_torgb=False, use_att=1 (MLP depth)",
            "f2": "with attention",
        }
        shapes = {
            "0.transform.0.weight": [3, 2, 3, 3], "0.transform.0.bias": [3],
            "0.fusion_out.weight": [3, 6, 3, 3], "0.fusion_out.bias": [3],
            "0.linear.0.weight": [3, 6], "0.linear.0.bias": [3],
            "0.linear.2.weight": [3, 3], "0.linear.2.bias": [3],
            "0.norm.style.weight": [12, 3], "0.norm.style.bias": [12],
            "0.conv.weight": [1, 6, 3, 3], "0.conv.bias": [1],
        }  # fmt: skip
        case = make(tmp_path, "some", options, {}, {}, {"f1": shapes})
        (fusion,) = styleganex._fusions(case, "f1")
        assert fusion.rgb is None and len(fusion.attention.mlp) == 2
        with pytest.raises(CannotServe, match="f2 is 'with attention'"):
            styleganex._fusions(case, "f2")


class TestEncoders:
    @pytest.mark.parametrize(
        ("mode", "layers", "backbone", "blocks"),
        [("ir_se", 50, "irse50", 24), ("ir", 100, "ir50", 49), ("ir", 152, "ir50", 50)],
    )
    def test_mode_and_depth(
        self, tmp_path: Path, mode: str, layers: int, backbone: str, blocks: int
    ) -> None:
        options = {"mode": mode, "num_layers": layers, "stylegan_size": 64}
        config = encoders._config(make(tmp_path, "enc", options, {}, {}))
        assert (config.backbone, sum(config.units or ()), config.num_ws) == (backbone, blocks, 10)

    @pytest.mark.parametrize(("option", "value"), [("mode", "resnext"), ("num_layers", 34)])
    def test_unknown_ones_are_refused(self, tmp_path: Path, option: str, value: int | str) -> None:
        options = {"mode": "ir", "num_layers": 50, "stylegan_size": 64} | {option: value}
        with pytest.raises(CannotServe, match=f"{option} is {value!r}"):
            encoders._config(make(tmp_path, "enc", options, {}, {}))

    def test_pyramids_have_one_depth(self, tmp_path: Path) -> None:
        options = {"mode": "ir", "num_layers": 100, "stylegan_size": 64}
        with pytest.raises(CannotServe, match="num_layers is 100"):
            encoders._pyramid_config(make(tmp_path, "enc", options, {}, {}))


def test_a_parser_has_the_labels_of_its_case(tmp_path: Path) -> None:
    options, x = {"n_classes": 5}, np.zeros((1, 3, 64, 64), "float32")
    with torch.device("meta"):
        names = HairClipParser(labels=5).state_dict()
    theirs = official(names, encoder_names.HAIRCLIP_PARSER)
    shapes = {n: list(t.shape) for n, t in theirs.items() if t.is_floating_point()}
    outputs = {"logits": x, "logits_big_sub": x}
    case = make(tmp_path, "hairclipv2_parsing", options, {"x": x}, outputs, {"P": shapes})
    first: Any = next(parsers.check_hairclip_parser(case))
    assert first[1].shape == (1, 5, 32, 32)


def sefa_case(folder: Path, indices: Sequence[int], edited: Any, weights: list[str]) -> Case:
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
    def test_first_layer_counts_and_is_never_edited(
        self, tmp_path: Path, indices: Any, edited: list[int], weights: list[str]
    ) -> None:
        case = sefa_case(tmp_path, indices, edited, weights)
        found: Any = edits._sefa(case)
        for name, value in found:
            np.testing.assert_allclose(value, case.data[name], rtol=1e-4, atol=1e-4, err_msg=name)

    def test_contradicting_options_are_refused(self, tmp_path: Path) -> None:
        case = sefa_case(tmp_path, [0, 2], [0, 1], ["conv1"])
        with pytest.raises(CannotServe, match="layers_edited"):
            list(edits._sefa(case))


class TestMapper:
    @pytest.mark.parametrize("absent", ["course", "medium", "fine"])
    def test_levels_are_those_of_the_parameters(self, tmp_path: Path, absent: str) -> None:
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
        found: Any = edits.check_mappers(case)
        got = dict(found)
        where = {"course": slice(0, 5), "medium": slice(5, 8), "fine": slice(8, 10)}
        for level, codes in where.items():
            assert bool(got["some/out"][:, codes].any()) == (level != absent)
        torch.testing.assert_close(got["some/w_hat"], torch.tensor(w) + 0.1 * got["some/out"])

    def test_another_split_is_refused(self, tmp_path: Path) -> None:
        case = make(tmp_path, "styleclip_mapper", {"split": "0:4"}, {"w": np.zeros(1)}, {})
        with pytest.raises(CannotServe, match="option split is '0:4'"):
            list(edits.check_mappers(case))


class TestRestyleLoop:
    def test_described_generator(self) -> None:
        text = "config {}, w_dim 64, img_resolution 32, channel_base 1024, channel_max 16"
        turning, moving = (encoders._described_generator(text.format(c)) for c in "RT")
        assert (turning.w_dim, turning.resolution, turning.channel_max) == (64, 32, 16)
        assert (turning.conv_kernel, turning.radial_filters) == (1, True)
        assert (moving.conv_kernel, moving.radial_filters) == (3, False)
        for unknown in ("config S, img_resolution 32", "config R, img_resolution 32, depth 3"):
            with pytest.raises(CannotServe, match="generator"):
                encoders._described_generator(unknown)

    def test_encoder_by_its_published_name(self) -> None:
        kind = encoders._encoder("ResNetProgressiveBackboneEncoder")
        assert kind == (RestyleE4eEncoder, "resnet34")
        with pytest.raises(CannotServe, match="encoder is 'Nonsense'"):
            encoders._encoder("Nonsense")


@pytest.mark.parametrize(("mask", "size"), [("m0", 2), ("m7", 5), ("other", 9)])
def test_morphology_of_every_output(tmp_path: Path, mask: str, size: int) -> None:
    dot = np.zeros((30, 20), np.uint8)
    dot[15, 10] = 1
    name = f"morph/{mask}_out_k{size}"
    case = make(tmp_path, "hairclipv2", {}, {f"morph/{mask}": dot}, {name: dot})
    found: Any = hairclipv2._morphology(case)
    got = dict(found)
    side = size - size // 2 + 1  # an opened dot: grown by size, shrunk by half of it
    assert int(got[name].sum()) == side**2


def test_morphology_without_a_kernel_is_refused(tmp_path: Path) -> None:
    case = make(tmp_path, "hairclipv2", {}, {"morph/m": np.zeros(1)}, {"morph/m_out_k1": 0})
    with pytest.raises(CannotServe, match="kernel is 1"):
        list(hairclipv2._morphology(case))
