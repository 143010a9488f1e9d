"""Weight files as others write them, small; and the pieces that hostile ones are made of."""

import argparse
import contextlib
import io
import json
import pickle
import pickletools
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class EasyDict(dict[str, Any]):
    """As in NVIDIA's dnnlib.util."""

    __module__ = "dnnlib.util"


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError("the reader called a function of the file")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


@contextlib.contextmanager
def nvidia_modules() -> Iterator[None]:
    """Importable under NVIDIA's names while a pickle is written."""
    modules = {n: types.ModuleType(n) for n in ("torch_utils", "torch_utils.persistence")}
    modules |= {n: types.ModuleType(n) for n in ("dnnlib", "dnnlib.util")}
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    modules["dnnlib.util"].EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


class Persistent(torch.nn.Module):
    """A module that pickles with the source of its class, as NVIDIA's decorator makes it."""

    class_name = "Layer"
    source = "raise RuntimeError('the source in the pickle was executed')"
    version = 6

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._init_args = args
        self._init_kwargs = kwargs
        self.size = np.broadcast_to(np.asarray(4), [2])
        self.bandwidth = np.float64(0.5)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[str, Any]], None]:
        meta = {
            "type": "class",
            "version": self.version,
            "module_src": self.source,
            "class_name": self.class_name,
            "state": super().__reduce__()[2],
        }
        return _reconstruct_persistent_obj, (meta,), None


def network(class_name: str, tensors: Mapping[str, Tensor], **kwargs: Any) -> Persistent:
    """A persistent network with these tensors; names with `avg` in them are buffers."""
    root = Persistent(**kwargs)
    root.class_name = class_name
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module: torch.nn.Module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, Persistent(part, w_dim=8))
            module = module._modules[part]  # type: ignore[assignment]
        if "avg" in last:
            module.register_buffer(last, tensor)
        else:
            module.register_parameter(last, torch.nn.Parameter(tensor, requires_grad=False))
    return root


def generator_tensors(seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        "mapping.fc0.weight": torch.randn(8, 8, generator=g),
        "mapping.fc0.bias": torch.randn(8, generator=g),
        "mapping.w_avg": torch.randn(8, generator=g),
        "synthesis.input.freqs": torch.randn(4, 2, generator=g),
        "synthesis.L0_36_16.weight": torch.randn(4, 4, 3, 3, generator=g),
        "synthesis.L0_36_16.magnitude_avg": torch.tensor(1.5),
        "synthesis.L1_36_16.weight": torch.randn(4, 4, 1, 1, generator=g).half(),
    }


def nvidia_pickle(protocol: int = 4, source: str | None = None) -> bytes:
    """The layout of StyleGAN2-ADA's and StyleGAN3's releases."""
    old = Persistent.source
    Persistent.source = source or old
    try:
        with nvidia_modules():
            kwargs: dict[str, Any] = {
                "z_dim": 8,
                "img_resolution": 16,
                "mapping_kwargs": EasyDict(num_layers=1),
            }
            value = {
                "training_set_kwargs": EasyDict(path="ffhq.zip", use_labels=False),
                "G": network("Generator", generator_tensors(1), **kwargs),
                "D": network("Discriminator", {"b4.fc.weight": torch.ones(2, 2)}, c_dim=0),
                "G_ema": network("Generator", generator_tensors(), **kwargs),
                "augment_pipe": None,
            }
            return pickle.dumps(value, protocol)
    finally:
        Persistent.source = old


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def rosinality() -> dict[str, Any]:
    return {"g_ema": OrderedDict(generator_tensors()), "latent_avg": torch.arange(8.0)}


def psp() -> dict[str, Any]:
    weights = {f"decoder.{name}": tensor for name, tensor in generator_tensors().items()}
    opts = argparse.Namespace(device="cuda:0", lpips_lambda=0.8, output_size=1024, label_nc=0)
    return {"state_dict": OrderedDict(weights), "latent_avg": torch.ones(18, 8), "opts": opts}


# Pieces of pickle programs.


def program(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def value(thing: Any) -> bytes:
    """The instructions that push a plain value."""
    return pickletools.optimize(pickle.dumps(thing, 2))[2:-1]  # without touching the memo


def name(module: str, label: str) -> bytes:
    return f"c{module}\n{label}\n".encode()


def call(module: str, label: str, *arguments: Any) -> bytes:
    parts = [a if isinstance(a, Raw) else value(a) for a in arguments]
    return name(module, label) + b"(" + b"".join(parts) + b"tR"


class Raw(bytes):
    """Instructions, where otherwise a value is expected."""


def storage(key: Any = "0", count: Any = 4, kind: str = "FloatStorage") -> Raw:
    parts = value("storage"), name("torch", kind), value(key), value("cpu"), value(count)
    return Raw(b"(" + b"".join(parts) + b"tQ")


def tensor(
    sizes: Any = (2, 2), strides: Any = (2, 1), offset: Any = 0, held: bytes | None = None
) -> Raw:
    hooks = Raw(name("collections", "OrderedDict") + b")R")
    source = Raw(held if held is not None else storage())
    parts = source, offset, sizes, strides, False, hooks
    return Raw(call("torch._utils", "_rebuild_tensor_v2", *parts))


def archive(
    pickled: bytes, records: Mapping[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> bytes:
    """A zip file as torch.save lays it out."""
    file = io.BytesIO()
    records = {"data/0": bytes(16), "version": b"3\n"} if records is None else records
    with zipfile.ZipFile(file, "w", method) as out:
        out.writestr("archive/data.pkl", pickled)
        for label, data in records.items():
            out.writestr(f"archive/{label}", data)
    return file.getvalue()


def flat(pickled: bytes, keys: list[str] | None = None, storages: bytes = b"") -> bytes:
    """A file as torch.save wrote it before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, system))
    return head + pickled + pickle.dumps(keys or [], 2) + storages


def inline_storage(count: int = 4, held: int = 4, kind: str = "FloatStorage") -> bytes:
    """A storage as it lies in a plain pickle: a file of its own."""
    return flat(
        program(storage("0", count, kind)), ["0"], struct.pack("<q", count) + bytes(4 * held)
    )


def safetensors(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def patched(data: bytes, label: str, at: int, new: bytes) -> bytes:
    """An archive with bytes of an entry of its directory replaced."""
    start = data.rindex(label.encode()) - 46
    assert data[start : start + 4] == b"PK\x01\x02"
    return data[: start + at] + new + data[start + at + len(new) :]
