"""Which plots a report has."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from typing import Any

import pandas as pd

from prologue_bench.contracts.stage_kinds import TRAIN_GENERATOR, TRAIN_TOKENIZER
from prologue_bench.reporting import plots
from prologue_bench.reporting.axes import NumericAxis, Tried, in_numeric_order, numeric_axis
from prologue_bench.reporting.forest import equal_in_every_seed, forest_plot, means_of
from prologue_bench.reporting.formatting import setting_text
from prologue_bench.reporting.summary import Cells, MetricInfo
from prologue_bench.reporting.vega import Spec
from prologue_bench.results import inside
from prologue_bench.results.collapse import collapsed
from prologue_bench.results.schema import Columns, MeasurementRecord, Results
from prologue_bench.texts.numbers import number

CURVE_TITLES = {
    "loss_l1": "Reconstruction, L1",
    "loss_l2": "Reconstruction, L2",
    "loss_ce": "Cross-entropy, nats/token",
    "loss_ce/tokenizer": "Cross-entropy as the tokenizer learns it, weighed by target",
}
"""Of the framework's own losses. Others go by their names."""


SMALL_FORESTS = (
    ("rfid", "lpips", "ssim", "psnr"),
    ("rate", "elbo", "generation_gap"),
    ("training_flops", "training_seconds", "sampling_speed"),
)
"""Reconstruction, rate and cost: of each, the first that was measured stands beside the main one.
"""


def forest_plots(
    primary: MetricInfo | None,
    metrics: Sequence[MetricInfo],
    order: Sequence[str],
    cells: Cells,
    rows: pd.DataFrame,
    results: Results,
) -> list[tuple[MetricInfo, Spec]]:
    """The differences on the primary metric, and small plots of those on other questions.

    Rows are in the given order, but values of one number in their own. Small plots on which
    something is decided come first.
    """
    order = in_numeric_order(order, results.variants, results.varied)
    known = {info.name: info for info in metrics if info != primary}
    chosen = [next((known[n] for n in names if n in known), None) for names in SMALL_FORESTS]
    small = [info for info in chosen if info is not None]
    small.sort(key=lambda info: not _is_decided(info, cells))
    found, broken = [], collapsed(results)
    for info in (primary, *small):
        if info is None or results.baseline is None:
            continue
        own = {name: row[info.name] for name, row in cells.items() if info.name in row}
        of_metric = rows[rows.metric == info.name]
        plot = forest_plot(of_metric, own, order, results.baseline, info, info != primary, broken)
        if plot is not None:
            found.append((info, plot))
    return found


def _is_decided(info: MetricInfo, cells: Cells) -> bool:
    """Whether any variant is better or worse on a metric."""
    return any(
        info.name in row and row[info.name].verdict in ("better", "worse") for row in cells.values()
    )


def metric_plots(
    metrics: Sequence[MetricInfo], cells: Cells, rows: pd.DataFrame, results: Results
) -> tuple[list[tuple[MetricInfo, Spec]], list[str]]:
    """Each metric against what was varied, and in words those that do not depend on that."""
    variants, varied = results.variants, results.varied
    axis = numeric_axis(variants, varied)
    names = in_numeric_order([variant.name for variant in variants], variants, varied)
    shown, told = [], []
    for info in metrics:
        own = rows[rows.metric == info.name]
        if axis is not None and (values := _at_every_place(own, axis)):
            told.append(f"{info.label}: the same for all values of {axis.title} ({values}).")
            continue
        known = {name: row[info.name] for name, row in cells.items() if info.name in row}
        shown.append((info, plots.metric_plot(own, known, names, axis, info)))
    return shown, told


def _at_every_place(rows: pd.DataFrame, axis: NumericAxis) -> str:
    """The value of each line along an axis, where it is exactly one in every seed.

    Empty where any line has two.
    """
    means = means_of(rows)
    lines: dict[str, list[str]] = defaultdict(list)
    for name in map(str, means.columns):
        lines[axis.lines[name]].append(name)
    if any(
        len(names) < 2 or len(equal_in_every_seed(means[names])) > 1 for names in lines.values()
    ):
        return ""
    found = {line: number(means[names[0]].mean()) for line, names in lines.items()}
    return ", ".join(f"{line} {value}".strip() for line, value in found.items())


