"""Numbers as reports and tables show them."""

from __future__ import annotations

import math

MOST_DECIMALS = 6
LEAST_WRITTEN_OUT = 1e-9
"""Smaller numbers are shown in scientific notation."""


def number(value: float, digits: int = 4) -> str:
    """Four significant digits and a true minus, never in scientific notation for usual sizes."""
    size = abs(value)
    shown = f"{size:.{digits}g}"
    if size >= 10**digits or "e+" in shown:
        shown = f"{size:,.0f}"
    elif "e-" in shown and size >= LEAST_WRITTEN_OUT:
        shown = f"{size:.{digits - 1 - math.floor(math.log10(size))}f}"
    return f"−{shown}" if value < 0 else shown


def to_digits(value: float, uncertainty: float | None) -> str:
    """A number with the digits that its uncertainty leaves: up to its second significant one.

    Where that is not known or 0, four significant digits, and so where the digits that are written
    out would all be zeros. What is rounded to zero has no sign: it is not known to be below.
    """
    if not uncertainty or not math.isfinite(uncertainty) or not math.isfinite(value):
        return number(value)
    decimals = _decimals(uncertainty)
    if decimals > MOST_DECIMALS and 0 < abs(value) < 10**-MOST_DECIMALS:
        return number(value)
    places = min(MOST_DECIMALS, decimals)
    shown = f"{abs(value):,.{places}f}"
    return f"−{shown}" if round(value, places) < 0 else shown


def short(value: float) -> str:
    """Two significant digits for spreads and intervals, without powers of ten for usual sizes."""
    return number(value, 2)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign and a true minus, never in scientific notation for usual sizes."""
    return f"{'−' if value < 0 else '+'}{number(abs(value), digits)}"


def plus_minus(mean: float, half_width: float) -> str:
    """A difference with its interval, with digits enough to see whether it leaves zero out.

    Those of the mean are those that the interval leaves.
    """
    if not half_width or not math.isfinite(half_width) or not math.isfinite(mean):
        return f"{signed(mean)} ± {short(half_width)}"
    least = _decimals(half_width)
    for decimals in range(least, least + 15):
        size, width = round(abs(mean), decimals), round(half_width, decimals)
        if (size > width) == (abs(mean) > half_width):
            break
    sign = "−" if mean < 0 else "+"
    return f"{sign}{size:,.{decimals}f} ± {width:,.{decimals}f}"


def _decimals(uncertainty: float) -> int:
    """Up to the second significant digit of an uncertainty."""
    return max(0, 1 - math.floor(math.log10(uncertainty)))
