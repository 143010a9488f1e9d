"""Training of the bundled pack."""