def tradeoffs(rows: pd.DataFrame, results: Results) -> list[tuple[str, Spec]]:
    """Plots of one metric against another, those for which both were measured."""
    known = set(rows.metric)
    names = [variant.name for variant in results.variants]
    broken = collapsed(results)
    better = {each.name: each.direction for each in _measured(results)}
    asked = {
        (other, each.name): title
        for run in results.runs
        for each in run.measurements
        if not each.positions_of
        for other, title in each.against.items()
    }
    return [
        (title, plots.scatter_plot(rows, x, y, names, title, broken, (better[x], better[y])))
        for (x, y), title in asked.items()
        if {x, y} <= known
    ]


def heat_maps(results: Results) -> dict[str, list[tuple[str, Spec]]]:
    """Numbers of each token of each variant, such as the codes in use, by what they are.

    Means over seeds, on one scale for each number of a segment.
    """
    grids = {
        (variant.name, segment.name): segment.grid
        for variant in results.variants
        for segment in variant.layout
    }
    plain = {each.name for each in _measured(results) if not each.against}
    found = _along_tokens(results, plain)
    largest = found.groupby(["of", "segment"]).value.max()
    shown: dict[str, list[tuple[str, Spec]]] = defaultdict(list)
    key: Any
    for key, rows in found.groupby(["of", "variant", "segment"], sort=False):
        of, variant, segment = key
        title, most, unit = f"{variant}, {segment}", largest[of, segment], rows.unit.iloc[0]
        grid, values = grids.get((variant, segment)), rows.value.tolist()
        if grid and len(values) > math.prod(grid):  # several codebooks: ids of a place follow
            grid = None
        shown[of].append((title, plots.position_plot(of, title, values, grid, most, unit)))
    return dict(shown)


def token_curves(results: Results) -> dict[str, list[tuple[str, Spec]]]:
    """Numbers of each token with those that they are against, by title: a plot for each variant.

    Means over seeds, over the segments in their order, on one scale for all variants.
    """
    firsts = {
        (variant.name, segment.name): sum(each.length for each in variant.layout[:index])
        for variant in results.variants
        for index, segment in enumerate(variant.layout)
    }
    known = {each.name for each in _measured(results) if each.positions_of}
    asked: dict[str, set[str]] = defaultdict(set)
    for each in _measured(results):
        for other, title in each.against.items():
            if {each.name, other} <= known:
                asked[title] |= {each.name, other}
    shown = {}
    for title, names in asked.items():
        rows = _along_tokens(results, names)
        places = [firsts[key] for key in zip(rows.variant, rows.segment, strict=True)]
        rows = rows.assign(token=rows.token + places)
        series, largest = rows.of.unique().tolist(), rows.value.max()
        shown[title] = [
            (str(variant), plots.token_plot(of, series, largest, f"{title}: {variant}"))
            for variant, of in rows.groupby("variant", sort=False)
        ]
    return shown


def _measured(results: Results) -> Iterator[MeasurementRecord]:
    return (each for run in results.runs for each in run.measurements)


def _along_tokens(results: Results, names: Container[str]) -> pd.DataFrame:
    """The positions of measurements by name: variant, of (what), segment, unit, token, value.

    Tokens are numbered from each segment's first; values are means over the seeds that have them.
    """
    columns = ["variant", "of", "segment", "unit", "token"]
    rows = [
        (run.variant, each.title.removesuffix(f", {segment}"), segment, each.unit, token, value)
        for run in results.runs
        for each in run.measurements
        if (segment := each.positions_of) and each.name in names
        for token, value in enumerate(each.positions)
    ]
    found = pd.DataFrame(rows, columns=[*columns, "value"])
    return found.groupby(columns, sort=False)[["value"]].mean().reset_index()


def curve_plots(results: Results) -> list[tuple[str, Spec]]:
    """Training curves: a plot for each loss of each training stage."""
    shown = []
    for kind, title in ((TRAIN_TOKENIZER, "Tokenizer"), (TRAIN_GENERATOR, "Generator")):
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
