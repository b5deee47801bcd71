"""Along which setting variants are drawn.

It is the numeric one that was varied, with a line for each choice of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from prologue_bench.results.schema import Settings, VariantRecord
from prologue_bench.texts.settings import short_names


@frozen
class NumericAxis:
    """A varied setting that is a number in all variants."""

    key: str
    places: Mapping[str, float]
    """Where each variant stands on the axis."""
    lines: Mapping[str, str]
    """To which line each variant belongs."""
    title: str = field(default="", eq=False)
    """The setting's own name, as short as tells it from the others that are varied."""


@frozen
class Tried:
    """Settings under a name, such as one point of a search."""

    name: str
    values: Settings
    source: str | None = None


Varied = VariantRecord | Tried
"""What has a place on an axis."""


def numeric_axis(variants: Sequence[Varied], varied: Sequence[str]) -> NumericAxis | None:
    """The varied number with the most values, where each line along it has two points or more."""
    names = short_names(varied)
    found = [axis for key in varied if (axis := _along(key, names[key], variants))]
    return max(found, key=lambda axis: len(set(axis.places.values())), default=None)


def in_numeric_order(
    names: Sequence[str], variants: Sequence[Varied], varied: Sequence[str]
) -> list[str]:
    """Names in their order, but variants of one number by that number, from the first of them on.

    They are those that differ in one numeric setting alone; of several settings it is the axis, or
    else the one with the most values.
    """
    axis = numeric_axis(variants, varied)
    groups: dict[tuple[str, str], list[Varied]] = defaultdict(list)
    for variant in variants:
        for key, value in variant.values.items():
            if _is_number(value):
                groups[key, repr((variant.source, _others(variant, key)))].append(variant)
    of: dict[str, list[str]] = {}
    chosen = axis.key if axis is not None else ""
    for (key, _), group in sorted(
        groups.items(), key=lambda each: (each[0][0] != chosen, -len(each[1]))
    ):
        free = [variant for variant in group if variant.name not in of]
        members = [each.name for each in sorted(free, key=lambda each: float(each.values[key]))]
        of |= dict.fromkeys(members, members)
    ordered = [other for name in names for other in of.get(name, [name])]
    return [name for name in dict.fromkeys(ordered) if name in names]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _others(variant: Varied, key: str) -> list[tuple[str, str]]:
    """All that a variant sets but for one setting."""
    return sorted((name, repr(value)) for name, value in variant.values.items() if name != key)


def _along(key: str, name: str, variants: Sequence[Varied]) -> NumericAxis | None:
    values = [variant.values.get(key) for variant in variants]
    if not all(map(_is_number, values)):
        return None
    lines: dict[str, list[Varied]] = defaultdict(list)
    for variant in variants:
        lines[repr((variant.source, _others(variant, key)))].append(variant)
    if any(len({variant.values[key] for variant in line}) < 2 for line in lines.values()):
        return None
    return NumericAxis(
        key=key,
        title=name.replace("_", " "),
        places={variant.name: float(variant.values[key]) for variant in variants},
        lines={variant.name: _without(key, line[0]) for line in lines.values() for variant in line},
    )


def _without(key: str, variant: Varied) -> str:
    """A variant's name without what it says of one setting."""
    source = f"{variant.source}: " if variant.source else ""
    parts = variant.name.removeprefix(source).split(", ")
    kept = [
        part
        for part in parts
        if "=" not in part or not f".{key}".endswith(f".{part.partition('=')[0]}")
    ]
    return f"{source}{', '.join(kept)}".removesuffix(": ")
