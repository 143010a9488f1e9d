"""The networks, and the packs that hold their weights."""
