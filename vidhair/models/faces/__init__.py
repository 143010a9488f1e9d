"""Where faces are, and whose they are."""
