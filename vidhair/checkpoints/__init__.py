"""Weights as tensors only, never code: packs, manifests, name maps, foreign files."""
