"""Differences in words."""

from __future__ import annotations

import math

from prologue_bench.stats.differences import Difference
from prologue_bench.texts.numbers import plus_minus, signed


def difference_text(found: Difference) -> str:
    """A difference with what is known of its noise."""
    if math.isnan(found.mean):
        return "not a number"
    if found.identical:
        return "= same values"
    if found.constant:
        return f"{signed(found.mean)} in every seed"
    if found.half_width is None:
        return signed(found.mean)
    return plus_minus(found.mean, found.half_width)
