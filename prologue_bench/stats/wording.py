"""Differences in words."""

from __future__ import annotations

import math

from prologue_bench.stats.differences import Cell, Difference
from prologue_bench.texts.numbers import plus_minus, signed, to_digits


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


def interval_text(found: Difference) -> str:
    """From where to where the interval of a difference is, such as "−118 to +74"."""
    assert found.half_width is not None, "only what has an interval is asked for it"
    ends = (found.mean - found.half_width, found.mean + found.half_width)
    return " to ".join(
        f"{'−' if end < 0 else '+'}{to_digits(abs(end), found.half_width)}" for end in ends
    )


def share_text(difference: float, reference: float) -> str:
    """A difference as a share of the reference, such as "−6.1%"; empty where there is none."""
    share = 100 * difference / abs(reference) if reference else math.nan
    return f"{signed(share, 2)}%" if math.isfinite(share) else ""


def fewer_seeds(cell: Cell, most: int) -> str:
    """Over how many training seeds a mean is, where others are over more; else empty."""
    if cell.same_everywhere or cell.seeds >= most:
        return ""
    return f"{cell.seeds} seed{'s' * (cell.seeds > 1)}"
