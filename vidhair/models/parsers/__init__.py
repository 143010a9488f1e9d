"""Pictures → what each pixel shows."""
