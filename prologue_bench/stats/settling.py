"""How many training seeds would settle a difference that is open."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from attrs import evolve

from prologue_bench.stats.differences import Difference
from prologue_bench.stats.intervals import LEVEL
from prologue_bench.stats.student import critical

MOST_SEEDS = 200
"""More are not asked for."""


def narrowing(found: Difference, seeds: int) -> float:
    """How much narrower the interval of a difference gets with so many seeds.

    The spread of the differences is taken to stay as it was found. Where seeds were added until it
    was decided, there are looks up to so many.
    """

    def factor(count: int) -> float:
        level: float | None = (1 - LEVEL) / found.family
        if found.looks is not None and level is not None:
            level = evolve(found.looks, most=max(count, found.looks.most)).level(level, count)
        assert level is not None, "there is an interval"
        return critical(level, count - 1) / math.sqrt(count)

    return factor(seeds) / factor(found.count)


def seeds_until(found: Difference, settles: Callable[[float], bool]) -> int | None:
    """The fewest seeds, more than there are, with which half of the interval `settles` it.

    What settles it with one width must settle it with each narrower one. None where no number up
    to MOST_SEEDS does, or there is no interval over training seeds.
    """
    if found.half_width is None or found.basis != "training seeds":
        return None
    width = found.half_width
    more = range(found.count + 1, MOST_SEEDS + 1)
    place = bisect_left(more, True, key=lambda seeds: settles(width * narrowing(found, seeds)))
    return more[place] if place < len(more) else None


def seeds_to_settle(found: Difference) -> int | None:
    """About how many seeds would make a difference better, worse or equivalent, if it stays so.

    None where that is not known, or no number up to MOST_SEEDS would.
    """
    margin = -1.0 if found.margin is None else found.margin.limit
    size = abs(found.mean)
    return seeds_until(found, lambda width: size > width or size + width <= margin)
