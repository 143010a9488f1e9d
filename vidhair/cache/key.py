"""Naming what a result depends on: fingerprints of values, digests of files, keys of stages.

A fingerprint is the SHA-256 of an encoding in which every value carries its type and its length,
so that no two values share one: 1, 1.0, True and "1" differ, and so do [] and (), 0.0 and -0.0,
or the same numbers in two dtypes. All NaN floats are one value. Dicts and sets have no order.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import reprlib
import struct
import sys
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vidhair.errors import CacheUnusable

# Part of every key digest: raised by hand when the encoding changes.
_ENCODING = 1

# Booleans and numbers, but no long double: its padding bytes are arbitrary.
_ARRAY_TYPES = frozenset("?efdFD" + np.typecodes["AllInteger"])


def fingerprint(value: Any) -> str:
    """64 hex digits that stand for a configuration value.

    value: None, bool, int, float, str, bytes, Enum, Fraction, numpy numbers and arrays, torch
    tensors, frozen dataclasses, and tuples, lists, sets and dicts with str keys of these.
    Raises CacheUnusable for everything else; subclasses count as something else.
    """
    return hashlib.sha256(_encode(value, "value")).hexdigest()


def file_fingerprint(path: str | Path) -> str:
    """SHA-256 of a file's content as 64 hex digits; the file is streamed, its name plays no part.

    Raises CacheUnusable if it is not a readable regular file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise CacheUnusable(f"{path} has no fingerprint; name an existing regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CacheUnusable(
            f"{path} has no fingerprint ({error.strerror}); make the file readable"
        ) from error


@dataclasses.dataclass(frozen=True)
class Key:
    """Everything that a stage's result depends on; keys are equal where all of it is equal.

    config: the stage's settings. inputs, weights: name → digest of an upstream key or of a file.
    The mappings are read when the key is made; settings that are changed later do not change it.
    Raises CacheUnusable if a setting has no fingerprint.
    """

    stage: str
    version: int
    config: Mapping[str, Any] = dataclasses.field(compare=False)
    inputs: Mapping[str, str] = dataclasses.field(compare=False)
    weights: Mapping[str, str] = dataclasses.field(compare=False)
    digest: str = dataclasses.field(init=False, repr=False)
    text: str = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,39}", self.stage), self.stage
        assert type(self.version) is int and self.version >= 0, self.version
        for digest in (*self.inputs.values(), *self.weights.values()):
            assert re.fullmatch(r"[0-9a-f]{64}", digest), f"not a digest: {digest!r}"

        parts = {
            "stage": self.stage,
            "version": self.version,
            "config": dict(self.config),
            "inputs": dict(self.inputs),
            "weights": dict(self.weights),
        }
        encoded = _item(
            f"vidhair key {_ENCODING}", *(_encode(part, name) for name, part in parts.items())
        )
        digest = hashlib.sha256(encoded).hexdigest()
        readable = {name: _readable(part) for name, part in parts.items()}
        text = json.dumps({**readable, "digest": digest}, indent=2, sort_keys=True) + "\n"
        for name in ("config", "inputs", "weights"):
            object.__setattr__(self, name, parts[name])
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "text", text)

    @property
    def folder(self) -> str:
        """A short name that is safe in any file system, such as smooth-v1-3fa9c2d81b0e47aa."""
        return f"{self.stage}-v{self.version}-{self.digest[:16]}"


def _item(tag: str, *parts: bytes) -> bytes:
    """One encoded value: the number of its parts, then each part after its length."""
    framed = [struct.pack(">Q", len(part)) + part for part in (tag.encode(), *parts)]
    return struct.pack(">Q", len(framed)) + b"".join(framed)


def _encode(value: Any, where: str) -> bytes:
    kind = type(value)
    if value is None:
        return _item("none")
    if kind is bool or kind is int:
        return _item(kind.__name__, format(value, "x").encode())
    if kind is float:
        return _item("float", struct.pack(">d", math.nan if math.isnan(value) else value))
    if kind is str:
        return _item("str", value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _item("bytes", value)
    if kind is Fraction:
        return _item("fraction", f"{value.numerator:x}/{value.denominator:x}".encode())
    if isinstance(value, Enum):
        parts = _encode(value.name, where), _encode(value.value, f"{where}.value")
        return _item("enum", _type_name(kind), *parts)
    if kind is tuple or kind is list:
        return _item(kind.__name__, *(_encode(v, f"{where}[{i}]") for i, v in enumerate(value)))
    if kind is set or kind is frozenset:
        return _item(kind.__name__, *sorted(_encode(v, f"{where}{{}}") for v in value))
    if kind is dict:
        for key in value:
            if type(key) is not str:
                _refuse(key, f"the dict key in {where}")
        return _item("dict", *_encode_fields(value, where))
    if _is_frozen_dataclass(kind):
        return _item("dataclass", _type_name(kind), *_encode_fields(_fields(value), where))
    if isinstance(value, np.generic) and value.dtype.char in _ARRAY_TYPES:
        return _item("number", value.dtype.str.encode(), value.tobytes())
    if kind in (np.ndarray, np.memmap) and value.dtype.char in _ARRAY_TYPES:
        data = np.asarray(value, order="C").reshape(-1).view(np.uint8).data
        shape = _encode(value.shape, where)
        return _item("array", value.dtype.str.encode(), shape, hashlib.sha256(data).digest())
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            _refuse(value, where)
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        # As bytes, because numpy lacks some of torch's dtypes; a scalar has no axis to view along.
        as_bytes = plain.reshape(-1).view(torch.uint8).numpy()
        digest = hashlib.sha256(as_bytes).digest()
        return _item(
            "tensor", str(plain.dtype).encode(), _encode(tuple(plain.shape), where), digest
        )
    _refuse(value, where)


def _encode_fields(fields: dict[str, Any], where: str) -> list[bytes]:
    return [
        part
        for name in sorted(fields)
        for part in (_encode(name, where), _encode(fields[name], f"{where}.{name}"))
    ]


def _is_frozen_dataclass(kind: type) -> bool:
    # Looked up in the class itself: an undecorated subclass may hold state that is no field.
    return "__dataclass_fields__" in vars(kind) and vars(kind)["__dataclass_params__"].frozen


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _type_name(kind: type) -> bytes:
    return f"{kind.__module__}.{kind.__qualname__}".encode()


def _refuse(value: Any, where: str) -> NoReturn:
    remedy = "use numbers, text, arrays, or tuples, dicts and frozen dataclasses of them"
    if isinstance(value, os.PathLike):
        remedy = "a path is not content: pass file_fingerprint(path)"
    kind = type(value).__name__
    raise CacheUnusable(f"{where} = {reprlib.repr(value)} ({kind}) has no fingerprint; {remedy}")


def _readable(value: Any) -> Any:
    """What JSON shows of a value that has a fingerprint; the digest beside it tells the rest."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is bytes:
        return f"{len(value)} bytes, {fingerprint(value)[:16]}"
    if kind is Fraction:
        return str(value)
    if isinstance(value, Enum):
        return f"{kind.__name__}.{value.name}"
    if kind in (tuple, list):
        return [_readable(v) for v in value]
    if kind in (set, frozenset):
        return [_readable(v) for v in sorted(value, key=lambda v: _encode(v, ""))]
    if kind is dict:
        return {name: _readable(v) for name, v in value.items()}
    if _is_frozen_dataclass(kind):
        return {name: _readable(v) for name, v in _fields(value).items()}
    if isinstance(value, np.generic):
        return f"{value.dtype} {value}"
    return f"{value.dtype}{list(value.shape)}, {fingerprint(value)[:16]}"
