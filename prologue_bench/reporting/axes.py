"""Along which setting variants are drawn: the numeric one that was varied, a line for each choice of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen


@frozen
class NumericAxis:
    """A varied setting that is a number in all variants."""

    key: str
    places: Mapping[str, float]
    """Where each variant stands on the axis."""
    lines: Mapping[str, str]
    """To which line each variant belongs."""

    @property
    def title(self) -> str:
        """The setting's own name."""
        return self.key.rpartition(".")[2].replace("_", " ")


def numeric_axis(variants: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> NumericAxis | None:
    """The varied number with the most values, where each line along it has two points or more."""
    found = [axis for key in varied if (axis := _along(key, variants))]
    return max(found, key=lambda axis: len(set(axis.places.values())), default=None)


def _along(key: str, variants: Sequence[Mapping[str, Any]]) -> NumericAxis | None:
    values = [variant["values"].get(key) for variant in variants]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for variant in variants:
        lines[repr(sorted((k, repr(v)) for k, v in variant["values"].items() if k != key))].append(variant)
    if any(len({variant["values"][key] for variant in line}) < 2 for line in lines.values()):
        return None
    own = key.rpartition(".")[2] + "="
    return NumericAxis(
        key,
        {variant["name"]: float(variant["values"][key]) for variant in variants},
        {
            variant["name"]: ", ".join(part for part in line[0]["name"].split(", ") if not part.startswith(own))
            for line in lines.values()
            for variant in line
        },
    )
