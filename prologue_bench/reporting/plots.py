"""Plots as SVG that follows the page's text colour: each metric against what was varied, and training curves."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("svg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour, put in afterwards."""
COLOURS = ("#5b82e8", "#e07b00", "#3ca951", "#e0457b", "#9a60d4", "#00a3b5", "#a0643f", "#7f8a00")
POINTS_CUT = 5
"""Points of a training curve that may lie above the plot."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def metric_plot(rows: pd.DataFrame, variants: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> str:
    """One metric: every seed a dot, seeds joined by a thin line, the mean by a thick one.

    `rows` are a frame's rows of one metric. The axis is numeric where one numeric setting was varied.
    """
    key = varied[0] if len(varied) == 1 else None
    values = {v["name"]: v["values"].get(key) for v in variants} if key else {}
    numeric = bool(values) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in values.values())
    names = [variant["name"] for variant in variants]
    places = {name: float(values[name]) if numeric else float(i) for i, name in enumerate(names)}
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": str(rows.metric.iloc[0])}):
        # Names along the axis want a layout made for them, which takes as long as the rest of the plot.
        figure = Figure(figsize=(4.6, 3.0), layout=None if numeric else "constrained")
        axes = figure.add_subplot()
        if numeric:
            figure.subplots_adjust(left=0.16, right=0.98, bottom=0.18, top=0.97)
        rows = rows.assign(place=rows.variant.map(places)).sort_values("place")
        line = "-" if numeric else "none"
        seeds = sorted(rows.seed.unique())
        for seed in seeds:
            one = rows[rows.seed == seed]
            axes.plot(one.place, one.value, marker="o", markersize=5, linewidth=0.8 if len(seeds) > 1 else 1.6,
                      linestyle=line, color=COLOURS[0], alpha=0.6 if len(seeds) > 1 else 1.0)  # fmt: skip
        mean = rows.groupby("place").value.mean()
        if len(seeds) > 1:
            axes.plot(mean.index, mean, marker="D", markersize=5, linewidth=2, linestyle=line, color=COLOURS[1])
        axes.set_xticks([places[name] for name in names])
        if numeric and key:
            axes.set_xticklabels([f"{places[name]:g}" for name in names])
            axes.set_xlabel(key.rpartition(".")[2].replace("_", " "))
        else:
            axes.set_xticklabels([_wrapped(name) for name in names], rotation=20, ha="right", fontsize=9)
        return _svg(figure)


def curve_plot(curves: Mapping[str, list[dict[str, list[float]]]], loss: str) -> str:
    """One loss over steps: a line for each variant's mean over seeds, and thin ones for the seeds."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": loss}):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes: Axes = figure.add_subplot()
        for index, (variant, runs) in enumerate(curves.items()):
            colour = COLOURS[index % len(COLOURS)]
            with_loss = [pd.Series(run[loss], index=run["step"]) for run in runs if loss in run]
            if not with_loss:
                continue
            if len(with_loss) > 1:
                for series in with_loss:
                    axes.plot(series.index, series, linewidth=0.6, alpha=0.35, color=colour)
            mean = pd.concat(with_loss, axis=1).mean(axis=1)
            axes.plot(mean.index, mean, linewidth=1.6, color=colour, label=variant)
        axes.set_xlabel("step")
        # The first steps are far above the rest; the plot shows where the runs differ.
        tails = [value for runs in curves.values() for run in runs for value in run.get(loss, [])[POINTS_CUT:]]
        if tails:
            margin = 0.05 * (max(tails) - min(tails)) + 1e-9
            axes.set_ylim(min(tails) - margin, max(tails) + margin)
        axes.legend(fontsize=9)
        return _svg(figure)


def scatter_plot(rows: pd.DataFrame, x: str, y: str, variants: Sequence[str]) -> str:
    """One metric against another: every seed a small dot, every variant's mean a large one with its name.

    `rows` are a frame's rows; runs that lack one of the two are left out.
    """
    table = rows[rows.metric.isin((x, y))].pivot_table(
        index=["variant", "seed"], columns="metric", values="value", sort=False
    ).dropna()  # fmt: skip
    titles = {name: _with_unit(rows, name) for name in (x, y)}
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": x + y}):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for index, variant in enumerate(variants):
            if variant not in table.index.get_level_values("variant"):
                continue
            own, colour = table.loc[variant], COLOURS[index % len(COLOURS)]
            axes.plot(own[x], own[y], marker="o", markersize=3.5, linestyle="none", color=colour, alpha=0.5)
            axes.plot(
                own[x].mean(), own[y].mean(), marker="D", markersize=7, linestyle="none", color=colour, label=variant
            )
        axes.set_xlabel(titles[x])
        axes.set_ylabel(titles[y])
        axes.legend(fontsize=8)
        return _svg(figure)


def _with_unit(rows: pd.DataFrame, metric: str) -> str:
    first = rows[rows.metric == metric].iloc[0]
    return f"{first.title} ({first.unit})" if first.unit else str(first.title)


def position_plot(title: str, values: Sequence[float], grid: Sequence[int] | None, largest: float, unit: str) -> str:
    """The value at each token of a segment, where the token stands in the image, or in a row."""
    shape = tuple(grid) if grid else (1, len(values))
    with matplotlib.rc_context({**STYLE, "axes.grid": False, "svg.hashsalt": title}):
        figure = Figure(figsize=(3.2, 2.6 if grid else 1.2), layout="constrained")
        axes = figure.add_subplot()
        cells = [list(values[row * shape[1] : (row + 1) * shape[1]]) for row in range(shape[0])]
        mesh = axes.pcolormesh(cells, vmin=0, vmax=largest, cmap="viridis")
        axes.invert_yaxis()
        axes.set_aspect("equal" if grid else "auto")
        axes.set_xticks([])
        axes.set_yticks([])
        figure.colorbar(mesh, ax=axes, label=unit)
        return _svg(figure)


def _wrapped(name: str) -> str:
    return name if len(name) <= 24 else name[:22] + "…"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # The page sets size and font; a fixed width would overflow narrow screens.
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", svg, count=1)
    return re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", svg, count=1).replace("<metadata>", "<metadata hidden>")
