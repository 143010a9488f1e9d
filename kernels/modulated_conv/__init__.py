"""Modulated convolution for CPUs."""
