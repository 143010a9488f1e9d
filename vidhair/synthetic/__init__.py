"""The rendered-face world and its ground truth."""
