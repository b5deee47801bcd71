"""Two sets of results side by side, variant by variant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import correlation

from attrs import evolve, frozen

from prologue_bench.results.collapse import collapsed
from prologue_bench.results.frame import looks_of, measured
from prologue_bench.results.plain import Document, plain
from prologue_bench.results.protocols import differences_of
from prologue_bench.results.schema import MeasurementRecord, Numbers
from prologue_bench.stats.differences import (
    Difference,
    Points,
    distinct_differences,
    mean_of,
    measured_once,
    paired,
    points_of,
)
from prologue_bench.stats.looks import Looks


@frozen
class Row:
    """One metric of one variant in both results, and the difference, second minus first.

    It is None where the two may not be subtracted. Its interval is simultaneous over all variants
    of the metric. `collapsed` says in which of the two the variant has: "first", "second".
    """

    variant: str
    first: float
    second: float
    difference: Difference | None
    collapsed: tuple[str, ...] = ()


@frozen
class MetricComparison:
    """One metric in both results.

    `conflict` holds the fields in which the protocols differ. Ranks need no common protocol:
    `agreement` is Spearman's correlation over all runs that both have, None for fewer than three.
    """

    metric: str
    title: str
    unit: str
    rows: tuple[Row, ...]
    conflict: tuple[str, ...]
    agreement: float | None
    runs: int


def compare_results(first: Numbers, second: Numbers) -> list[MetricComparison]:
    """All metrics that both results have for some variant and seed of the same name."""
    rows = measured(first, apart=True)
    names: dict[str, tuple[str, str]] = {}
    for each in rows:
        names.setdefault(each.metric, (each.title, each.unit))
    one, other = points_of(rows), points_of(measured(second, apart=True))
    looks = looks_of(first, second)
    broken = {"first": collapsed(first), "second": collapsed(second)}
    found = []
    for metric, (title, unit) in names.items():
        pairs = {
            variant: (points, other.get(metric, {}).get(variant, {}))
            for variant, points in one[metric].items()
        }
        shared = {variant: [key for key in a if key in b] for variant, (a, b) in pairs.items()}
        runs = [(variant, *key) for variant, keys in shared.items() for key in keys]
        if not runs:
            continue
        conflict = _conflict(first, second, metric, runs)
        family = distinct_differences(pairs[variant] for variant, keys in shared.items() if keys)
        values = [
            (pairs[v][0][seed, sampling].value, pairs[v][1][seed, sampling].value)
            for v, seed, sampling in runs
        ]
        comparison = MetricComparison(
            metric=metric,
            title=title,
            unit=unit,
            rows=tuple(
                evolve(
                    _row(
                        variant,
                        *pairs[variant],
                        None if conflict else family,
                        looks.get(metric, {}).get(variant),
                    ),
                    collapsed=tuple(side for side, names in broken.items() if variant in names),
                )
                for variant, keys in shared.items()
                if keys
            ),
            conflict=conflict,
            agreement=agreement(values),
            runs=len(runs),
        )
        found.append(comparison)
    return found


def _row(
    variant: str,
    one: Points,
    other: Points,
    family: int | None,
    looks: Looks | None,
) -> Row:
    keys = measured_once(other, one)
    difference = None if family is None else paired(other, one, family, looks)
    return Row(variant, mean_of(one, keys), mean_of(other, keys), difference)


def agreement(values: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's correlation of pairs; None for fewer than three, or if a side does not vary."""
    first, second = zip(*values, strict=True)
    if len(values) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    """The place of each value among the others, from 0; equal ones share the mean of theirs."""
    ordered = sorted(values)
    counts = Counter(values)
    return [ordered.index(value) + (counts[value] - 1) / 2 for value in values]


def _conflict(
    first: Numbers,
    second: Numbers,
    metric: str,
    runs: Sequence[tuple[str, int, int]],
) -> tuple[str, ...]:
    """The fields in which the protocols of any of these runs differ, or the units."""
    ours, theirs = (_measured(results, metric) for results in (first, second))
    found: dict[str, None] = {}
    for run in runs:
        for text in differences_of(ours[run], theirs[run]):
            found.setdefault(text)
    return tuple(found)


def _measured(results: Numbers, metric: str) -> Mapping[tuple[str, int, int], MeasurementRecord]:
    return {
        run.place: each for run in results.runs for each in run.measurements if each.name == metric
    }


def collapse_notes(first: Numbers, second: Numbers) -> list[str]:
    """A sentence for each variant that has collapsed in either."""
    return [
        f"{name} has collapsed in the {side} results, {collapse}: no difference of it is a merit."
        for side, results in (("first", first), ("second", second))
        for name, collapse in collapsed(results).items()
    ]


def as_json(found: Sequence[MetricComparison]) -> list[Document]:
    """The comparison as plain values."""
    return list(map(plain, found))
