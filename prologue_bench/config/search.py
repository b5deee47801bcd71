"""A point of a search as sampling settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prologue_bench.config.sections import merge
from prologue_bench.config.settings import Sampling, plain_values
from prologue_bench.config.structure import structure

GRID = "sampling.search.grid"


def sampling_at(sampling: Sampling, point: Mapping[str, Any], where: str) -> Sampling:
    """The settings with those of a point put in, and without the search.

    Raises UserError when the point is no valid setting of sampling.
    """
    values = plain_values(sampling)
    values["search"] = None
    for name, value in point.items():
        nested: Any = value
        for part in reversed(name.split(".")):
            nested = {part: nested}
        values = merge(values, nested)
    return structure(Sampling, values, where)


def tried(sampling: Sampling) -> list[Sampling]:
    """The settings at each point of the search; where there is none, the settings alone."""
    points = sampling.search.points() if sampling.search else [{}]
    return [sampling_at(sampling, point, GRID) for point in points]
