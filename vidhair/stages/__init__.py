"""One file per stage of the flow."""
