"""When a codebook counts as collapsed: so few codes occur, or they say so little, that it is as
good as absent."""

from __future__ import annotations

import re

LEAST_USE = 5.0
"""Percent of the codes that could occur."""
LEAST_BITS = 1.0
ALIKE = "all images have the same features"
"""The warning of a number over images that a model made, and made all alike."""
BEGIN = "collapsed codebook, "
WARNING = re.compile(f"{BEGIN}(?P<segment>.+?) (uses|carries) .+")


def collapse_warning(
    segment: str,
    *,
    use: float | None,
    codes: int | None,
    possible: int | None = None,
    token_bits: float | None = None,
    segment_bits: float | None = None,
) -> str:
    """What is wrong with the codes of a segment, in words; empty where nothing is.

    `use` is the share of its `codes` that occur, in percent; of many codes only so many are
    `possible` as there are tokens. `token_bits` is the entropy of the codes' frequencies,
    `segment_bits` that of the whole segment over images, or an upper bound of it. A binary code
    has a bit at most, so there only the whole segment counts. What is None is not known.
    """
    reasons = []
    share = min(codes, possible) / codes if codes and possible is not None else 1.0
    if use is not None and use < LEAST_USE * share:
        of = f"{round(use * codes / 100)} of {codes}" if codes else "few of its"
        reasons.append(f"uses {of} codes ({use:.1f}%)")
    if segment_bits is not None and segment_bits < LEAST_BITS:
        reasons.append(f"carries {segment_bits:.2f} bits per image")
    elif token_bits is not None and token_bits < LEAST_BITS and (codes is None or codes > 2):
        reasons.append(f"carries {token_bits:.2f} bits per token")
    return f"{BEGIN}{segment} {' and '.join(reasons)}" if reasons else ""


def collapsed_segment(warning: str) -> str:
    """The segment of which a `collapse_warning` tells; empty for other warnings."""
    found = WARNING.fullmatch(warning)
    return found["segment"] if found else ""
