"""What the suites put together, on generators and encoders small enough for tests."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.bench import others
from tests.models.tiny import TINY_STYLEGANEX, R, T, tiny_config, tiny_stylegan2_config
from vidhair.bench import counting, encode, kernels, options, render
from vidhair.bench.baseline import Baseline, find_baseline
from vidhair.bench.benchmark import Candidate, Case
from vidhair.bench.options import Options
from vidhair.bench.profiler import counted
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.style import StyleEncoderConfig
from vidhair.models.generators import stylegan2, stylegan3

pytestmark = pytest.mark.usefixtures("one_thread")

F32, BF16 = torch.float32, torch.bfloat16
STYLEGAN3 = {"16-T": (16, tiny_config(16, **T)), "32-R": (32, tiny_config(32, **R))}
STYLEGAN2 = {"32-SG2": (32, tiny_stylegan2_config(32))}
STYLEGANEX = {"64-EX": (64, TINY_STYLEGANEX)}
ENCODER: dict[str, Any] = {"widths": (4, 8, 8, 16), "units": (1, 1, 1, 1), "size": 32, "w_dim": 16}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for suite in (kernels, render):
        monkeypatch.setattr(suite, "STYLEGAN3", STYLEGAN3)
        monkeypatch.setattr(suite, "STYLEGAN2", STYLEGAN2)
    monkeypatch.setattr(render, "STYLEGANEX", STYLEGANEX)
    monkeypatch.setattr(render, "TRAINED", ("16-T",))
    monkeypatch.setattr(kernels, "QUICK", ("16-T",))
    monkeypatch.setattr(render, "QUICK", ("16-T",))
    monkeypatch.setattr(encode, "QUICK", ("e4e",))
    one = StyleEncoderConfig(num_ws=16, **ENCODER)
    two = StyleEncoderConfig(num_ws=16, in_channels=6, **ENCODER)
    monkeypatch.setattr(encode, "ENCODERS", {"e4e": (32, one), "restyle_e4e": (32, two)})
    loop = tiny_config(16, **T | {"w_dim": 16})
    monkeypatch.setattr(encode, "LOOPS", {"loop-16-T": (16, loop)})


def vs(function: str) -> Baseline:
    return find_baseline(f"{others.__name__}:{function}")


def made(suite: ModuleType, *dtypes: torch.dtype, **options: Any) -> dict[str, Case]:
    cases = suite.cases(Options(**options), dtypes or [F32])
    assert len({case.name for case in cases}) == len(cases)
    return {case.name: case for case in cases}


def candidates(case: Case) -> dict[str, Candidate]:
    with torch.inference_mode(not case.gradients):
        found = case.candidates()
    assert len({c.by for c in found}) == len(found)
    return {c.by: c for c in found}


def result(candidate: Candidate) -> torch.Tensor:
    with torch.inference_mode():
        return candidate.seen(candidate.call())


class TestKernels:
    def test_every_layer_is_there_once(self) -> None:
        names = made(kernels, configs=["16-T"], ops=["filtered_lrelu"])
        layers = [n.removeprefix("16-T ").removesuffix(" filtered_lrelu") for n in names]
        assert sorted(" ".join(layers).split()) == sorted(f"L{k}" for k in range(14))

    def test_every_op_is_there(self) -> None:
        names = list(made(kernels))
        assert {name.rpartition(" ")[2] for name in names} == set(counting.OPS)
        assert {name.split()[0] for name in names} == {*STYLEGAN3, *STYLEGAN2}

    @pytest.mark.parametrize("config", [*STYLEGAN3, *STYLEGAN2])
    def test_the_call_fits_the_generator_that_makes_it(
        self, config: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is timed is what the network calls: the same shapes and options, wherever it goes
        through the op."""
        seen: set[tuple[Any, ...]] = set()

        def note(name: str, x: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            kept = {k: v for k, v in kwargs.items() if not isinstance(v, torch.Tensor)}
            kept = {k: v for k, v in kept.items() if v is not None and k != "impl"}
            seen.add((name, tuple(x.shape), str(sorted(kept.items()))))

        for module in (stylegan3, stylegan2):
            for name in ("filtered_lrelu", "upfirdn2d", "bias_act"):
                if original := getattr(module, name, None):

                    def spy(
                        *args: Any,
                        original: Callable[..., Any] = original,
                        name: str = name,
                        **kwargs: Any,
                    ) -> torch.Tensor:
                        note(name, *args, **kwargs)
                        return original(*args, **kwargs)

                    monkeypatch.setattr(module, name, spy)
        shape = {**STYLEGAN3, **STYLEGAN2}[config][1]
        with torch.inference_mode():
            render.render(*render.make_scene(shape, "cpu"))
        called, seen = seen, set()
        for name, case in made(kernels, configs=[config]).items():
            op = name.rpartition(" ")[2]
            c = next(iter(candidates(case).values()))
            if op in ("filtered_lrelu", "upfirdn2d", "bias_act") and "picture" not in name:
                call: Any = c.call
                note(op, *call.args, **call.keywords)
        assert seen <= called
        assert {name for name, *_ in seen} == {name for name, *_ in called}

    @pytest.mark.parametrize("op", ["filtered_lrelu", "modulated_conv"])
    def test_implementations_that_accept_and_the_reference_agree(self, op: str) -> None:
        for name, case in made(kernels, configs=["16-T", "32-R"], ops=[op]).items():
            found = candidates(case)
            assert list(found) == ["numba", "reference"], name
            fast, reference = (result(c) for c in found.values())
            assert fast.shape == reference.shape
            assert (fast - reference).abs().max() < 1e-4 * reference.abs().max()

    def test_who_declines_is_told(self) -> None:
        names = made(kernels, torch.float16, configs=["16-T"], ops=["filtered_lrelu"])
        found = candidates(next(iter(names.values())))
        assert list(found) == ["reference"]
        assert "numba declines: no kernel for torch.float16" in found["reference"].note
        assert "triton declines: runs on cuda, not on cpu" in found["reference"].note

    def test_the_work_is_that_of_the_result(self) -> None:
        for op in counting.OPS:
            for name, case in made(kernels, ops=[op]).items():
                c = next(iter(candidates(case).values()))
                call: Any = c.call
                values = (*call.args, *call.keywords.values(), result(c))
                moved = counting.size_of(*(v for v in values if isinstance(v, torch.Tensor)))
                assert c.work is not None and c.work.bytes == moved, name

    def test_dtypes(self) -> None:
        names = made(kernels, F32, BF16, configs=["16-T"], ops=["bias_act"])
        assert list(names) == ["16-T ToRGB bias_act", "16-T ToRGB bias_act bfloat16"]
        kinds = [next(iter(candidates(c).values())) for c in names.values()]
        assert [c.dtype for c in kinds] == [result(c).dtype for c in kinds] == [F32, BF16]

    def test_quick_takes_fewer(self) -> None:
        every, few = made(kernels), made(kernels, quick=True)
        assert set(few) < set(every) and len(few) < len(every) / 4
        assert {name.rpartition(" ")[2] for name in few} >= {"filtered_lrelu", "modulated_conv"}

    def test_a_foreign_op_is_called_as_its_name_says(self) -> None:
        cases = made(kernels, configs=["32-SG2"], baseline=vs("bias_act"))
        assert all(name.endswith(" bias_act") for name in cases)
        ours, theirs = candidates(next(iter(cases.values()))).values()
        assert theirs.by == "tests.bench.others:bias_act"
        assert torch.allclose(result(theirs), result(ours) * 1.1)

    def test_a_foreign_op_by_another_name(self) -> None:
        with pytest.raises(InvalidSetting, match="say with --op which of filtered_lrelu, "):
            made(kernels, baseline=vs("recorded"))
        with pytest.raises(InvalidSetting, match="name it alone"):
            made(kernels, baseline=vs("recorded"), ops=["bias_act", "upfirdn2d"])
        cases = made(kernels, configs=["32-SG2"], ops=["bias_act"], baseline=vs("recorded"))
        *_, theirs = candidates(next(iter(cases.values()))).values()
        others.CALLS.clear()
        result(theirs)
        (((x, b), options),) = others.CALLS
        assert x.shape == (1, 3, 4, 4) and b.shape == (3,) and options == {"clamp": None}

    def test_an_op_that_is_not_called(self) -> None:
        with pytest.raises(InvalidSetting, match="32-SG2 do not call filtered_lrelu"):
            made(kernels, configs=["32-SG2"], ops=["filtered_lrelu"])


class TestRender:
    def test_what_there_is(self) -> None:
        assert list(made(render)) == [
            "16-T render", "16-T forward + backward", "32-R render", "32-SG2 render",
            "64-EX render",
        ]  # fmt: skip
        assert list(made(render, quick=True)) == ["16-T render"]

    @pytest.mark.parametrize("name", [*STYLEGAN3, *STYLEGAN2, *STYLEGANEX])
    def test_pictures(self, name: str) -> None:
        (case,) = [c for n, c in made(render, F32, BF16, configs=[name]).items() if "back" not in n]
        plain, half, *canvas = candidates(case).values()
        picture, rounded = result(plain), result(half)
        side = int(name.partition("-")[0])
        assert picture.shape == (1, 3, side, side) and picture.std() > 0
        assert rounded.dtype == F32
        assert 0 < (picture - rounded).abs().max() < 0.2 * picture.abs().max()
        assert len(canvas) == (name in STYLEGAN3)
        for wide in canvas:
            with torch.inference_mode():
                assert wide.call().shape == (1, 3, side * 3 // 2, side * 3 // 2)
            inside = picture[..., side // 4 : -side // 4, side // 4 : -side // 4]
            assert torch.equal(wide.against(picture), inside)
            # The border reaches far into so small a picture; less so with 1×1 convolutions.
            bound = 1e-3 if name.endswith("R") else 0.2
            assert (result(wide) - inside).abs().max() < bound * picture.abs().max()

    def test_the_same_scene_every_time(self) -> None:
        case = made(render, configs=["16-T"])["16-T render"]
        one, other = (next(iter(candidates(case).values())) for _ in range(2))
        assert torch.equal(result(one), result(other))

    def test_gradients(self) -> None:
        case = made(render, configs=["16-T"], baseline=vs("render"))["16-T forward + backward"]
        assert case.gradients
        ours, theirs = candidates(case).values()
        a, b = ours.call(), theirs.call()
        assert a.shape == (1, 16, 12) and a.abs().max() > 0
        assert torch.allclose(a, 2 * b, rtol=1e-4, atol=1e-6)
        assert torch.allclose(a, ours.call(), rtol=1e-5), "nothing adds up from call to call"
        plain = candidates(made(render, configs=["16-T"])["16-T render"])["vidhair float32"]
        with torch.inference_mode():
            forward = counted(plain.call)
        assert ours.work is not None
        assert ours.work.convolution == 3 * forward.convolution
        assert ours.work.filter == 2 * forward.filter

    def test_a_foreign_generator(self) -> None:
        for name, case in made(render, baseline=vs("render"), configs=[*STYLEGAN3]).items():
            if "backward" not in name:
                ours, *_, theirs = candidates(case).values()
                assert theirs.third_party and torch.allclose(result(ours), 2 * result(theirs))

    def test_a_foreign_generator_without_gradients(self) -> None:
        options = {"configs": ["16-T"], "baseline": vs("render_without_gradients")}
        _, theirs = candidates(made(render, **options)["16-T forward + backward"]).values()
        with pytest.raises(InvalidSetting, match="others:render_without_gradients returns a pic"):
            theirs.call()


class TestEncode:
    def test_what_there_is(self) -> None:
        assert list(made(encode)) == [
            "e4e, batch 1", "e4e, batch 4", "restyle_e4e, batch 1", "restyle_e4e, batch 4",
            "restyle_e4e, 3 steps with 16-T",
        ]  # fmt: skip
        assert list(made(encode, quick=True)) == ["e4e, batch 1"]

    def test_codes(self) -> None:
        for name, case in made(encode, F32, BF16, baseline=vs("encode")).items():
            ours, half, theirs = candidates(case).values()
            codes = result(ours)
            assert codes.shape == (4 if "batch 4" in name else 1, 16, 16) and codes.dtype == F32
            torch.testing.assert_close(codes, result(theirs))  # of the network as it was
            assert theirs.third_party
            assert 0 < (codes - result(half)).abs().max() < 0.2 * codes.abs().max()


class TestChoice:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"configs": ["17-T"]}, "--config 17-T is unknown; choose from 16-T, 32-R, 32-SG2"),
            ({"sizes": [17]}, "--size 17 is unknown; choose from 16, 32"),
            ({"sizes": [16], "configs": ["32-R"]}, "no configuration of 32-R has size 16"),
        ],
    )
    def test_unknown_names(self, options: dict[str, list[int | str]], says: str) -> None:
        with pytest.raises(InvalidSetting, match=says):
            made(render, **options)

    def test_unknown_ops_and_dtypes(self) -> None:
        with pytest.raises(InvalidSetting, match="--op conv is unknown; choose from filtered_"):
            made(kernels, ops=["conv"])
        with pytest.raises(InvalidSetting, match="--dtype int8 is unknown; choose from float32,"):
            Options(dtypes=["int8"]).choose_dtypes(["float32"])

    def test_what_is_emulated_is_left_out_unless_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(options, "native", lambda device, dtype: dtype == F32)
        assert Options().choose_dtypes(["float32", "bfloat16"]) == [F32]
        assert Options().emulated(["float32", "bfloat16"]) == ["bfloat16"]
        asked = Options(dtypes=["bfloat16"])
        assert asked.choose_dtypes(["float32"]) == [BF16] and asked.emulated(["float32"]) == []

    def test_sizes(self) -> None:
        assert list(made(render, sizes=[32])) == ["32-R render", "32-SG2 render"]
        assert list(made(render, sizes=[32], quick=True)) == ["32-R render", "32-SG2 render"]

    def test_repeats(self) -> None:
        assert [Options().turns, Options(quick=True).turns] == [5, 2]
        assert Options(quick=True, repeats=9).turns == 9
