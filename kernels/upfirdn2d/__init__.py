"""Upsample, filter, downsample for GPUs."""
