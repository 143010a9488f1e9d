"""Pictures of any size → pictures."""
