"""Convolutions that halve or double the size, for CPUs."""
