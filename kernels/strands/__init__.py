"""Drawing of hair strands: optical depths in a grid, light on fibres, coverage front to back."""
