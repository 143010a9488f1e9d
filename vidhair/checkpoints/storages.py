"""Tensors as torch stores them: a flat storage, and views of it by offset, sizes and strides."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.limits import Budget, Refused, shown
from vidhair.checkpoints.pickles import Inert

MAX_DIMENSIONS = 32
MAX_SIZE = 1 << 40

STORAGE_TYPES: dict[str, torch.dtype | None] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": None,  # counted in bytes; the view says the type
}


@dataclass(eq=False)
class Storage(Inert):
    """Declared by a pickle; `data` may follow later in the file."""

    dtype: torch.dtype | None
    count: int
    data: memoryview | None = None
    flat: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.count * (1 if self.dtype is None else self.dtype.itemsize)

    def fill(self, data: memoryview) -> None:
        """Raises Refused if the data are shorter than declared."""
        if self.size > len(data):
            raise Refused(
                f"declares a storage of {self.size} bytes where there are {len(data)} bytes"
            )
        self.data = data[: self.size]

    def elements(self, dtype: torch.dtype, budget: Budget) -> Tensor:
        """The whole storage as a flat tensor, over the bytes of the file."""
        if dtype not in self.flat:
            if self.data is None:
                raise Refused("declares a storage that it does not hold")
            self.flat[dtype] = from_bytes(self.data, dtype, budget)
        return self.flat[dtype]


@dataclass(eq=False)
class View(Inert):
    """A tensor to be: checked to lie inside its storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    made: Tensor | None = field(default=None, init=False)

    def build(self, state: Any) -> None:
        raise Refused("gives a tensor attributes")

    def tensor(self, budget: Budget) -> Tensor:
        """The tensor itself. Raises Refused if its storage is not in the file."""
        if self.made is None:
            flat = self.storage.elements(self.dtype, budget)
            if math.prod(self.sizes) == 0:
                self.made = torch.empty(self.sizes, dtype=self.dtype)
            else:
                self.made = flat.as_strided(self.sizes, self.strides, self.offset)
        return self.made


def whole(value: Any, low: int, what: str) -> int:
    """The value, if it is a whole number of a sensible size. Raises Refused."""
    if type(value) is not int or not low <= value <= MAX_SIZE:
        raise Refused(f"declares {shown(value)} as {what}")
    return value


def declared(kind: Any, count: Any) -> Storage:
    """A storage as a pickle declares it; `kind` is an entry of the table of names."""
    if type(kind) is not StorageType:
        raise Refused("declares a storage of no known type")
    return Storage(kind.dtype, whole(count, 0, "the size of a storage"))


@dataclass(frozen=True, eq=False)
class StorageType:
    """Stands for a storage class of torch."""

    dtype: torch.dtype | None


def view(
    budget: Budget,
    storage: Any,
    offset: Any,
    sizes: Any,
    strides: Any,
    dtype: torch.dtype | None = None,
) -> View:
    """A view after all checks. Raises Refused if it reaches beyond its storage."""
    if type(storage) is not Storage or type(sizes) is not tuple or type(strides) is not tuple:
        raise Refused("declares a tensor of a wrong form")
    dtype = dtype or storage.dtype
    if dtype is None:
        raise Refused("declares a tensor without a type")
    if len(sizes) != len(strides) or len(sizes) > MAX_DIMENSIONS:
        raise Refused(f"declares a tensor of {len(sizes)} sizes and {len(strides)} strides")
    whole(offset, 0, "the offset of a tensor")
    for size in sizes:
        whole(size, 0, "the size of a tensor")
    for stride in strides:
        whole(stride, 0, "the stride of a tensor")
    count, held = math.prod(sizes), storage.size // dtype.itemsize
    if math.prod(s for s in sizes if s) > MAX_SIZE:
        raise Refused("declares a tensor of more elements than any machine holds")
    if count:
        last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        if last >= held or count > held:
            raise Refused(
                f"declares a tensor of {count} elements up to element {last} in a storage of {held}"
            )
    budget.take_tensor(count * dtype.itemsize)
    return View(storage, dtype, offset, sizes, strides)


def from_bytes(data: memoryview, dtype: torch.dtype, budget: Budget) -> Tensor:
    """A flat tensor over the bytes, copied only where their alignment asks for it."""
    count = len(data) // dtype.itemsize
    if not count:
        return torch.empty(0, dtype=dtype)
    raw = torch.frombuffer(data, dtype=torch.uint8, count=count * dtype.itemsize)
    if dtype == torch.bool:
        budget.take_tensor(len(raw))  # a storage declared many times is searched as often
        if int(raw.max()) > 1:
            raise Refused("holds truth values other than 0 and 1")
    if raw.data_ptr() % dtype.itemsize:
        budget.take_tensor(len(raw))
        raw = raw.clone()
    return raw.view(dtype)
