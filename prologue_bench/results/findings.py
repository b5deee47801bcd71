"""What is found to be wrong with results, so that one mistake is one line."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any

from prologue_bench.errors import shortened
from prologue_bench.results.schema import MeasurementRecord, RunRecord

Part = tuple[Hashable, ...]
"""Of results; see `number`, `stages`, `layout` and `section`."""
Doubt = tuple[str, str, *tuple[Part, ...]]
"""A place, what is wrong there, and the parts of the results that may be what is wrong."""


class Findings:
    """The problems, a line each, and the parts of the results that they refuse.

    What is refused is judged no further: a number that cannot be is no part of a sum, and a layout
    that cannot be bounds no number.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._refused: set[Part] = set()

    def tell(self, problem: str, *refused: Part) -> None:
        """Add a problem, and refuse parts of the results for it."""
        self.problems.append(problem)
        self._refused.update(refused)

    def tell_together(self, doubts: Iterable[Doubt]) -> None:
        """Add a problem for each text, which names the first place and how many more there are.

        One mistake in what many numbers rest on is seen at all of them.
        """
        places: dict[str, list[str]] = {}
        for place, text, *refused in list(doubts):  # before any of them refuses what others doubt
            places.setdefault(text, []).append(place)
            self._refused.update(refused)
        for text, (first, *others) in places.items():
            more = f" and {len(others):,} more" if others else ""
            self.tell(f"{first}{more}: {text}")

    def refused(self, part: Part) -> bool:
        """Whether a part of the results was refused."""
        return part in self._refused


def place_of(run: RunRecord, metric: str = "") -> str:
    """A run, and a number of it, as messages name them."""
    return f"{run.variant}, {run.seeds_text}{f', {metric}' if metric else ''}"


def setting_text(value: Any, most: int = 60) -> str:
    """A setting as messages show it, in so many characters."""
    return shortened(json.dumps(value), most)


def number(run: RunRecord, each: MeasurementRecord) -> Part:
    """One number of one run."""
    return ("number", run.place, each.name)


def stages(run: RunRecord) -> Part:
    """The stages of one run."""
    return ("stages", run.place)


def layout(variant: str) -> Part:
    """The layout of a variant."""
    return ("layout", variant)


def section(variant: str, name: str) -> Part:
    """A section of a variant's settings."""
    return ("settings", variant, name)
