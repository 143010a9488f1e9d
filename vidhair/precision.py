"""Which number format the layers compute in: what a device multiplies natively decides.

A processor without bfloat16 arithmetic still computes in it, by emulation that takes up to two
hundred times as long; float16 has no kernels on CPUs at all. `auto` takes what is fast on the
device and accurate enough for the use.
"""

import platform
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from vidhair.errors import InvalidSetting

Use = Literal["render", "tune", "probe", "train"]
USES: tuple[Use, ...] = get_args(Use)
CHOICES = ("auto", "float32", "bfloat16", "float16")
WITHOUT_FLOAT16 = ("auto", "float32", "bfloat16")  # gradients would need their loss scaled

# What `auto` takes for each use, by kind of device, if that is native; else float32.
# Rendering makes the picture: bfloat16 has 8 bits, an error of up to a grey level, and float16 has
# 11. Tuning, training and probing only take a step, or a mean over hundreds of pixels, from it.
_FAST: dict[str, dict[Use, str]] = {
    "cpu": {"tune": "bfloat16", "probe": "bfloat16", "train": "bfloat16"},
    "cuda": {"render": "float16", "tune": "bfloat16", "train": "bfloat16"},
}
# Compute capabilities whose tensor cores take the format (Volta, Ampere).
_CAPABILITY = {torch.float16: (7, 0), torch.bfloat16: (8, 0)}


@dataclass(frozen=True)
class Precision:
    """A decision. name: "float32", "bfloat16" or "float16". why: half a sentence about the device.

    note: what a person should know before it runs, if anything.
    """

    name: str
    why: str
    note: str | None = None

    @property
    def dtype(self) -> torch.dtype:
        result: torch.dtype = getattr(torch, self.name)
        return result


def native(device: str | torch.device, dtype: torch.dtype) -> bool:
    """Whether the device multiplies this format in its own instructions, and vidhair uses them.

    Kernels and libraries that are forced down to an older instruction set (docs/kernels.md) count
    as a processor that has no newer one.
    """
    device = torch.device(device)
    if dtype == torch.float32:
        return True
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _CAPABILITY[dtype]
    return dtype == torch.bfloat16 and _processor_has_bfloat16()


def _processor_has_bfloat16() -> bool:
    # oneDNN's answer: on Arm its instructions, on x86 any AVX-512, which emulates them passably.
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    from vidhair.kernels.simd import HAS_PAIRS  # AVX-512 BF16; processors with AMX have it, too

    return HAS_PAIRS


def resolve(choice: str, device: str | torch.device, use: Use) -> Precision:
    """What a setting means on a device.

    choice: one of CHOICES. Raises InvalidSetting for float16 on a CPU, which has no kernels for it.
    """
    device = torch.device(device)
    what = "processor" if device.type == "cpu" else "GPU"
    if choice == "auto":
        fast = _FAST[device.type].get(use, "float32")
        if fast == "float32":
            exact = "it makes the picture, and bfloat16 would cost up to a grey level"
            return Precision(fast, exact if use == "render" else "it is accurate and fast enough")
        if native(device, getattr(torch, fast)):
            return Precision(fast, f"this {what} multiplies {fast} natively")
        return Precision("float32", f"this {what} has no {fast} arithmetic")
    if choice == "float16" and device.type == "cpu":
        raise InvalidSetting(
            f"{use}.precision = 'float16' is for GPUs, and this run is on a CPU; choose auto"
        )
    if native(device, getattr(torch, choice)):
        return Precision(choice, "as asked for")
    price = "can take two hundred times as long" if device.type == "cpu" else "gains nothing"
    note = (
        f"{use}.precision = {choice!r} is emulated on this {what}, which {price}; "
        "auto takes float32"
    )
    return Precision(choice, "as asked for, by emulation", note)
