"""Fused filtered leaky ReLU, for CPUs and GPUs."""
