"""Vector code for the CPU kernels: straight lines of LLVM vectors, called like functions.

Numba's loops leave it to the compiler whether and how they become vector code. Where that decides
the speed, a microkernel says it outright: a Python function that is run once, while Numba compiles
its caller, and writes down the loads, multiply-adds and stores of one step of a loop. Python's own
loops in it are unrolled.

    @microkernel
    def three_taps(v, x, at, c, y, to):
        s = [v.load(x, at, k) for k in range(3)]
        v.store(v.dot(c, s), y, to)

A microkernel takes arrays (float32, or uint16 that holds the bits of bfloat16), whole numbers,
float32 numbers and tuples of these, and returns nothing. Places in an array [n, LANES] count
vectors, places in an array of one dimension count elements.

VIDHAIR_SIMD=avx2 or sse has the kernels compiled for processors with no more than that.
"""

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from vidhair.errors import DeviceUnavailable


class _BFloat16(ir.types.Type):
    """LLVM's bfloat, for which llvmlite has no name."""

    def _to_string(self) -> str:
        return "bfloat"

    __str__ = _to_string


FLOAT, WORD, HALF_WORD, BFLOAT16 = ir.FloatType(), ir.IntType(32), ir.IntType(16), _BFloat16()
SWITCH = "VIDHAIR_SIMD"
# What the levels keep of a processor's features: those of x86-64-v2 and v3, by LLVM's names.
_SSE = {
    "64bit", "cmov", "cx16", "cx8", "fxsr", "mmx", "popcnt", "sahf", "sse", "sse2", "sse3",
    "sse4.1", "sse4.2", "ssse3",
}  # fmt: skip
_AVX2 = _SSE | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}
LEVELS = {"avx512": "avx512f", "avx2": "avx2", "sse": "sse2"}  # → the feature that makes it


def limited(level: str, features: Mapping[str, bool]) -> dict[str, bool]:
    """What a processor with these features has in common with one of a level.

    Raises DeviceUnavailable.
    """
    if level not in LEVELS:
        raise DeviceUnavailable(f"{SWITCH}={level} is unknown; choose from {', '.join(LEVELS)}")
    if not features.get(LEVELS[level]):
        can = [name for name, feature in LEVELS.items() if features.get(feature)]
        remedy = f"choose from {', '.join(can)}, or unset it" if can else "unset it"
        raise DeviceUnavailable(f"{SWITCH}={level}: this processor does not have that; {remedy}")
    kept = {"avx512": set(features), "avx2": _AVX2, "sse": _SSE}[level]
    return {name: has and name in kept for name, has in features.items()}


def _compiled_for() -> dict[str, bool]:
    """The features that Numba compiles for, which its own variables may limit as well."""
    if level := os.environ.get(SWITCH):
        kept = limited(level, llvm.get_host_cpu_features())
        told = (f"{'+' if on else '-'}{name}" for name, on in kept.items())
        config.CPU_FEATURES = ",".join(told)  # type: ignore[attr-defined]
    _triple, _name, features = cpu_target.target_context.codegen().magic_tuple()
    return {name[1:]: name[0] == "+" for name in features.split(",") if name}


FEATURES = _compiled_for()
# Floats in the widest vector.
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
# Whether pairs of bfloat16 are multiplied and added up in float32 in one instruction.
HAS_PAIRS = LANES == 16 and bool(FEATURES.get("avx512bf16"))


@dataclass(frozen=True)
class Memory:
    """An array as microkernels see it. step: elements per place."""

    pointer: ir.Value
    step: int
    bfloat16: bool


