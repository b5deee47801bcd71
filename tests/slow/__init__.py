"""Campaigns: many random tries to break the program. `python -m tests.slow --help`."""
