"""One small function per kind of case."""

from tests.golden.adapters import align, ops, smooth, stylegan2, stylegan3, styleganex

__all__ = ["align", "ops", "smooth", "stylegan2", "stylegan3", "styleganex"]
