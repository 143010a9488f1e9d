"""What an edit does to the latent codes."""
