"""Bias, activation, gain and clamp in one pass, for GPUs."""
