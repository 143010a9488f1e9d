"""Per-frame results on disk, under readable and complete keys."""
