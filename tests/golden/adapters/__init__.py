"""One small function per kind of case."""

from tests.golden.adapters import (
    align,
    edits,
    hairclipv2,
    ops,
    smooth,
    stylegan2,
    stylegan3,
    styleganex,
)

__all__ = ["align", "edits", "hairclipv2", "ops", "smooth", "stylegan2", "stylegan3", "styleganex"]
