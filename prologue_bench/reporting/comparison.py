"""Two sets of results side by side, variant by variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pandas as pd
from attrs import frozen
from scipy.stats import spearmanr

from prologue_bench.reporting.comparability import differences
from prologue_bench.reporting.results import frame
from prologue_bench.reporting.statistics import Difference, paired

KEYS = ["variant", "seed", "sampling_seed"]


@frozen
class Row:
    """One metric of one variant in both results; the difference, second less first, where they may be subtracted."""

    variant: str
    first: float
    second: float
    difference: Difference | None


@frozen
class MetricComparison:
    """One metric in both results.

    `conflict` holds the fields in which the protocols differ. Ranks need no common protocol: `agreement` is Spearman's
    correlation over all runs that both have, None for fewer than three.
    """

    metric: str
    title: str
    unit: str
    rows: tuple[Row, ...]
    conflict: tuple[str, ...]
    agreement: float | None
    runs: int


def compare_results(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[MetricComparison]:
    """All metrics that both results have for some variant and seed of the same name."""
    frames = [frame({**results, "varied": ()}).set_index(KEYS) for results in (first, second)]
    shared = [name for name in dict.fromkeys(frames[0].metric) if name in set(frames[1].metric)]
    found = []
    for metric in shared:
        one, other = (part[part.metric == metric] for part in frames)
        runs = one.index.intersection(other.index)
        if len(runs):
            conflict = _conflict(first, second, metric, runs)
            found.append(_compared(metric, one.loc[runs], other.loc[runs], conflict))
    return found


def _compared(metric: str, one: pd.DataFrame, other: pd.DataFrame, conflict: tuple[str, ...]) -> MetricComparison:
    rows = []
    for variant in dict.fromkeys(one.index.get_level_values("variant")):
        parts = [part.loc[variant] for part in (one, other)]
        difference = None if conflict else paired(parts[1], parts[0])
        rows.append(Row(variant, float(parts[0].value.mean()), float(parts[1].value.mean()), difference))
    ranked = len(one) > 2 and min(one.value.nunique(), other.value.nunique()) > 1
    agreement = float(spearmanr(one.value, other.value).statistic) if ranked else None
    return MetricComparison(
        metric=metric,
        title=str(one.title.iloc[0]),
        unit=str(one.unit.iloc[0]),
        rows=tuple(rows),
        conflict=conflict,
        agreement=agreement,
        runs=len(one),
    )


def _conflict(first: Mapping[str, Any], second: Mapping[str, Any], metric: str, runs: pd.Index) -> tuple[str, ...]:
    """The fields in which the protocols of any of these runs differ."""
    protocols = [_protocols(results, metric) for results in (first, second)]
    found: dict[str, None] = {}
    for run in runs:
        for text in differences(protocols[0][run], protocols[1][run]):
            found.setdefault(text)
    return tuple(found)


def _protocols(results: Mapping[str, Any], metric: str) -> dict[tuple[str, int, int], Mapping[str, Any]]:
    return {
        (run["variant"], run["seed"], run.get("sampling_seed", 0)): measurement["protocol"]
        for run in results["runs"]
        for measurement in run["measurements"]
        if measurement["name"] == metric
    }


def as_json(found: Sequence[MetricComparison]) -> list[dict[str, Any]]:
    """The comparison as plain values."""
    return [attrs.asdict(each) for each in found]
