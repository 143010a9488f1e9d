"""vidhair edits the hair and the head of a person in a video.

    import vidhair
    vidhair.edit_video("talk.mp4", "hair_color", "talk-red.mp4", settings={"edit.color": "red"})

Names load on first use, so importing vidhair is quick, and it changes nothing in the process;
`vidhair.prepare_process()` asks for faster memory and threads, as the command line does.
"""

import importlib
from typing import Any

_HOMES = {
    "edit_video": "vidhair.flow.edit_video",
    "Result": "vidhair.flow.edit_video",
    "Means": "vidhair.flow.runner",
    "load_recipe": "vidhair.recipe",
    "load_pack": "vidhair.models.pack",
    "prepare_process": "vidhair.process",
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
