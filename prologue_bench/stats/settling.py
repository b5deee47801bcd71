"""How many training seeds would settle a difference that is open."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from attrs import evolve

from prologue_bench.stats.differences import Difference
from prologue_bench.stats.intervals import LEVEL
from prologue_bench.stats.looks import MOST_SEEDS
from prologue_bench.stats.student import critical


def narrowing(found: Difference, seeds: int) -> float:
    """How much narrower the interval of a difference gets with so many seeds.

    The spread of the differences is taken to stay as it was found. Where seeds were added until it
    was decided, there are looks up to so many.
    """

    def factor(count: int) -> float:
        level: float | None = (1 - LEVEL) / found.family
        if found.looks is not None:
            looks = evolve(found.looks, most=max(count, found.looks.most))
            level = looks.level((1 - LEVEL) / found.family, count)
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

    def settled(seeds: int) -> bool:
        return settles(width * narrowing(found, seeds))

    # Of few seeds first: the levels of many looks take longer the more there are.
    low, high = found.count, found.count + 1
    while high < MOST_SEEDS and not settled(high):
        low, high = high, min(2 * high, MOST_SEEDS)
    more = range(low + 1, high + 1)
    place = bisect_left(more, True, key=settled)
    return more[place] if place < len(more) else None


def seeds_to_settle(found: Difference) -> int | None:
    """About how many seeds would make a difference better, worse or equivalent, if it stays so.

    None where that is not known, or no number up to MOST_SEEDS would.
    """
    size, margin = abs(found.mean), found.margin

    def settles(width: float) -> bool:
        return size > width or (margin is not None and size + width <= margin.limit(width))

    return seeds_until(found, settles)
