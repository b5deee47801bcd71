"""Intervals, differences and verdicts. Knows numbers only."""
