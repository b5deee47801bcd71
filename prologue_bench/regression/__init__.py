"""Results against a baseline, and the gate."""
