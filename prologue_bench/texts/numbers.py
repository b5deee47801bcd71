"""Numbers as reports and tables show them."""

from __future__ import annotations


def number(value: float, digits: int = 4) -> str:
    """Four significant digits, never in scientific notation for usual sizes."""
    shown = f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(value) >= 10**digits or "e+" in shown else shown


def short(value: float, digits: int = 2) -> str:
    """Two significant digits for spreads and intervals, without powers of ten for usual sizes."""
    return number(value, digits)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign and a true minus, never in scientific notation for usual sizes."""
    return f"{'−' if value < 0 else '+'}{number(abs(value), digits)}"


def plus_minus(mean: float, half_width: float) -> str:
    """A difference with its interval, with digits enough to see whether it leaves zero out."""
    for digits in range(2, 16):
        shown, width = signed(mean, digits + 1), short(half_width, digits)
        if (_size(shown) > _size(width)) == (abs(mean) > half_width):
            break
    return f"{shown} ± {width}"


def _size(shown: str) -> float:
    return float(shown.lstrip("+−").replace(",", ""))
