"""One small function per kind of case."""

from tests.golden.adapters import align, encoders, ops, parsers, smooth, stylegan3

__all__ = ["align", "encoders", "ops", "parsers", "smooth", "stylegan3"]
