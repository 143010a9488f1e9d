"""vidhair edits the hair and the head of a person in a video.

    import vidhair
    vidhair.edit_video("talk.mp4", "hair_color", "talk-red.mp4", settings={"edit.color": "red"})

Names load on first use, so importing vidhair is quick.
"""

import importlib
import os
from typing import Any

# Large tensors in large pages, read by torch at its first tensor. Feature maps of 100 MB and more
# come and go with every layer, and the kernel clears each page at its first touch: in small pages
# that takes four times as long as a product of two tensors itself.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads that wait for others sleep, read when OpenMP is loaded. Where they turn in circles, a step
# of tuning beside one other busy program took two to ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_HOMES = {
    "edit_video": "vidhair.flow.edit_video",
    "Result": "vidhair.flow.edit_video",
    "load_recipe": "vidhair.recipe",
    "load_pack": "vidhair.models.pack",
}
_ERRORS = (
    "CacheUnusable", "DeviceUnavailable", "DiskFull", "EncodingFailed", "InvalidSetting",
    "NoFaceFound", "NoFrames", "NotAVideo", "OutputNotWritable", "PackDamaged", "PackNotFound",
    "SourceNotFound", "UnknownRecipe", "VidhairError",
)  # fmt: skip
_HOMES |= dict.fromkeys(_ERRORS, "vidhair.errors")

__version__ = "0.1.0"
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vidhair' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