class Vectors:
    """Writes vector code: every method is one instruction, or a few, for LANES numbers at once."""

    def __init__(self, context: Any, builder: ir.IRBuilder):
        self.context, self.builder = context, builder
        self.type = ir.VectorType(FLOAT, LANES)

    def argument(self, of: Any, value: ir.Value) -> Any:
        """A value of Numba's as the microkernel gets it."""
        if isinstance(of, types.Array):
            pointer = make_array(of)(self.context, self.builder, value).data
            return Memory(pointer, LANES if of.ndim == 2 else 1, of.dtype.bitwidth == 16)
        if isinstance(of, types.BaseTuple):
            kinds: list[types.Type] = list(of)  # type: ignore[call-overload]
            parts = zip(kinds, cgutils.unpack_tuple(self.builder, value), strict=True)
            return [self.argument(kind, part) for kind, part in parts]
        return self.splat(value) if isinstance(of, types.Float) else value

    def splat(self, value: ir.Value) -> ir.Value:
        """The same number in every lane."""
        nothing = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(WORD, 0))
        everywhere = ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, nothing, everywhere)

    def number(self, value: float) -> ir.Value:
        """A constant in every lane."""
        return ir.Constant(self.type, [value] * LANES)

    def place(self, value: int) -> ir.Value:
        """A constant place."""
        return ir.Constant(ir.IntType(64), value)

    def sum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Of two places."""
        return self.builder.add(a, b)

    def times(self, factor: int, a: ir.Value) -> ir.Value:
        """A place, or a distance between places, times a whole number."""
        return self.builder.mul(ir.Constant(a.type, factor), a)

    def product(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Of two whole numbers."""
        return self.builder.mul(a, b)

    def _pointer(self, memory: Memory, at: ir.Value, offset: int, of: ir.Type) -> ir.Value:
        place = self.builder.add(at, ir.Constant(at.type, offset))
        element = self.builder.mul(place, ir.Constant(at.type, memory.step))
        return self.builder.bitcast(self.builder.gep(memory.pointer, [element]), of.as_pointer())

    def load(self, memory: Memory, at: ir.Value, offset: int = 0) -> ir.Value:
        """The vector at a place."""
        if not memory.bfloat16:
            return self._load(memory, at, offset, self.type)
        bits = self._load(memory, at, offset, ir.VectorType(HALF_WORD, LANES))
        wide = self.builder.zext(bits, ir.VectorType(WORD, LANES))
        return self.builder.bitcast(self.builder.shl(wide, self._words(16)), self.type)

    def _load(self, memory: Memory, at: ir.Value, offset: int, of: ir.Type) -> ir.Value:
        loaded = self.builder.load(self._pointer(memory, at, offset, of))
        loaded.align = 2 if memory.bfloat16 else 4
        return loaded

    def store(self, value: ir.Value, memory: Memory, at: ir.Value, offset: int = 0) -> None:
        """Write a vector to a place; bfloat16 rounds to nearest even."""
        of: ir.Type = self.type
        if memory.bfloat16:
            of = ir.VectorType(HALF_WORD, LANES)
            value = self._rounded(value, of)
        stored = self.builder.store(value, self._pointer(memory, at, offset, of))
        stored.align = 2 if memory.bfloat16 else 4

    def _rounded(self, value: ir.Value, to: ir.Type) -> ir.Value:
        """The bits of bfloat16."""
        b = self.builder
        if FEATURES.get("avx512bf16"):
            return b.bitcast(b.fptrunc(value, ir.VectorType(BFLOAT16, LANES)), to)
        bits = b.bitcast(value, ir.VectorType(WORD, LANES))
        odd = b.and_(b.lshr(bits, self._words(16)), self._words(1))
        rounded = b.add(bits, b.add(odd, self._words(0x7FFF)))
        return b.trunc(b.lshr(rounded, self._words(16)), to)

    def _words(self, value: int) -> ir.Value:
        return ir.Constant(ir.VectorType(WORD, LANES), [value] * LANES)

    def prefetch(self, memory: Memory, at: ir.Value, *, to_write: bool) -> None:
        """Have the cache line at a place fetched, as it will be needed soon."""
        byte = ir.IntType(8).as_pointer()
        pointer = self.builder.bitcast(self._pointer(memory, at, 0, FLOAT), byte)
        ask = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [byte, WORD, WORD, WORD]),
            "llvm.prefetch.p0",
        )
        words = [ir.Constant(WORD, value) for value in (int(to_write), 3, 1)]
        self.builder.call(ask, [pointer, *words])

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b)

    def subtract(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b)

    def multiply(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fmul(a, b)

    def divide(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fdiv(a, b)

    def negative(self, a: ir.Value) -> ir.Value:
        return self.builder.fneg(a)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a·b + c, rounded once where the processor can."""
        fused = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fmuladd.v{LANES}f32",
        )
        return self.builder.call(fused, [a, b, c])

    def multiply_subtract(self, c: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """c − a·b, rounded once where the processor can."""
        return self.multiply_add(self.negative(a), b, c)

    def dot(self, a: Sequence[ir.Value], b: Sequence[ir.Value], onto: Any = None) -> ir.Value:
        """Σ_k a[k]·b[k], added to `onto` if there is one."""
        pairs = list(zip(a, b, strict=True))
        if onto is None:
            (x, y), *pairs = pairs
            onto = self.multiply(x, y)
        for x, y in pairs:
            onto = self.multiply_add(x, y, onto)
        return onto

    def everywhere(self, memory: Memory, at: ir.Value, offset: int = 0) -> ir.Value:
        """One float32 of an array, in every lane."""
        return self.splat(self.builder.load(self._pointer(memory, at, offset, FLOAT)))

    def load_pairs(self, memory: Memory, at: ir.Value, offset: int = 0) -> ir.Value:
        """2 · LANES numbers of an array of bfloat16."""
        return self._load(memory, at, offset, ir.VectorType(WORD, LANES))

    def pair_everywhere(self, memory: Memory, at: ir.Value) -> ir.Value:
        """Two numbers of an array of bfloat16, in every lane."""
        pair = self.builder.load(self._pointer(memory, at, 0, WORD))
        pair.align = 2
        return self.splat(pair)

    def store_pairs(
        self, first: ir.Value, second: ir.Value, memory: Memory, at: ir.Value, offset: int = 0
    ) -> None:
        """Write two vectors as bfloat16, a number of the one beside a number of the other."""
        b, halves = self.builder, ir.VectorType(HALF_WORD, LANES)
        words = ir.VectorType(WORD, LANES)
        low, high = (b.zext(self._rounded(x, halves), words) for x in (first, second))
        pairs = b.or_(low, b.shl(high, self._words(16)))
        stored = b.store(pairs, self._pointer(memory, at, offset, words))
        stored.align = 2

    def multiply_add_pairs(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a₀·b₀ + a₁·b₁ + c"""
        if not HAS_PAIRS:
            (a_0, a_1), (b_0, b_1) = self._apart(a), self._apart(b)
            return self.multiply_add(a_1, b_1, self.multiply_add(a_0, b_0, c))
        pairs = ir.VectorType(BFLOAT16, 2 * LANES)
        fused = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.type, [self.type, pairs, pairs]),
            "llvm.x86.avx512bf16.dpbf16ps.512",
        )
        a, b = (self.builder.bitcast(x, pairs) for x in (a, b))
        return self.builder.call(fused, [c, a, b])

    def _apart(self, pairs: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The first and the second numbers of pairs of bfloat16."""
        b = self.builder
        first = b.shl(pairs, self._words(16))
        second = b.and_(pairs, self._words(0xFFFF0000))
        return b.bitcast(first, self.type), b.bitcast(second, self.type)

    def repeat(
        self,
        count: ir.Value,
        start: list[ir.Value],
        step: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """`values = step(k, values)` from `start` on, for k < count, which must not be 0."""
        b, before = self.builder, self.builder.block
        loop, after = b.append_basic_block("repeat"), b.append_basic_block("repeated")
        b.branch(loop)
        b.position_at_end(loop)
        k = b.phi(count.type)
        values = [b.phi(value.type) for value in start]
        results = step(k, values)
        following = b.add(k, ir.Constant(k.type, 1))
        first = [ir.Constant(k.type, 0), *start]
        for phi, was, becomes in zip([k, *values], first, [following, *results], strict=True):
            phi.add_incoming(was, before)
            phi.add_incoming(becomes, loop)
        b.cbranch(b.icmp_signed("<", following, count), loop, after)
        b.position_at_end(after)
        return results

    def select(self, how: str, a: ir.Value, b: ir.Value, then: ir.Value, other: ir.Value):
        """`then` where `a how b` holds, else `other`; how: "<", "<=", ">" or ">="."""
        return self.builder.select(self.builder.fcmp_ordered(how, a, b), then, other)

    def maximum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.select(">", a, b, a, b)

    def minimum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.select("<", a, b, a, b)


def microkernel(emit: Callable[..., None]) -> Callable[..., None]:
    """Make a function that writes vector code callable from compiled code; see the module."""

    @wraps(emit)
    def typed(typing_context, *of):
        def generate(context, builder, signature, values):
            v = Vectors(context, builder)
            emit(
                v, *(v.argument(t, value) for t, value in zip(signature.args, values, strict=True))
            )
            return context.get_dummy_value()

        return types.void(*of), generate

    # Numba looks at the names of the parameters; the first one is the typing context.
    parameters = inspect.signature(emit).parameters.values()
    typed.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    return intrinsic(typed)


def _sources() -> str:
    """The microkernels' own text, and that of what kernels take from their neighbours."""
    texts = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(b"".join(texts)).hexdigest()


_KEY = (LANES, HAS_PAIRS, _sources())


class _Kept(FunctionCache):
    """Numba's, which knows of a function's own file only, told what else its code depends on."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        return (*super()._index_key(sig, codegen), _KEY)


def compiled(function: Callable | None = None, **options: Any) -> Any:
    """`numba.njit` that lets other threads of Python go on, kept on disk across runs where there is
    a folder for it."""
    if function is None:
        return lambda function: compiled(function, **options)
    dispatcher = njit(nogil=True, **options)(function)
    with suppress(RuntimeError):  # no folder can be written: compile in every run
        dispatcher._cache = _Kept(dispatcher.py_func)
    return dispatcher


@compiled
def empty_places(count):
    """Scratch [count, LANES] from the start of a cache line on: vectors in two lines cost twice."""
    memory = np.empty((count + 1) * LANES, np.float32)
    first = -(memory.ctypes.data // 4) % LANES
    return memory[first : first + count * LANES].reshape(count, LANES)


@compiled
def zero_places(count):
    """As `empty_places`, filled with zeros."""
    places = empty_places(count)
    places[:] = 0
    return places
