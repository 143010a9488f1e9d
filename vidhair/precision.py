"""Which number formats a device multiplies natively."""

import platform

import torch

# Compute capabilities whose tensor cores take the format (Volta, Ampere).
_CAPABILITY = {torch.float16: (7, 0), torch.bfloat16: (8, 0)}


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
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    from vidhair.kernels.simd import HAS_PAIRS

    return HAS_PAIRS
