"""Which numbers come first: the primary metric of an ablation, and those beside it."""

from __future__ import annotations

from collections.abc import Sequence

from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.results.schema import Numbers

COLUMNS = 5
"""Metrics of the leaderboard where the ablation names none."""


def primary_metric(results: Numbers, main: Sequence[MetricInfo]) -> MetricInfo | None:
    """The metric by which variants are ranked.

    That is the one that the ablation names, if it was measured. Else, as in results of versions
    that did not ask, it is the first that is measured on samples, or the first of all. None where
    no metric has a better direction.
    """
    of_samples = _of_samples(results)
    asked = [info for info in main if info.name == results.primary]
    drawn = [info for info in main if info.name in of_samples]
    return next(iter([*asked, *drawn, *main]), None)


def _of_samples(results: Numbers) -> set[str]:
    """The measurements whose protocols name settings of sampling."""
    return {
        each.name
        for run in results.runs
        for each in run.measurements
        if any(key.startswith("sampling.") for key in each.protocol.details)
    }


def leaderboard_metrics(
    results: Numbers,
    primary: MetricInfo | None,
    main: Sequence[MetricInfo],
    metrics: Sequence[MetricInfo],
) -> list[MetricInfo]:
    """The primary metric and those that the ablation names among all `metrics`.

    Where it names none, the first one of each kind of the `main` ones, such as `rate` of `rate` and
    `rate_visual`.
    """
    known = {info.name: info for info in metrics}
    first = [primary] if primary is not None else []
    named = [known[name] for name in results.leaderboard if name in known]
    if named:
        return list(dict.fromkeys([*first, *named]))
    kinds: dict[str, MetricInfo] = {}
    for info in [*first, *main]:
        kinds.setdefault(info.name.partition("_")[0], info)
    return list(kinds.values())[:COLUMNS]


def not_measured(
    results: Numbers, main: Sequence[MetricInfo], metrics: Sequence[MetricInfo]
) -> list[str]:
    """A sentence for each key of the ablation that names what cannot be shown as asked."""
    known = {info.name for info in metrics}
    found = [
        f"leaderboard: {name} was not measured."
        for name in results.leaderboard
        if name not in known
    ]
    if results.primary and results.primary not in {info.name for info in main}:
        found.append(
            f"primary: {results.primary} was not measured for all variants, is a detail, or has no "
            "better direction; another metric stands in for it."
        )
    return found
