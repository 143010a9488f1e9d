"""What this installation has: versions, devices, kernels, packs, tools."""

import importlib.metadata
import platform
import sys

import torch

from vidhair import __version__
from vidhair.cache import DiskStore
from vidhair.checkpoints.packs import bundled_folder, open_pack, user_folder
from vidhair.errors import VidhairError
from vidhair.flow.edit_video import default_cache
from vidhair.media import ffmpeg_path
from vidhair.models.parsers.hair_segmenter import find_segmenter
from vidhair.precision import USES, resolve

PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "numba", "av", "mediapipe",
    "opencv-contrib-python", "lpips", "safetensors", "pillow",
)  # fmt: skip
# Not needed, and without wheels for some machines.
OPTIONAL = ("decord",)


def report() -> tuple[str, bool]:
    """(text, whether everything needed works)."""
    lines, healthy = [f"vidhair {__version__}, Python {platform.python_version()}"], True
    lines.append(f"platform    {platform.platform()}")
    lines.append(f"packages    {_packages()}")

    lines += ["", "devices"]
    lines.append(f"  cpu       {torch.get_num_threads()} threads, used by default without a GPU")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = properties.total_memory / 2**30
            lines.append(f"  cuda:{index}    {properties.name}, {memory:.0f} GiB")
    else:
        lines.append("  cuda      none usable")

    lines += ["", "precision (what auto means)"]
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    for device in devices:
        for use in USES:
            decided = resolve("auto", device, use)
            lines.append(f"  {device:<9} {use:<7} {decided.name}: {decided.why}")

    lines += ["", "kernels (for layers of StyleGAN3 in float32)"]
    lines += [f"  {line}" for line in _kernels()]

    lines += ["", "packs"]
    folders = sorted(
        p.parent
        for base in (bundled_folder(), user_folder())
        if base.is_dir()
        for p in base.glob("*/manifest.json")
    )
    for folder in folders:
        try:
            files = open_pack(folder)
            for part in files.parts:
                files.tensors(part)
            lines.append(f"  {files.name:<18} complete: {', '.join(files.parts)}")
        except VidhairError as error:
            healthy = False
            lines.append(f"  {folder.name:<18} {error}")
    if not folders:
        healthy = False
        lines.append("  none; install vidhair again")

    lines += ["", "hair segmenter (what auto means)"]
    try:
        lines.append(f"  {find_segmenter('auto').about}")
    except VidhairError as error:
        healthy = False
        lines.append(f"  {error}")

    lines += ["", "tools"]
    try:
        lines.append(f"  ffmpeg    {ffmpeg_path()}")
    except VidhairError as error:
        healthy = False
        lines.append(f"  ffmpeg    {error}")
    try:
        store = DiskStore(default_cache())
        lines.append(f"  cache     {default_cache()}, {store.size() / 2**20:.0f} MiB")
    except VidhairError as error:
        lines.append(f"  cache     {error}")
    return "\n".join(lines), healthy


def _packages() -> str:
    versions = {p: _version(p) for p in PACKAGES + OPTIONAL}
    return ", ".join(f"{p} {v}" for p, v in versions.items() if p in PACKAGES or v != "missing")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _kernels() -> list[str]:
    from vidhair.ops.bias_act import op as bias_act
    from vidhair.ops.downsampling_conv import op as downsampling_conv
    from vidhair.ops.filtered_lrelu import op as filtered_lrelu
    from vidhair.ops.modulated_conv import op as modulated_conv
    from vidhair.ops.upfirdn2d import op as upfirdn2d
    from vidhair.ops.upsampling_conv import op as upsampling_conv

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, taps = torch.zeros(1, 32, 8, 8, device=device), torch.ones(12, device=device)
    weight, style = torch.ones(32, 32, 3, 3, device=device), torch.ones(1, 32, device=device)
    layer = {"fu": taps, "up": 2, "down": 2}
    lrelu, conv = filtered_lrelu(), modulated_conv()
    rows = {
        "filtered_lrelu, configuration T": lrelu.explain(x, **layer, fd=taps),
        "filtered_lrelu, configuration R": lrelu.explain(x, **layer, fd=torch.outer(taps, taps)),
        "modulated_conv, 3 × 3": conv.explain(x, weight, style, style, padding=2),
        "modulated_conv, 1 × 1": conv.explain(x, weight[..., :1, :1], style, style),
        "upsampling_conv": upsampling_conv().explain(x, weight, style, style),
        "downsampling_conv": downsampling_conv().explain(x, [weight], [style[0]], slope=1.0),
        "upfirdn2d": upfirdn2d().explain(x, taps),
        "bias_act": bias_act().explain(x, style[0]),
    }
    return [f"{op:<32} {name:<13} {why}" for op, found in rows.items() for name, why in found]


def main() -> int:
    text, healthy = report()
    print(text, file=sys.stdout)
    return 0 if healthy else 1
