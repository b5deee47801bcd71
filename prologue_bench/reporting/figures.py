"""Which plots a report has."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from prologue_bench.reporting import plots
from prologue_bench.reporting.axes import Tried, numeric_axis
from prologue_bench.reporting.formatting import setting_text
from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.reporting.vega import Spec
from prologue_bench.results import inside
from prologue_bench.results.schema import Columns, Results

CURVE_TITLES = {
    "loss_l1": "Reconstruction, L1",
    "loss_l2": "Reconstruction, L2",
    "loss_ce": "Cross-entropy, nats/token",
    "loss_ce/tokenizer": "Cross-entropy as the tokenizer learns it, weighed by target",
}
"""Of the framework's own losses. Others go by their names."""


def metric_plots(
    metrics: list[MetricInfo], rows: pd.DataFrame, results: Results
) -> list[tuple[MetricInfo, Spec]]:
    """Each metric against what was varied."""
    return [
        (
            info,
            plots.metric_plot(rows[rows.metric == info.name], results.variants, results.varied),
        )
        for info in metrics
    ]


def tradeoffs(rows: pd.DataFrame, results: Results) -> list[tuple[str, Spec]]:
    """Plots of one metric against another, those for which both were measured."""
    known = set(rows.metric)
    names = [variant.name for variant in results.variants]
    asked = {
        (other, each.name): title
        for run in results.runs
        for each in run.measurements
        for other, title in each.against.items()
    }
    return [
        (title, plots.scatter_plot(rows, x, y, names, title))
        for (x, y), title in asked.items()
        if {x, y} <= known
    ]


def heat_maps(results: Results) -> list[tuple[str, Spec]]:
    """Numbers of each token of each variant, such as the codes in use.

    Means over seeds, on one scale per segment.
    """
    grids = {
        (variant.name, segment.name): segment.grid
        for variant in results.variants
        for segment in variant.layout
    }
    found: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    units: dict[str, str] = {}
    for run in results.runs:
        for each in run.measurements:
            if segment := each.positions_of:
                found[run.variant, segment].append(each.positions)
                units[segment] = each.unit
    means = {
        key: [sum(each) / len(each) for each in zip(*values, strict=True)]
        for key, values in found.items()
    }
    largest: dict[str, float] = defaultdict(float)
    for (_, segment), values in means.items():
        largest[segment] = max(largest[segment], *values)
    shown = []
    for (variant, segment), values in means.items():
        title, grid = f"{variant}, {segment}", grids.get((variant, segment))
        shown.append(
            (title, plots.position_plot(title, values, grid, largest[segment], units[segment]))
        )
    return shown


def curve_plots(results: Results) -> list[tuple[str, Spec]]:
    """Training curves: a plot for each loss of each training stage."""
    shown = []
    for kind, title in (("train-tokenizer", "Tokenizer"), ("train-generator", "Generator")):
        by_variant: dict[str, list[Columns]] = {}
        for run in results.runs:
            if kind in run.curves:
                by_variant.setdefault(run.variant, []).append(run.curves[kind])
        losses = dict.fromkeys(
            name
            for runs in by_variant.values()
            for run in runs
            for name in run
            if name.startswith("loss_")
        )
        for loss in losses:
            name = loss.removeprefix("loss_").removeprefix("own/")
            label = f"{title}: {CURVE_TITLES.get(loss, name)}"
            shown.append((label, plots.curve_plot(by_variant, loss, label)))
    return shown


def inside_plots(results: Results) -> tuple[list[tuple[str, Spec]], list[tuple[str, Spec]]]:
    """What was seen inside the tokenizers' trainings: a small plot for each figure of each segment.

    Those that tell of a collapse come first, the others apart.
    """
    by_variant: dict[str, list[Columns]] = {}
    for run in results.runs:
        if run.inside:
            by_variant.setdefault(run.variant, []).append(run.inside)
    names = dict.fromkeys(name for runs in by_variant.values() for run in runs for name in run)
    main, detail = (
        [
            (title, plots.curve_plot(by_variant, name, title, small=True))
            for name, title in inside.titled(names, titles).items()
        ]
        for titles in (inside.TITLES, inside.DETAIL_TITLES)
    )
    return main, detail


def search_plots(results: Results) -> list[tuple[str, Spec]]:
    """The search of the sampling settings along the number with the most values.

    There is one for each choice of the others.
    """
    found = [
        (
            {
                "variant": run.variant,
                "seed": run.seed,
                "value": each.value,
                "chosen": "yes" if each.point == run.search.chosen else "no",
            },
            each,
        )
        for run in results.runs
        if run.search is not None
        for each in run.search.points
    ]
    if not found:
        return []
    tried = [Tried(str(each.point), each.point) for _, each in found]
    axis = numeric_axis(tried, list(tried[0].values))
    if axis is None:
        return []
    by_others: dict[tuple[str, str], list[dict[str, str | float]]] = defaultdict(list)
    values: dict[str, list[float]] = defaultdict(list)
    for row, each in found:
        others = {name: value for name, value in each.point.items() if name != axis.key}
        placed = {**row, "place": each.point[axis.key]}
        by_others[each.metric, setting_text(others)].append(placed)
        values[each.metric].append(each.value)
    names = [variant.name for variant in results.variants]
    domains = {metric: (min(of), max(of)) for metric, of in values.items()}
    columns = ["variant", "seed", "place", "value", "chosen"]
    return [
        (
            f"{axis.title}, {others}" if others else axis.title,
            plots.search_plot(
                pd.DataFrame(points)[columns], names, axis.title, metric, domains[metric]
            ),
        )
        for (metric, others), points in by_others.items()
    ]
