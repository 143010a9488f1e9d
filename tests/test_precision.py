"""What `auto` means follows the device; keys, refusals and notes follow what it means."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vidhair import precision
from vidhair.errors import InvalidSetting
from vidhair.precision import USES, Precision, native, resolve
from vidhair.recipe import explain, load_recipe, precisions


@pytest.fixture
def without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: False)


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)


def gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


class TestAuto:
    @pytest.mark.parametrize("use", USES)
    def test_emulates_nothing_on_a_processor_without_bfloat16(
        self, use: Any, without_bfloat16: Any
    ) -> None:
        assert resolve("auto", "cpu", use).dtype == torch.float32

    @pytest.mark.parametrize("use", ["tune", "probe", "train"])
    def test_takes_steps_in_bfloat16_where_it_is_native(self, use: Any, with_bfloat16: Any) -> None:
        assert resolve("auto", "cpu", use).dtype == torch.bfloat16

    def test_draws_in_float32_on_every_processor(self, with_bfloat16: Any) -> None:
        assert resolve("auto", "cpu", "render").dtype == torch.float32

    @pytest.mark.parametrize(
        "capability, render, tune",
        [
            ((9, 0), "float16", "bfloat16"),
            ((7, 5), "float16", "float32"),
            ((6, 1), *["float32"] * 2),
        ],
    )
    def test_on_gpus_follows_what_their_tensor_cores_take(
        self, monkeypatch: pytest.MonkeyPatch, capability: Any, render: Any, tune: Any
    ) -> None:
        gpu(monkeypatch, capability)
        assert resolve("auto", "cuda", "render").name == render
        assert resolve("auto", "cuda:1", "tune").name == tune

    def test_says_why(self, without_bfloat16: Any) -> None:
        assert "no bfloat16" in resolve("auto", "cpu", "tune").why


class TestAskedFor:
    def test_emulation_is_done_with_a_note_of_its_price(self, without_bfloat16: Any) -> None:
        got = resolve("bfloat16", "cpu", "tune")
        assert got.dtype == torch.bfloat16
        assert got.note is not None
        assert "tune.precision" in got.note and "two hundred times" in got.note

    def test_what_is_native_needs_no_note(self, with_bfloat16: Any) -> None:
        assert resolve("bfloat16", "cpu", "tune") == Precision("bfloat16", "as asked for")

    def test_float16_cannot_work_on_a_processor(self) -> None:
        with pytest.raises(InvalidSetting, match=r"render.precision = 'float16'.*choose auto"):
            resolve("float16", "cpu", "render")

    def test_bfloat16_on_an_old_gpu_gains_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpu(monkeypatch, (7, 5))
        note = resolve("bfloat16", "cuda", "tune").note
        assert note is not None and "GPU" in note


def test_native_agrees_with_the_processor_flags() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.exists() or "flags" not in flags.read_text():
        pytest.skip("no flags of an x86 processor to read here")
    forced = any(n in os.environ for n in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"))
    if forced or "VIDHAIR_SIMD" in os.environ:
        pytest.skip("forced down")
    assert native("cpu", torch.bfloat16) == ("avx512_bf16" in flags.read_text())


@pytest.mark.parametrize("switch", [{"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}])
def test_what_is_forced_down_has_no_bfloat16(switch: dict[str, str]) -> None:
    code = "import torch; from vidhair.precision import resolve; "
    code += "print(*(resolve('auto', 'cpu', use).name for use in ('tune', 'probe', 'train')))"
    printed = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | switch, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert printed.split() == ["float32"] * 3


class TestRecipes:
    @pytest.mark.parametrize("table", ["render", "tune"])
    def test_auto_is_the_default(self, table: str) -> None:
        assert getattr(load_recipe("hair_color"), table).precision == "auto"

    def test_explain_says_what_it_means_here(self, without_bfloat16: Any) -> None:
        text = explain(load_recipe("hair_color"), "cpu")
        assert "tune.precision is float32: this processor has no bfloat16 arithmetic" in text

    def test_explain_names_the_price_of_emulation(self, without_bfloat16: Any) -> None:
        text = explain(load_recipe("hair_color", {"tune.precision": "bfloat16"}), "cpu")
        assert "two hundred times" in text

    def test_explain_refuses_what_a_run_would(self) -> None:
        with pytest.raises(InvalidSetting, match="float16"):
            precisions(load_recipe("hair_color", {"render.precision": "float16"}), "cpu")
