"""What encoders and parsers are built on."""
