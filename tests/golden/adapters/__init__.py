"""One small function per kind of case."""

from tests.golden.adapters import align, edits, ops, smooth, stylegan2, stylegan3, styleganex

__all__ = ["align", "edits", "ops", "smooth", "stylegan2", "stylegan3", "styleganex"]
