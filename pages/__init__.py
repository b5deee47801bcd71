"""Pages of the documentation that are made from `registry/`; a test holds them to it."""
