"""Whole numbers as text: runs as ranges, seeds by number."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in rising order.

    >>> ranges([0, 3, 4, 5])
    '0,3-5'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in runs)


def seeds_text(seeds: Iterable[int]) -> str:
    """Training seeds in rising order.

    >>> seeds_text([3, 0]), seeds_text([1])
    ('seeds 0, 3', 'seed 1')
    """
    found = sorted(seeds)
    return f"seed{'s' * (len(found) > 1)} {', '.join(map(str, found))}"


def parse_ranges(text: str, below: int) -> list[int]:
    """The numbers of a text like "0,3-5", in rising order.

    Raises ValueError, which says what was found, for another text and numbers that are not `below`.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"found {part.strip()!r}, expected a number or a range such as 3-5")
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise ValueError(f"found the range {low}-{high}, expected {high}-{low}")
        if high >= below:
            raise ValueError(f"found {high}, expected numbers from 0 to {below - 1}")
        found.update(range(low, high + 1))
    return sorted(found)
