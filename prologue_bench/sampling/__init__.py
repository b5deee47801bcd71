"""Drawing tokens from a generator."""
