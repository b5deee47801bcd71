"""Results as a frame, and the report made from it."""
