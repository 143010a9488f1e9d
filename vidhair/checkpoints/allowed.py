"""The names that a weight file may mention, and the inert likeness of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidhair.checkpoints.limits import Budget, Refused, shown
from vidhair.checkpoints.pickles import CONTAINERS, Inert, Items, Name, checked_key
from vidhair.checkpoints.storages import MAX_SIZE, STORAGE_TYPES, Storage, StorageType, View, view

PERSISTENCE_VERSIONS = range(1, 7)
ARRAY_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
MODULES = {
    "activation": "ELU GELU Hardtanh LeakyReLU PReLU ReLU ReLU6 SELU Sigmoid SiLU Softmax Tanh",
    "batchnorm": "BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm",
    "container": "ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d",
    "dropout": "Dropout Dropout2d",
    "flatten": "Flatten Unflatten",
    "instancenorm": "InstanceNorm1d InstanceNorm2d",
    "linear": "Bilinear Identity Linear",
    "normalization": "GroupNorm LayerNorm LocalResponseNorm",
    "padding": "ConstantPad2d ReflectionPad2d ReplicationPad2d ZeroPad2d",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": "AdaptiveAvgPool2d AdaptiveMaxPool2d AvgPool2d MaxPool2d",
    "sparse": "Embedding",
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}


@dataclass(eq=False)
class Options(Inert):
    """An argparse.Namespace."""

    values: dict[Any, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Refused("gives options a state that is not a table")
        self.values.update(state)


@dataclass(eq=False)
class Module(Inert):
    """A torch.nn.Module: its class by name, its attributes as they are."""

    class_name: str
    state: dict[Any, Any] = field(default_factory=dict)
    # Whether the file holds the class's source, which is left alone.
    persistent: bool = False

    def build(self, state: Any) -> None:
        if self.persistent or not isinstance(state, dict):
            raise Refused("gives a network a state that is not a table")
        self.state.update(state)


@dataclass(eq=False)
class ArrayType(Inert):
    """A numpy.dtype of plain numbers."""

    code: str
    order: str = "<"

    def build(self, state: Any) -> None:
        plain = type(state) is tuple and len(state) >= 5 and state[2:5] == (None, None, None)
        if not plain or state[1] not in ("<", ">", "|", "="):
            raise Refused("declares an array type that is not of plain numbers")
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype((">" if self.order == ">" else "<") + self.code)


@dataclass(eq=False)
class Array(Inert):
    """A numpy.ndarray."""

    budget: Budget
    made: Tensor | None = None

    def build(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != 5:
            raise Refused("declares an array of a wrong form")
        self.set(state[4], state[2], state[1], "F" if state[3] is True else "C")

    def set(self, raw: Any, kind: Any, shape: Any, order: str) -> None:
        if self.made is not None or type(kind) is not ArrayType:
            raise Refused("declares an array of a wrong form")
        if type(raw) is str:  # Python 2
            raw = latin(raw)
        if type(raw) not in (bytes, memoryview):
            raise Refused("declares an array that is not of plain numbers")
        if type(shape) is not tuple or len(shape) > 32:
            raise Refused("declares an array of a wrong form")
        for size in shape:
            if type(size) is not int or not 0 <= size <= MAX_SIZE:
                raise Refused(f"declares {shown(size)} as the size of an array")
        count = math.prod(shape)
        if count * kind.dtype.itemsize != len(raw) or math.prod(n for n in shape if n) > MAX_SIZE:
            raise Refused(f"declares an array of {shown(count)} numbers in {len(raw)} bytes")
        self.budget.take_copied(len(raw))
        values = np.frombuffer(raw, dtype=kind.dtype).reshape(shape, order=order)  # type: ignore[call-overload]
        if kind.code == "b1" and values.view(np.uint8).max(initial=0) > 1:
            raise Refused("holds truth values other than 0 and 1")
        native = kind.dtype.newbyteorder("=")
        self.made = torch.from_numpy(np.array(values, dtype=native, order="C"))


def latin(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Refused("holds bytes written as text that is not Latin-1") from error


def counted(arguments: tuple[Any, ...], low: int, high: int, label: str) -> tuple[Any, ...]:
    if not low <= len(arguments) <= high:
        raise Refused(f"gives {label} {len(arguments)} arguments")
    return arguments


def names(budget: Budget, inline: Callable[[memoryview], Storage] | None) -> dict[str, Any]:
    """The table. inline: reads a storage that is saved inside the pickle as a file of its own."""
    table: dict[str, Any] = {}

    def allow(labels: str, make: Callable[[tuple[Any, ...]], Any] | None = None) -> None:
        for label in labels.split():
            table[label] = Name(label, make)

    def items(arguments: tuple[Any, ...]) -> Items:
        made = Items()
        for source in arguments[:1]:
            if type(source) is Name:  # the factory of a defaultdict
                continue
            pairs = source.items() if isinstance(source, dict) else source
            if not isinstance(source, CONTAINERS):
                raise Refused(f"makes a dictionary of {shown(source)}")
            for pair in pairs:
                if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                    raise Refused("makes a dictionary of what are not pairs")
                made[checked_key(pair[0])] = pair[1]
        return made

    def collection(kind: type) -> Callable[[tuple[Any, ...]], Any]:
        def make(arguments: tuple[Any, ...]) -> Any:
            source = counted(arguments, 0, 1, kind.__name__)[0] if arguments else ()
            if not isinstance(source, CONTAINERS):
                raise Refused(f"makes a {kind.__name__} of {shown(source)}")
            return kind(checked_key(item) for item in source)

        return make

    def encode(arguments: tuple[Any, ...]) -> bytes:
        text, *encoding = counted(arguments, 1, 2, "codecs.encode")
        if type(text) is not str or encoding not in ([], ["latin1"], ["latin-1"]):
            raise Refused("encodes something other than bytes written as text")
        budget.take_copied(len(text))
        return latin(text)

    def no_bytes(arguments: tuple[Any, ...]) -> bytes:
        counted(arguments, 0, 0, "bytes")
        return b""

    def path(arguments: tuple[Any, ...]) -> str:
        if not all(type(part) is str for part in arguments):
            raise Refused("makes a path of what is no text")
        budget.take_copied(sum(map(len, arguments)) + len(arguments))
        return "/".join(arguments).replace("//", "/", 1)

    def text(label: str) -> Callable[[tuple[Any, ...]], str]:
        def make(arguments: tuple[Any, ...]) -> str:
            if not all(type(a) in (str, int) for a in counted(arguments, 1, 2, label)):
                raise Refused(f"makes a {label} of a wrong form")
            return ":".join(shown(a) for a in arguments)

        return make

    def size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        (sizes,) = counted(arguments, 1, 1, "torch.Size")
        if type(sizes) not in (tuple, list) or not all(type(n) is int for n in sizes):
            raise Refused("makes a torch.Size of a wrong form")
        return tuple(sizes)

    def reconstructed(arguments: tuple[Any, ...]) -> Any:
        """An object as protocol 1 makes it: (class, object, None)."""
        kind, base, state = counted(arguments, 3, 3, "copyreg._reconstructor")
        if type(kind) is not Name or kind.label not in BY_STATE or state is not None:
            raise Refused("remakes an object of a class that no weights need")
        if type(base) is not Name or base.label not in ("builtins.object", "__builtin__.object"):
            raise Refused("remakes an object of a class that no weights need")
        assert kind.make is not None
        return kind.make(())

    def tensor(arguments: tuple[Any, ...]) -> View:
        storage, offset, sizes, strides, *_ = counted(arguments, 4, 7, "a tensor")
        return view(budget, storage, offset, sizes, strides)

    def untyped_tensor(arguments: tuple[Any, ...]) -> View:
        storage, offset, sizes, strides, _, _, dtype, *_ = counted(arguments, 7, 8, "a tensor")
        if type(dtype) is not torch.dtype:
            raise Refused("declares a tensor without a type")
        return view(budget, storage, offset, sizes, strides, dtype)

    def parameter(arguments: tuple[Any, ...]) -> View:
        made = counted(arguments, 1, 4, "a parameter")[0]
        if type(made) is not View:
            raise Refused(f"makes a parameter of {shown(made)}")
        return made

    def subclass(arguments: tuple[Any, ...]) -> View:
        """A tensor that carries attributes: (function, class, arguments, attributes)."""
        function, kind, inner, _ = counted(arguments, 4, 4, "a tensor")
        known = type(function) is Name and function.make in (tensor, untyped_tensor, parameter)
        plain = type(kind) is Name and kind.label in PLAIN_TENSORS and type(inner) is tuple
        if not known or not plain:
            raise Refused("makes a tensor of a class that no weights need")
        result: View = function.make(inner)
        return result

    def storage_in_line(arguments: tuple[Any, ...]) -> Storage:
        (data,) = counted(arguments, 1, 1, "a storage")
        if inline is None or type(data) not in (bytes, memoryview):
            raise Refused("holds a storage where none can be")
        return inline(memoryview(bytearray(data)) if type(data) is bytes else data)

    def array(arguments: tuple[Any, ...]) -> Array:
        counted(arguments, 3, 3, "an array")
        return Array(budget)

    def array_from_buffer(arguments: tuple[Any, ...]) -> Array:
        raw, kind, shape, order = counted(arguments, 4, 4, "an array")
        made = Array(budget)
        made.set(raw, kind, shape, "F" if order == "F" else "C")
        return made

    def array_type(arguments: tuple[Any, ...]) -> ArrayType:
        code = counted(arguments, 1, 3, "an array type")[0]
        if type(code) is not str or code.lstrip("<>|=") not in ARRAY_TYPES:
            raise Refused(f"declares an array of the type {shown(code)}")
        return ArrayType(code.lstrip("<>|="))

    def scalar(arguments: tuple[Any, ...]) -> Any:
        kind, raw = counted(arguments, 2, 2, "a number")
        made = Array(budget)
        made.set(raw, kind, (), "C")
        assert made.made is not None
        return made.made.item()

    def persistent(arguments: tuple[Any, ...]) -> Module:
        (meta,) = counted(arguments, 1, 1, "a persistent object")
        if not isinstance(meta, dict) or meta.get("type") != "class":
            raise Refused("holds a persistent object of an unknown form")
        if meta.get("version") not in PERSISTENCE_VERSIONS:
            raise Refused(
                f"holds persistent objects of version {shown(meta.get('version'))}",
                "update vidhair, which reads versions up to 6",
            )
        name, state = meta.get("class_name"), meta.get("state")
        if type(name) is not str or not name.isidentifier() or not isinstance(state, dict):
            raise Refused("holds a persistent object of an unknown form")
        return Module(name, state, persistent=True)

    def module(label: str) -> Callable[[tuple[Any, ...]], Module]:
        def make(arguments: tuple[Any, ...]) -> Module:
            counted(arguments, 0, 0, label)
            return Module(label)

        return make

    def options(arguments: tuple[Any, ...]) -> Options:
        counted(arguments, 0, 0, "argparse.Namespace")
        return Options()

    allow(
        "collections.OrderedDict collections.defaultdict collections.Counter "
        "dnnlib.util.EasyDict dnnlib.EasyDict easydict.EasyDict yacs.config.CfgNode",
        items,
    )
    allow("argparse.Namespace", options)
    for builtins in ("builtins", "__builtin__"):
        allow(f"{builtins}.set", collection(set))
        allow(f"{builtins}.frozenset", collection(frozenset))
        allow(f"{builtins}.bytes", no_bytes)  # as protocol 2 writes empty ones
        # As factories of a defaultdict, never called.
        allow(" ".join(f"{builtins}.{t}" for t in ("object", "dict", "list", "int", "float")))
    allow("copyreg._reconstructor copy_reg._reconstructor", reconstructed)
    allow("_codecs.encode", encode)
    for library in ("pathlib", "pathlib._local"):
        for kind in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"):
            allow(f"{library}.{kind}", path)

    for name, dtype in STORAGE_TYPES.items():
        for prefix in ("torch", "torch.cuda", "torch.storage"):
            table[f"{prefix}.{name}"] = StorageType(dtype)
    for dtype in DTYPES:
        table[str(dtype)] = dtype
    allow("torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2", tensor)
    allow("torch._utils._rebuild_tensor_v3", untyped_tensor)
    allow(
        "torch._utils._rebuild_parameter torch._utils._rebuild_parameter_with_state "
        "torch.nn.parameter.Parameter",
        parameter,
    )
    allow("torch._tensor._rebuild_from_type_v2", subclass)
    allow("torch.storage._load_from_bytes", storage_in_line)
    allow("torch.Tensor torch._tensor.Tensor")
    allow("torch.Size", size)
    allow("torch.device", text("torch.device"))

    for numpy in ("numpy.core", "numpy._core"):
        allow(f"{numpy}.multiarray._reconstruct", array)
        allow(f"{numpy}.multiarray.scalar", scalar)
        allow(f"{numpy}.numeric._frombuffer", array_from_buffer)
    allow("numpy.ndarray")
    allow("numpy.dtype", array_type)

    allow("torch_utils.persistence._reconstruct_persistent_obj", persistent)
    for file, classes in MODULES.items():
        for kind in classes.split():
            label = f"torch.nn.modules.{file}.{kind}"
            allow(label, module(label))
    return table


BY_STATE = ("argparse.Namespace",)
PLAIN_TENSORS = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")
DTYPES = (
    *(dtype for dtype in STORAGE_TYPES.values() if dtype is not None),
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
)
