"""Pictures → codes."""
