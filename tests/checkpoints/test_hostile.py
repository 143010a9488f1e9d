"""Files that want more than to be read. None runs code or fills the memory; each is refused in
one sentence that names it."""

import os
import pickle
import random
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.checkpoints.third_party_files import (
    Raw,
    archive,
    call,
    flat,
    generator_tensors,
    inline_storage,
    name,
    nvidia_pickle,
    patched,
    program,
    psp,
    rosinality,
    safetensors,
    saved,
    storage,
    tensor,
    value,
)
from vidhair.checkpoints.third_party import read_checkpoint
from vidhair.errors import CheckpointUnreadable, VidhairError

CANARY = "executed"  # made in the working directory by whatever is executed
SHELL = f"mkdir {CANARY}"
CODE = f"__import__('os').mkdir({CANARY!r})"


class Reduced:
    """Pickles as a call of anything."""

    def __init__(self, *fields: Any) -> None:
        self.fields = fields

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return self.fields


def doubled(times: int, first: bytes = b"]", join: bytes = b"\x86") -> bytes:
    """A tuple of twice the tuple before, and so on: short to write, endless to walk."""
    steps = [first + b"q\x00"]
    steps += [b"h\x00h\x00" + join + b"q\x00" for _ in range(times)]
    return b"0".join(steps)


META = {"type": "class", "version": 6, "module_src": CODE, "class_name": "G", "state": {}}
PERSISTENT = ("torch_utils.persistence", "_reconstruct_persistent_obj")
LOAD = ("torch.storage", "_load_from_bytes")
EMPTY_ARRAY = call(
    "numpy.core.multiarray", "_reconstruct", Raw(name("numpy", "ndarray")), (0,), b"b"
)
FLOAT4 = Raw(call("numpy", "dtype", "f4", False, True))


def module(**state: bytes) -> bytes:
    """A network whose state has these entries, each pushed by instructions."""
    inner = b"".join(value(key) + pushed for key, pushed in state.items())
    meta = b"}(" + b"".join(value(k) + value(v) for k, v in META.items() if k != "state")
    meta += value("state") + b"}(" + inner + b"uu"
    return name(*PERSISTENT) + meta + b"\x85R"


