"""One small function per kind of case."""

from tests.golden.adapters import (
    align,
    edits,
    encoders,
    hairclipv2,
    ops,
    parsers,
    smooth,
    stylegan2,
    stylegan3,
    styleganex,
)

__all__ = [
    "align",
    "edits",
    "encoders",
    "hairclipv2",
    "ops",
    "parsers",
    "smooth",
    "stylegan2",
    "stylegan3",
    "styleganex",
]
