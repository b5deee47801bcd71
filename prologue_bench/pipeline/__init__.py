"""Stages, the planner that orders them, the store of their results, and their executor."""