# name → (program without its end, what the message must say). Each is tried as a plain pickle,
# in a zip archive and in a flat file.
PROGRAMS: dict[str, tuple[bytes, str]] = {
    "os.system": (call("os", "system", SHELL), "asks for os.system"),
    "posix.system": (call("posix", "system", SHELL), "asks for posix.system"),
    "subprocess": (call("subprocess", "check_call", ["mkdir", CANARY]), "asks for subprocess"),
    "eval": (call("builtins", "eval", CODE), "asks for builtins.eval"),
    "exec": (call("builtins", "exec", CODE), "asks for builtins.exec"),
    "eval of Python 2": (call("__builtin__", "eval", CODE), "asks for __builtin__.eval"),
    "getattr": (call("builtins", "getattr", Raw(name("os", "path")), "os"), "asks for"),
    "__import__": (call("builtins", "__import__", "antigravity"), "asks for"),
    "importlib": (call("importlib", "import_module", "antigravity"), "asks for"),
    "runpy": (call("runpy", "run_path", CANARY), "asks for runpy.run_path"),
    "marshal": (call("marshal", "loads", b"\xe3"), "asks for marshal.loads"),
    "code object": (call("types", "CodeType", 0), "asks for types.CodeType"),
    "pickle in pickle": (
        call("pickle", "loads", pickle.dumps(Reduced(os.mkdir, (CANARY,)))),
        "asks for",
    ),
    "torch.load": (call("torch", "load", CANARY), "asks for torch.load"),
    "torch hub": (call("torch.hub", "load", "a/b", "c"), "asks for torch.hub.load"),
    "numpy.load": (call("numpy", "load", CANARY), "asks for numpy.load"),
    "operator.attrgetter": (call("operator", "attrgetter", "system"), "asks for operator"),
    "functools.partial": (call("functools", "partial", Raw(name("os", "system"))), "asks for"),
    "a path through an allowed name": (
        value("collections") + value("OrderedDict.__init__.__globals__") + b"\x93",
        "asks for collections.OrderedDict.__init__",
    ),
    "a name split elsewhere": (value("torch._utils.os") + value("system") + b"\x93", "asks for"),
    "a name that is a number": (value(3) + value("system") + b"\x93", "no text"),
    "a name without an end": (b"c" + b"o" * 2000, "does not end"),
    "a name that is not UTF-8": (b"c\xff\xfe\nx\n", "not UTF-8"),
    "reduce of a text": (value("os.system") + value((SHELL,)) + b"R", "not a thing to call"),
    "reduce of a class": (name("torch", "FloatStorage") + b")R", "not a thing to call"),
    "reduce of an instance": (
        name("argparse", "Namespace") + b")\x81" + value((SHELL,)) + b"R",
        "not a thing to call",
    ),
    "reduce without a tuple": (name("collections", "OrderedDict") + b"]R", "without a tuple"),
    "a call nested in a call": (
        call("collections", "OrderedDict", Raw(call("os", "system", SHELL))),
        "asks for os.system",
    ),
    "a call in a tensor's hooks": (
        call("torch._utils", "_rebuild_parameter", Raw(call("os", "system", SHELL))),
        "asks for os.system",
    ),
    "build with a call": (
        name("argparse", "Namespace") + b")\x81" + call("os", "system", SHELL) + b"b",
        "asks for os.system",
    ),
    "build on a dictionary": (b"}" + value({"a": 1}) + b"b", "gives a state to"),
    "build on a name": (name("collections", "OrderedDict") + value({"a": 1}) + b"b", "a state to"),
    "build of slots": (name("argparse", "Namespace") + b")\x81N}\x86b", "not a table"),
    "__setstate__ by a class of the file": (name("__main__", "Evil") + b")\x81}b", "__main__.Evil"),
    "copyreg of any class": (
        call(
            "copyreg",
            "_reconstructor",
            Raw(name("torch", "Tensor")),
            Raw(name("builtins", "object")),
            None,
        ),
        "no weights need",
    ),
    "copyreg.add_extension": (call("copyreg", "add_extension", "os", "system", 1), "asks for"),
    "extension registry, 1 byte": (b"\x82\x01", "instruction 0x82"),
    "extension registry, 2 bytes": (b"\x83\x01\x00", "instruction 0x83"),
    "extension registry, 4 bytes": (b"\x84\x01\x00\x00\x00", "instruction 0x84"),
    "INST": (b"(" + value(SHELL) + b"ios\nsystem\n", "instruction 0x69"),
    "OBJ": (b"(" + name("argparse", "Namespace") + b"o", "instruction 0x6f"),
    "NEWOBJ_EX": (name("argparse", "Namespace") + b")}\x92", "instruction 0x92"),
    "NEWOBJ of os.system": (name("os", "system") + value((SHELL,)) + b"\x81", "asks for os.system"),
    "a text persistent id": (b"Pstorage\n", "instruction 0x50"),
    "text protocol": (b"I1\n", "instruction 0x49"),
    "out-of-band buffer": (b"\x97", "instruction 0x97"),
    "an unknown instruction": (b"\xff", "instruction 0xff"),
    "a protocol of its own": (b"\x80\x09N", "instruction 0x80"),
    "an empty stack": (b"R", "never made"),
    "a mark that is missing": (b"t", "never opened"),
    "values left over": (b"NN", "leaves values over"),
    "memo that is empty": (b"h\x05", "never kept"),
    "memo bomb": (b"Nr\xff\xff\xff\xffj\xff\xff\xff\xffN\x86" + b"NN", "leaves values over"),
    "billion laughs": (doubled(60), "more than 1000000 values"),
    "billion laughs, deep": (doubled(5000), "more than 100 deep"),
    "billion laughs as a key": (b"}" + doubled(60, b")") + b"Ns", "as a key"),
    "billion laughs in a set": (b"\x8f(" + doubled(60, b")") + b"\x90", "as a key"),
    "billion laughs of networks": (
        module(_parameters=b"}")
        + b"q\x010"
        + b"0".join(
            [module(_modules=b"}(X\x01\x00\x00\x00ah\x01X\x01\x00\x00\x00bh\x01u") + b"q\x01"] * 60
        ),
        "steps",
    ),
    "a list of itself": (b"]q\x00h\x00a", "contains itself"),
    "a table of itself": (b"}q\x00" + value("a") + b"h\x00s", "contains itself"),
    "options of themselves": (
        name("argparse", "Namespace") + b")\x81q\x00}" + value("a") + b"h\x00sb",
        "contains itself",
    ),
    "marks without end": (b"(" * 100_000, "1000 deep"),
    "lists without end": (b"]" * 5000 + b"a" * 4999, "100 deep"),
    "steps without end": (b"N0" * 1_500_000, "steps to read"),
    "sets without end": (b"(" + b"\x8f" * 2_500_000 + b"t", "steps to read"),
    "a set copied again and again": (
        value(list(range(5000)))
        + b"q\x000("
        + (name("builtins", "set") + b"h\x00\x85R") * 3000
        + b"t",
        "steps to read",
    ),
    "a text copied again and again": (
        value("x" * 100_000)
        + b"q\x010"
        + value("latin1")
        + b"q\x020"
        + b"("
        + (name("_codecs", "encode") + b"h\x01h\x02\x86R") * 3000
        + b"t",
        "64 MiB beside its weights",
    ),
    "a long name": (
        value("x" * 100_000) + b"q\x010" + b"(" + b"h\x01h\x01\x93" + b"t",
        "asks for xxx",
    ),
    "a text of 4 GB": (b"X\xff\xff\xff\xffabc", "ends in the middle"),
    "a text of 2⁶³ bytes": (b"\x8d" + b"\xff" * 8, "ends in the middle"),
    "bytes of 2⁶² bytes": (b"\x8e" + struct.pack("<Q", 1 << 62), "ends in the middle"),
    "bytes of negative size": (b"T" + struct.pack("<i", -5), "ends in the middle"),
    "a whole number of 2 GB": (b"\x8b\xff\xff\xff\x7f", "whole number of"),
    "a frame beyond the end": (b"\x95" + b"\xff" * 8, "ends in the middle"),
    "an end in the middle": (b"X\x05\x00", "ends in the middle"),
    "codecs of another kind": (call("_codecs", "encode", "x", "idna"), "encodes something"),
    "an array of objects": (call("numpy", "dtype", "O8", False, True), "array of the type O8"),
    "an array of text": (call("numpy", "dtype", "U2000000000", False, True), "array of the type"),
    "an array of records": (
        FLOAT4 + value((3, "|", None, ("a",), {}, -1, -1, 0)) + b"b",
        "not of plain numbers",
    ),
    "an array larger than its bytes": (
        EMPTY_ARRAY
        + b"("
        + value(1)
        + value((1 << 30,))
        + FLOAT4
        + value(False)
        + value(b"1234")
        + b"tb",
        "in 4 bytes",
    ),
    "an array of nothing, times everything": (
        EMPTY_ARRAY
        + b"("
        + value(1)
        + value((0, 1 << 40, 1 << 40))
        + FLOAT4
        + value(False)
        + value(b"")
        + b"tb",
        "an array of 0 numbers",
    ),
    "an array of negative size": (
        EMPTY_ARRAY
        + b"("
        + value(1)
        + value((-1,))
        + FLOAT4
        + value(False)
        + value(b"1234")
        + b"tb",
        "as the size of an array",
    ),
    "an array of a list": (
        EMPTY_ARRAY + b"(" + value(1) + value((1,)) + FLOAT4 + value(False) + value([1]) + b"tb",
        "not of plain numbers",
    ),
    "an array that is never filled": (EMPTY_ARRAY, "does not hold"),
    "TensorFlow networks": (name("dnnlib.tflib.network", "Network") + b")\x81", "legacy.py"),
    "a persistent object of tomorrow": (call(*PERSISTENT, META | {"version": 7}), "of version 7"),
    "a persistent function": (call(*PERSISTENT, META | {"type": "func"}), "unknown form"),
    "a persistent object without state": (
        call(*PERSISTENT, META | {"state": None}),
        "unknown form",
    ),
    "a network with a list for weights": (module(_parameters=value([1])), "no table"),
    "a network of plain numbers": (module(_parameters=value({"w": 1})), "as the tensor w"),
    "a network with a dotted name": (module(_modules=value({"a.b": 1})), "names a part"),
    "a network in itself": (
        name("torch.nn.modules.container", "Sequential")
        + b")\x81q\x00}"
        + value("_modules")
        + b"}"
        + value("a")
        + b"h\x00ssb",
        "deep",
    ),
    "a name alone": (name("collections", "OrderedDict"), "where plain values belong"),
    "a name with line breaks": (value("os\n\x1b[31m") + value("x" * 5000) + b"\x93", r"os\n\x1b"),
    "a tensor of no storage": (
        call("torch._utils", "_rebuild_tensor_v2", 1, 0, (), ()),
        "wrong form",
    ),
    "a parameter of a text": (
        call("torch._utils", "_rebuild_parameter", "x", True),
        "a parameter of x",
    ),
    "a sparse tensor": (call("torch._utils", "_rebuild_sparse_tensor", 1), "asks for"),
    "a tensor subclass by any function": (
        call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            Raw(name("collections", "OrderedDict")),
            Raw(name("torch", "Tensor")),
            (),
            {},
        ),
        "tensor of a class",
    ),
}


