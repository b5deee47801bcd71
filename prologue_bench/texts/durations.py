"""Lengths of time as a person reads them."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: 0.4 s, 12 s, 3 min 05 s, 2 h 04 min, 1,300 days.

    A dash for what is not known.
    """
    if seconds is None:
        return "–"
    if round(seconds, 1) < 1:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    if minutes < 72 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:,.0f} days"
