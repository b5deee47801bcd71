"""When a codebook counts as collapsed: so few codes occur, or they say so little, that it is as
good as absent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def warnings_of(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the metrics of one run warn of; without such words, what their numbers say."""
    return [each["warning"] for each in measurements if each.get("warning")] + _earlier_collapses(measurements)


def _earlier_collapses(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Collapsed codebooks in results whose metric `codebook` did not yet warn of them itself."""
    wordless = {each["name"]: each for each in measurements if "warning" not in each and each["value"] is not None}
    uses, perplexities = "codebook_use_", "codebook_perplexity_"
    segments = dict.fromkeys(
        name.removeprefix(prefix)
        for name, each in wordless.items()
        for prefix in (uses, perplexities)
        if name.startswith(prefix) and not name.startswith(f"{prefix}position_")
    )
    found = []
    for segment in segments:
        use, perplexity, alone = (
            wordless.get(f"{name}{segment}") for name in (uses, perplexities, f"{perplexities}position_")
        )
        positions = alone.get("positions") if alone is not None else None
        known = use if use is not None else perplexity
        warning = collapse_warning(
            segment,
            use=use["value"] if use is not None else None,
            codes=_number_of_codes(known["protocol"]["details"].get("codes")) if known is not None else None,
            token_bits=math.log2(max(1.0, perplexity["value"])) if perplexity is not None else None,
            segment_bits=sum(math.log2(max(1.0, value)) for value in positions) if positions else None,
        )
        found += [warning] if warning else []
    return found


def _number_of_codes(told: Any) -> int | None:
    """What a protocol says, if it is a number: a third party's metric of this name may say anything."""
    return told if isinstance(told, int) and told > 0 else None