def inline(data: bytes) -> Raw:
    return Raw(call(*LOAD, data))


def with_entry(label: str, **attributes: int) -> bytes:
    """An archive with one more entry, whose fields are set by hand."""
    path = Path("made.zip")
    path.write_bytes(archive(program(tensor())))
    info = zipfile.ZipInfo(label)
    for key, number in attributes.items():
        setattr(info, key, number)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as out:
        warnings.simplefilter("ignore")  # of a name given twice
        out.writestr(info, b"x" * 20)
    return path.read_bytes()


def nested_entry() -> bytes:
    """A file of an archive that lies inside another one."""
    inner = archive(program(tensor()), {"data/0": bytes(16)})
    start = inner.index(b"PK\x03\x04", 4)
    hidden = inner[start : inner.index(b"PK\x01\x02")]
    outer = archive(program(tensor()), {"data/1": hidden, "data/0": bytes(16)})
    return patched(outer, "archive/data/0", 42, struct.pack("<I", outer.index(hidden)))


def entry(
    dtype: str | list[str] = "F32",
    shape: tuple[int | str, ...] = (2,),
    data_offsets: tuple[int, int] = (0, 8),
    **more: Any,
) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(data_offsets)} | more


GOOD = archive(program(tensor()))
BIG = 1 << 39
TRUTHS = flat(
    program(storage(count=1 << 20, kind="BoolStorage")),
    ["0"],
    struct.pack("<q", 1 << 20) + bytes(1 << 20),
)

