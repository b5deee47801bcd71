"""When a codebook counts as collapsed: so few codes occur, or they say so little, that it is as
good as absent."""

from __future__ import annotations

LEAST_USE = 5.0
"""Percent of the codes that could occur."""
LEAST_BITS = 1.0


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
    return f"collapsed codebook, {segment} {' and '.join(reasons)}" if reasons else ""
