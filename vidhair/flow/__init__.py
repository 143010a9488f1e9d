"""The runner: which stages run, on which frames, with what from the cache."""
