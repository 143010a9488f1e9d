"""Fused filtered leaky ReLU for CPUs."""