# name → (contents, what the message must say)
FILES: dict[str, tuple[Callable[[], bytes] | bytes, str]] = {
    # Storages and tensors.
    "a gigantic tensor": (archive(program(tensor((BIG,), (1,)))), "in a storage of 4"),
    "a gigantic storage": (
        archive(program(tensor(held=storage(count=BIG)))),
        "declares a storage of",
    ),
    "a storage of 2¹⁰⁰ numbers": (
        archive(program(tensor(held=storage(count=1 << 100)))),
        "size of a storage",
    ),
    "a storage of negative size": (
        archive(program(tensor(held=storage(count=-1)))),
        "size of a storage",
    ),
    "a storage of true size": (
        archive(program(tensor(held=storage(count=True)))),
        "size of a storage",
    ),
    "sizes whose product is nothing": (
        archive(program(tensor((0, BIG, BIG), (1, 1, 1)))),
        "any machine",
    ),
    "strides beyond the storage": (archive(program(tensor((2, 2), (3, 1)))), "up to element 4"),
    "an offset beyond the storage": (archive(program(tensor((2,), (1,), 3))), "up to element 4"),
    "a negative offset": (archive(program(tensor((2,), (1,), -2))), "offset of a tensor"),
    "a negative size": (archive(program(tensor((-2, -2), (1, 1)))), "size of a tensor"),
    "a negative stride": (archive(program(tensor((2,), (-1,), 2))), "stride of a tensor"),
    "a stride of 0": (archive(program(tensor((1 << 30,), (0,)))), "in a storage of 4"),
    "a size that is a text": (archive(program(tensor(("2",), (1,)))), "size of a tensor"),
    "sizes without strides": (archive(program(tensor((2, 2), (1,)))), "2 sizes and 1 strides"),
    "a thousand dimensions": (archive(program(tensor((1,) * 1000, (1,) * 1000))), "1000 sizes"),
    "many views of one storage": (
        archive(
            program(b"(", *([tensor((1024,), (1,), held=storage(count=1024))] * 3000), b"t"),
            {"data/0": bytes(4096)},
        ),
        "many times its own size",
    ),
    "truth values searched again and again": (
        program(
            name(*LOAD) + b"q\x000B",
            struct.pack("<I", len(TRUTHS)) + TRUTHS + b"\x85q\x010(",
            *([tensor((1,), (1,), held=b"h\x00h\x01R")] * 3000),
            b"t",
        ),
        "many times its own size",
    ),
    "truth values of 2": (
        archive(program(tensor(held=storage(kind="BoolStorage"))), {"data/0": b"\1\2\1\0"}),
        "truth values",
    ),
    "an inline storage in an archive": (
        archive(program(inline(inline_storage()))),
        "where none can be",
    ),
    "an inline tensor beyond its storage": (
        program(tensor((9,), (1,), held=inline(inline_storage()))),
        "up to element 8",
    ),
    "an inline storage cut short": (
        program(tensor(held=inline(inline_storage(held=2)))),
        "where there are 8 bytes",
    ),
    "an inline storage of two sizes": (
        program(
            tensor(held=inline(flat(program(storage()), ["0"], struct.pack("<q", 9) + bytes(16))))
        ),
        "in two sizes",
    ),
    "an inline storage that is a call": (
        program(inline(flat(program(call("os", "system", SHELL))))),
        "asks for os.system",
    ),
    "an inline storage in an inline storage": (
        program(inline(flat(program(inline(inline_storage()))))),
        "where none can be",
    ),
    "an inline storage that is a table": (
        program(inline(flat(program(b"}")))),
        "other than a storage",
    ),
    # Persistent ids.
    "a persistent id that is a text": (
        archive(program(value("storage") + b"Q")),
        "other than a storage",
    ),
    "a persistent id that is a call": (
        archive(program(call("os", "system", SHELL), b"Q")),
        "os.system",
    ),
    "a persistent id of a module": (
        archive(
            program(b"(" + value("module") + name("builtins", "object") + value(CODE) * 2 + b"tQ")
        ),
        "network with its source",
    ),
    "a persistent id that is short": (
        archive(program(value(("storage", 1)) + b"Q")),
        "unknown form",
    ),
    "a persistent id of a text type": (
        archive(program(value(("storage", "FloatStorage", "0", "cpu", 4)) + b"Q")),
        "no known type",
    ),
    "a persistent id in a plain pickle": (program(tensor()), "outside its pickle"),
    "a key that leads out": (archive(program(tensor(held=storage("../data.pkl")))), "no key"),
    "a key that is a number": (archive(program(tensor(held=storage(0)))), "no key"),
    "a storage that is not there": (
        archive(program(tensor(held=storage("7")))),
        "lacks the storage 7",
    ),
    "a part of a storage": (
        flat(program(storage()[:-2] + value((0, 0, 2)) + b"tQ"), ["0"]),
        "part of a storage",
    ),
    # Archives.
    "an archive cut short": (GOOD[:-30], "cut short"),
    "an archive cut to its first header": (GOOD[:40], "cut short"),
    "an archive with bytes behind it": (GOOD + b"x", "cut short or goes on"),
    "an archive without data.pkl": (
        archive(b"").replace(b"data.pkl", b"date.pkl"),
        "torch.save did not write",
    ),
    "an archive of something else": (lambda: with_entry("word/document.xml"), "did not write"),
    "an empty archive": (b"PK\x05\x06" + bytes(18), "empty zip"),
    "a TorchScript program": (archive(program(b"N"), {"code/a.py": CODE.encode()}), "TorchScript"),
    "a name that leads out": (lambda: with_entry("archive/../../evil"), "no place"),
    "an absolute name": (lambda: with_entry("/etc/passwd"), "no place"),
    "a name of Windows": (lambda: with_entry("archive/C:evil"), "no place"),
    "a folder": (lambda: with_entry("archive/folder/"), "no place"),
    "a symbolic link": (
        lambda: with_entry("archive/link", external_attr=0o120777 << 16, create_system=3),
        "link",
    ),
    "a name given twice": (lambda: with_entry("archive/data/0"), "two files named archive/data/0"),
    "a zip bomb": (
        lambda: archive(program(tensor()), {"data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED),
        "compressed",
    ),
    "files in one another": (nested_entry, "inside another"),
    "an encrypted file": (lambda: patched(GOOD, "archive/data/0", 8, b"\1\0"), "encrypted"),
    "a compressed file of false size": (
        lambda: patched(GOOD, "archive/data/0", 20, struct.pack("<2I", 16, 1 << 30)),
        "compressed",
    ),
    "a file of false size": (
        lambda: patched(GOOD, "archive/data/0", 20, struct.pack("<2I", 1 << 30, 1 << 30)),
        "in two ways",
    ),
    "a file of false size, said to follow": (
        lambda: patched(
            saved({"w": torch.ones(4)}), "archive/data/0", 20, struct.pack("<2I", 1 << 30, 1 << 30)
        ),
        "where there are",
    ),
    "a file elsewhere": (
        lambda: patched(GOOD, "archive/data/0", 42, struct.pack("<I", 3)),
        "inside another",
    ),
    "a file beyond the end": (
        lambda: patched(GOOD, "archive/data/0", 42, struct.pack("<I", 1 << 30)),
        "no file where",
    ),
    "a wide offset that is not there": (
        lambda: patched(GOOD, "archive/data/0", 42, b"\xff" * 4),
        "damaged directory",
    ),
    "a directory of false length": (GOOD[:-12] + b"\xff\xff\xff\x7f" + GOOD[-8:], "cut short"),
    "more files than there are": (GOOD[:-14] + b"\x09\0\x09\0" + GOOD[-10:], "damaged directory"),
    "fewer files than there are": (GOOD[:-14] + b"\1\0\1\0" + GOOD[-10:], "damaged directory"),
    "numbers of a big-endian machine": (
        archive(program(tensor()), {"data/0": bytes(16), "byteorder": b"big"}),
        "byte order",
    ),
    "a pickle that goes on": (archive(program(b"N") + program(b"N")), "goes on after"),
    # Flat files.
    "a flat file of a big-endian machine": (
        flat(b"").replace(b"little_endian\x94\x88", b"").replace(b"\x88", b"\x89"),
        "byte order",
    ),
    "a flat file without storages": (flat(program(tensor()), ["0"]), "before its storages"),
    "a flat file of other storages": (flat(program(tensor()), ["1"]), "other storages"),
    "a flat file of storages twice": (flat(program(tensor()), ["0", "0"]), "other storages"),
    "a flat file with bytes behind it": (flat(program(b"N")) + b"x", "goes on after"),
    "a flat file of negative storages": (
        flat(program(tensor()), ["0"], struct.pack("<q", -4) + bytes(16)),
        "in two sizes",
    ),
    "a flat file cut short": (
        # By one byte: which storage comes last is chance, and the smallest has four.
        saved(rosinality(), _use_new_zipfile_serialization=False)[:-1],
        "storage of",
    ),
    "a plain pickle that goes on": (program(b"N") * 2, "goes on after"),
    "a plain pickle cut short": (nvidia_pickle()[:-2000], "ends in the middle"),
    # Safetensors.
    "tensors that overlap": (
        safetensors({"a": entry(), "b": entry(data_offsets=(4, 12))}, bytes(12)),
        "shares bytes",
    ),
    "tensors at one place": (safetensors({"a": entry(), "b": entry()}, bytes(8)), "shares bytes"),
    "a gap between tensors": (
        safetensors({"a": entry(), "b": entry(data_offsets=(12, 20))}, bytes(20)),
        "gap",
    ),
    "bytes of no tensor": (safetensors({"a": entry()}, bytes(9)), "belong to no tensor"),
    "a tensor outside": (
        safetensors({"a": entry(data_offsets=(4, 12))}, bytes(8)),
        "outside its 8 bytes",
    ),
    "offsets that run backwards": (
        safetensors({"a": entry(data_offsets=(8, 0))}, bytes(8)),
        "outside",
    ),
    "negative offsets": (safetensors({"a": entry(data_offsets=(-8, 0))}, bytes(8)), "no sizes"),
    "offsets of another length": (
        safetensors({"a": entry(shape=(3,))}, bytes(8)),
        "3 elements in 8 bytes",
    ),
    "sizes that overflow": (
        safetensors({"a": entry(shape=(BIG, BIG, 0), data_offsets=(0, 0))}),
        "any machine",
    ),
    "sizes of text": (safetensors({"a": entry(shape=("2",))}, bytes(8)), "no sizes"),
    "sizes of truth": (safetensors({"a": entry(shape=(True,))}, bytes(8)), "no sizes"),
    "an unknown type": (safetensors({"a": entry(dtype="F4")}, bytes(8)), "of the type F4"),
    "a type that is a list": (
        safetensors({"a": entry(dtype=["F32"])}, bytes(8)),
        "of the type a list",
    ),
    "more keys than known": (safetensors({"a": entry(code=CODE)}, bytes(8)), "unknown form"),
    "metadata that are numbers": (safetensors({"__metadata__": {"a": 1}}), "metadata"),
    "a huge header": (struct.pack("<Q", 1 << 39) + b"{}", "header of 549755813888 bytes"),
    "a header beyond the end": (struct.pack("<Q", 1 << 20) + b"{}", "header of 1048576 bytes"),
    "bad JSON": (safetensors(b'{"a": '), "not JSON"),
    "JSON without end": (safetensors(b'{"a":' + b"[" * 50_000), "not JSON"),
    "JSON of a million lists": (
        safetensors(b'{"a":[' + b"[]," * 1_000_000 + b"[]]}"),
        "too many parts",
    ),
    "JSON of a long number": (safetensors(b'{"a":' + b"9" * 100_000 + b"}"), "not JSON"),
    "JSON that is not UTF-8": (safetensors(b'{"\xff": 1}'), "not JSON"),
    "a name of safetensors given twice": (
        safetensors(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            b"ab",
        ),
        "twice",
    ),
    "truth values of safetensors of 2": (
        safetensors({"a": entry(dtype="BOOL", data_offsets=(0, 2))}, b"\1\2"),
        "truth values",
    ),
    # Other files.
    "an empty file": (b"", "is empty"),
    "a video": (b"\0\0\0\x20ftypisom" + bytes(100), "a video"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
    "an array of numpy's": (b"\x93NUMPY\1\0" + bytes(100), "an array of numpy's"),
    "a web page": (b"<!DOCTYPE html><html>quota exceeded", "web page"),
    "a tar archive": (bytes(257) + b"ustar" + bytes(300), "tar archive"),
    "a compressed file": (b"\x1f\x8b\x08" + bytes(50), "unpacked first"),
    "a pointer of git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
    "random bytes": (random.Random(3).randbytes(5000), "no known format"),
    "one byte": (b"\x80", "no known format"),
    "a text pickle": (b"cos\nsystem\n(S'mkdir executed'\ntR.", "no known format"),
}


WRAPPERS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "zip": archive, "flat": flat}
SLOW = ("without end", "again and again", "of networks")


def wrapped() -> list[tuple[str, str]]:
    """Every program in every kind of file; those that take a second in one kind only."""
    slow = {label for label in PROGRAMS if label.endswith(SLOW)}
    return [(p, how) for p in PROGRAMS for how in WRAPPERS if how == "plain" or p not in slow]


def contents() -> list[bytes]:
    """Every hostile file."""
    files = [WRAPPERS[how](program(PROGRAMS[label][0])) for label, how in wrapped()]
    return files + [made if isinstance(made, bytes) else made() for made, _ in FILES.values()]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def assert_refused(path: Path, says: str = "") -> None:
    with pytest.raises(CheckpointUnreadable) as error:
        read_checkpoint(path)
    message = str(error.value)
    assert message.startswith(f"{path} ") and says in message
    assert message.isprintable() and "; " in message and len(message) - len(str(path)) < 250
    assert not Path(CANARY).exists()


@pytest.mark.parametrize(("label", "how"), wrapped())
def test_hostile_programs(tmp_path: Path, label: str, how: str) -> None:
    steps, says = PROGRAMS[label]
    path = tmp_path / "hostile.pt"
    path.write_bytes(WRAPPERS[how](program(steps)))
    started = time.process_time()
    assert_refused(path, says)
    assert time.process_time() - started < 20


@pytest.mark.parametrize("label", FILES)
def test_hostile_files(tmp_path: Path, label: str) -> None:
    made, says = FILES[label]
    path = tmp_path / "hostile.pt"
    path.write_bytes(made if isinstance(made, bytes) else made())
    assert_refused(path, says)


def test_there_are_many() -> None:
    assert len(PROGRAMS) + len(FILES) > 150


@pytest.mark.parametrize("label", ["eval", "exec", "eval of Python 2"])
def test_the_canary_sings_where_code_is_run(label: str) -> None:
    """The language's own unpickler does what the files ask."""
    pickle.loads(program(PROGRAMS[label][0]))
    assert Path(CANARY).is_dir()


class TestPlaces:
    def test_nothing_there(self, tmp_path: Path) -> None:
        assert_refused(tmp_path / "absent.pt", "cannot be read")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert_refused(tmp_path, "is a folder")

    def test_a_named_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert_refused(tmp_path / "pipe", "not a regular file")

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(CheckpointUnreadable, match="no name of a file"):
            read_checkpoint("a\0b")

    def test_a_name_with_line_breaks(self, tmp_path: Path) -> None:
        path = tmp_path / "a\nb.pt"
        path.write_bytes(b"")
        with pytest.raises(CheckpointUnreadable, match=r"a\\nb\.pt' is empty") as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)


READ_ALL = """
import resource, sys
from pathlib import Path
import torch
from vidhair.checkpoints.third_party import read_checkpoint
from vidhair.errors import CheckpointUnreadable

good, *paths = sorted(Path("files").iterdir())
read_checkpoint(good)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20),) * 2)
for path in paths:
    try:
        read_checkpoint(path)
    except CheckpointUnreadable:
        continue
    sys.exit(f"{path} was read")
print(len(paths))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space")
def test_no_file_fills_the_memory_or_runs_code(tmp_path: Path) -> None:
    """All of them in one process that may take 700 MiB more than it has."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "0").write_bytes(saved(psp()))
    files = contents()
    for number, data in enumerate(files):
        (folder / f"1-{number:04d}").write_bytes(data)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(files)
    assert not Path(CANARY).exists()


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """The data with a few faults of one kind."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(out))
        kind = chance.randrange(6)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice(b"\x00\x01\x7f\x80\xff.(tRbcQ)}]\x81\x85\x93")
        elif kind == 2:
            out[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2**31, 2**32 - 1)))
        elif kind == 3:
            del out[at : at + chance.choice((1, 4, 50))]
        elif kind == 4:
            start = chance.randrange(len(other))
            out[at:at] = other[start : start + chance.choice((1, 8, 60))]
        else:
            del out[max(at, 1) :]
        out = out or bytearray(b"\0")
    return bytes(out)


def test_faults_anywhere_end_in_an_error_of_ours(tmp_path: Path) -> None:
    """Bytes changed at random: a file is read, or refused by name."""
    small = {"w": torch.ones(3, 2), "opts": {"a": [1, 2.5, "x"]}}
    whole = [
        nvidia_pickle(2),
        nvidia_pickle(4),
        saved(psp()),
        saved(small),
        saved(small, _use_new_zipfile_serialization=False),
        save(generator_tensors()),
        save({"w": torch.ones(2)}),
    ]
    programs = [PIECES] * 20 + [
        program(steps) for steps, _ in PROGRAMS.values() if len(steps) < 999
    ]
    chance, path = random.Random(7), tmp_path / "fuzzed"
    end = time.monotonic() + 4
    read = refused = 0
    while time.monotonic() < end and read + refused < 10_000:
        data = chance.choice(whole)
        if chance.random() < 0.4:  # a fault in the program alone, in a sound file
            steps = mutated(chance.choice(programs), chance.choice(programs), chance)
            data = chance.choice((bytes, archive, flat))(steps)
        else:
            data = mutated(data, chance.choice(whole), chance)
        path.unlink(missing_ok=True)  # the one before may still be mapped
        path.write_bytes(data)
        try:
            read_checkpoint(path)
            read += 1
        except VidhairError as error:
            assert str(path) in str(error)
            refused += 1
    assert read > 10 and refused > 100
    assert not Path(CANARY).exists()


PIECES = program(
    b"}(",
    value("weights") + tensor(),
    value("half") + tensor((2,), (2,), 1, storage(count=8, kind="HalfStorage")),
    value("opts") + name("argparse", "Namespace") + b")\x81" + value({"a": [1, (2, "x")]}) + b"b",
    value("array") + call("numpy.core.multiarray", "scalar", FLOAT4, b"1234"),
    value("network") + module(_parameters=b"}" + value("w") + tensor() + b"s"),
    b"u",
)
