"""Sudden rises of a loss, as when a tokenizer's codes break down."""

from __future__ import annotations

from attrs import define

WINDOW = 20
"""Steps of a mean."""
LEAST_RISE = 0.03
"""Of L1, from one mean to the next."""


@define
class Jumps:
    """Counts rises of more than LEAST_RISE between the means of consecutive WINDOWs of steps.

    Its fields are plain numbers, so that a checkpoint can hold them.
    """

    sum: float = 0.0
    steps: int = 0
    """In the window that has begun."""
    mean: float | None = None
    """Of the last whole window."""
    count: int = 0

    def add(self, value: float) -> bool:
        """Take the value of one more step; returns whether a jump ends with it."""
        self.sum += value
        self.steps += 1
        if self.steps < WINDOW:
            return False
        before, self.mean = self.mean, self.sum / WINDOW
        self.sum, self.steps = 0.0, 0
        is_jump = before is not None and self.mean - before > LEAST_RISE
        self.count += is_jump
        return is_jump
