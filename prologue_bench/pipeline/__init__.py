"""Stages, the planner that orders them, the store that keeps their results, and the executor that runs them."""
