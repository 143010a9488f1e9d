"""The networks: generators, encoders, parsers, landmarks."""
