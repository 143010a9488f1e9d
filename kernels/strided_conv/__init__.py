"""Convolutions for CPUs that halve or double the size."""
