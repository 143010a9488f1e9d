"""Modulated convolution, for CPUs and GPUs."""
