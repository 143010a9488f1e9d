"""Microkernels become vector code for 64-bit Arm, whatever machine compiles them.

Nothing is run. Arm has four lanes; elsewhere `test_levels` runs this file with as many.
"""

import re
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import pytest
from llvmlite import ir
from numba import types
from numba.core.extending import _Intrinsic
from numba.core.registry import cpu_target
from vidhair.kernels.filtered_lrelu import _numba as filtered_lrelu
from vidhair.kernels.modulated_conv import _numba as modulated_conv
from vidhair.kernels.strided_conv import _numba as strided_conv

from vidhair.kernels import _gemm, _tiles
from vidhair.kernels.simd import LANES, Vectors

pytestmark = pytest.mark.skipif(LANES != 4, reason="test_levels runs this with four lanes")

TRIPLE = "aarch64-unknown-linux-gnu"
# What the kernels call them with. a: a picture or what is made of one, in either precision;
# A: vectors [n, LANES]; i: a whole number; f: a number; 2x6xf: two tuples of six numbers.
BLOCK = "a i i i a i i i a i i"
ARGUMENTS = {
    _tiles: {"copy": "A i a i"},
    _gemm: {
        **dict.fromkeys(("_one", "_two", "_three", "_add_one", "_add_two", "_add_three"), BLOCK),
        "_scaled": "a i a i a i a i",
        "_scaled_pairs": "a i i a i a i a i",
    },
    filtered_lrelu: {
        "_read": "a i A i A i",
        "_expect_read": "a i",
        "_expect_write": "a i",
        "_up_columns": "A 6xi i 2x6xf A i",
        "_up_row_plain": "A i 2x6xf A i",
        "_up_row_added": "A i 4x6xf A i",
        "_up_row_activated": "A i 4x6xf f f A i",
        "_mask": "A i f f A i",
        "_down_row_by_2": "A i 6xf A i",
        "_down_row_by_4": "A i 12xf A i",
        "_down_columns_by_2": "A i i 6xf A i i",
        "_down_columns_by_2_onto": "A i i 6xf A i i",
        "_down_columns_by_4": "A i i 12xf A i i",
    },
    modulated_conv: {
        "_transform_window": "a i i i A i f f a i i",
        "_spread_tile": "a i i i A i f f a i i",
        "_collect_tile": "a i i A i f f a i i i",
        "_transform_taps": "a i i 6x3xf a i i",
        "_add_products": "a i a i i i A i",
    },
    strided_conv: {
        "_downsampling_window": "a i i i a i i",
        "_downsampling_result": "a i i A i f a i i i",
        "_upsampling_window": "a i i i A i a i i",
        "_upsampling_result": "a i i A i a i i i",
        "_smooth_row": "a i i i i a i i",
    },
}
KERNELS = [(module, name) for module, known in ARGUMENTS.items() for name in known]


def kind(code: str, picture: types.Type) -> types.Type:
    """Numba's type of an argument."""
    count, times, of = code.partition("x")
    if times:
        return types.UniTuple(kind(of, picture), int(count))  # type: ignore[no-untyped-call]
    return {
        "a": types.Array(picture, 1, "C"),
        "A": types.Array(types.float32, 2, "C"),
        "i": types.int64,
        "f": types.float32,
    }[code]


def written(module: ModuleType, name: str, picture: types.Type) -> ir.Module:
    """A microkernel as a function of its own."""
    emit = getattr(module, name)._defn.__wrapped__
    kinds = [kind(code, picture) for code in ARGUMENTS[module][name].split()]
    context, text = cpu_target.target_context, ir.Module(name)
    text.triple = TRIPLE
    of = ir.FunctionType(ir.VoidType(), [context.get_value_type(k) for k in kinds])
    function = ir.Function(text, of, name)
    v = Vectors(context, ir.IRBuilder(function.append_basic_block()))
    emit(v, *(v.argument(k, x) for k, x in zip(kinds, function.args, strict=True)))
    v.builder.ret_void()
    return text


@pytest.fixture(scope="module")
def arm() -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(features="+neon", opt=3)


@pytest.mark.parametrize("picture", [types.float32, types.uint16], ids=["f32", "bf16"])
@pytest.mark.parametrize("module,name", KERNELS, ids=[name for _, name in KERNELS])
def test_compiles(arm: Any, module: ModuleType, name: str, picture: Any) -> None:
    text = str(written(module, name, picture))
    assembly = arm.emit_assembly(llvm.parse_assembly(text))
    assert "x86" not in text
    if "prefetch" in text:
        assert "prfm" in assembly
        return
    assert re.search(r"\bq\d+\b", assembly), "no vector is loaded"
    fused = re.findall(r"\tfml[as]\t.*\.4s", assembly)
    assert len(fused) == len(re.findall("call .*fmuladd", text)), "not every a·b + c is one step"


def test_no_microkernel_is_left_out() -> None:
    found = {
        (module, name)
        for module in ARGUMENTS
        for name, value in vars(module).items()
        if isinstance(value, _Intrinsic) and not (name == "copy" and module is not _tiles)
    }
    assert found == set(KERNELS)
