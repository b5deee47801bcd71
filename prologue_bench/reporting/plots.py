"""Interactive plots: each metric against what was varied, searches, curves, and trade-offs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from prologue_bench.reporting.axes import NumericAxis
from prologue_bench.reporting.forest import value_plot
from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.reporting.vega import (
    COLOURS,
    HEIGHT,
    INK,
    Spec,
    data,
    opacity_of,
    spec,
    tooltip,
    variant_colour,
)
from prologue_bench.results.schema import Columns, Direction
from prologue_bench.stats.differences import Cell

POINTS_CUT = 5
"""Points of a training curve that may lie above the plot."""

CURVE_POINTS = 6000
SMALL_CURVE_POINTS = 1500
"""Of one plot at most; more runs are drawn with fewer points each."""
SMALL_HEIGHT = 120


def metric_plot(
    rows: pd.DataFrame,
    cells: Mapping[str, Cell],
    names: Sequence[str],
    axis: NumericAxis | None,
    info: MetricInfo,
) -> Spec:
    """One metric: every seed a dot, seeds joined by a thin line, the mean by a thick one.

    `rows` are a frame's rows of the metric, `cells` those of each variant, `names` the variants
    in their order. The axis, where there is one, is the numeric setting that was varied, and has a
    line for each choice of the other settings. Bars are the 95% intervals of means over training
    seeds. A dot tells its seed, value and 95% interval over images; the seed under the pointer
    stands out. Variants on no axis are rows.
    """
    known = set(rows.variant)
    names = [name for name in names if name in known]
    if axis is None:
        return value_plot(rows, cells, names, info)
    dot: Any = alt.ColorValue(COLOURS[0])
    mean_dot: Any = alt.ColorValue(COLOURS[1])
    shown = rows[["variant", "seed", "value", "half_width"]].assign(
        place=rows.variant.map(axis.places), line=rows.variant.map(axis.lines)
    )
    place = _numeric_place(axis.title, shown.place)
    lines = list(dict.fromkeys(axis.lines[name] for name in names))
    if len(lines) > 1:
        dot = mean_dot = variant_colour(lines, "line")
    title = info.unit or None  # the caption has the metric's name
    value = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False, padding=8))
    mean = alt.Y("mean(value):Q", title=title, scale=alt.Scale(zero=False, padding=8))
    seed = alt.selection_point(name="seed", fields=["seed"], on="pointerover", clear="pointerout")
    faint = opacity_of(seed, 0.7, 0.12)
    base = alt.Chart(data(shown)).encode(x=place)
    told = tooltip("variant", "seed", "value", ("half_width", "± over images"))
    dots = (
        base.mark_circle(size=45)
        .encode(y=value, color=dot, opacity=faint, tooltip=told)
        .add_params(seed)
    )
    several = rows.seed.nunique() > 1
    means = base.mark_point(shape="diamond", size=60, filled=True, opacity=1).encode(
        y=mean,
        color=mean_dot,
        detail=alt.Detail("variant:N"),
        tooltip=[
            alt.Tooltip("variant:N"),
            alt.Tooltip("mean(value):Q", title="mean", format=".5~g"),
        ],
    )
    seeds = base.mark_line(strokeWidth=1).encode(
        y=mean, color=dot, detail=[alt.Detail("seed:N"), alt.Detail("line:N")], opacity=faint
    )
    layers: list[Any] = [seeds, dots]
    if several:
        through = base.mark_line(strokeWidth=2).encode(
            y=mean, color=mean_dot, detail=alt.Detail("line:N")
        )
        ends = _intervals(cells, names, axis)
        bars = alt.Chart(data(ends)).mark_rule(strokeWidth=2)
        bars = bars.encode(x=place, y=alt.Y("low:Q", title=title), y2="high:Q", color=mean_dot)
        layers = [seeds, *([bars] if len(ends) else []), through, dots, means]
    return spec(alt.layer(*layers), f"{info.label} of each variant, every seed a dot")


def _intervals(cells: Mapping[str, Cell], names: Sequence[str], axis: NumericAxis) -> pd.DataFrame:
    """Where the mean of each variant may lie, of those of which that is known."""
    found = [
        (axis.places[name], axis.lines[name], cell.mean - half, cell.mean + half)
        for name in names
        if (cell := cells.get(name)) is not None
        and (half := cell.half_width) is not None
        and cell.seeds > 1
    ]
    return pd.DataFrame(found, columns=["place", "line", "low", "high"])


def search_plot(
    points: pd.DataFrame,
    variants: Sequence[str],
    setting: str,
    metric: str,
    domain: tuple[float, float],
) -> Spec:
    """What a search of one sampling setting found.

    A line for each variant's mean over seeds, every seed a dot. `points` have variant, seed, place,
    value, and whether the point was chosen; chosen ones are diamonds. `domain` is the lowest and
    the highest value of all plots of the search.
    """
    names = [name for name in variants if name in set(points.variant)]
    only = alt.selection_point(name="only", fields=["variant"], bind="legend")
    solid = opacity_of(only, 1.0, 0.06)
    faint = opacity_of(only, 0.5, 0.04)
    scale = alt.Scale(domain=domain, zero=False, padding=8)
    value = alt.Y("value:Q", title=metric, scale=scale)
    told = tooltip("variant", "seed", ("place", setting), ("value", metric), "chosen")
    base = alt.Chart(data(points)).encode(
        x=_numeric_place(setting, points.place), color=variant_colour(names)
    )
    means = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("mean(value):Q", title=metric, scale=scale), opacity=solid
    )
    dots = base.mark_circle(size=30).encode(y=value, opacity=faint, tooltip=told)
    chosen = base.transform_filter("datum.chosen == 'yes'").mark_point(
        shape="diamond", size=110, filled=True
    )
    marks = chosen.encode(y=value, opacity=solid, tooltip=told)
    return spec(
        alt.layer(means.add_params(only), dots, marks),
        f"{metric} of each variant against {setting}",
    )


def _numeric_place(title: str, values: Iterable[float]) -> alt.X:
    axis = alt.Axis(values=sorted({float(value) for value in values}), grid=False)
    return alt.X(
        "place:Q", title=title, axis=axis, scale=alt.Scale(padding=15, zero=False, nice=False)
    )


def curve_plot(
    curves: Mapping[str, Sequence[Columns]], loss: str, title: str, small: bool = False
) -> Spec:
    """One loss over steps: a line for each variant's mean over seeds, and thin ones for the seeds.

    A click on a variant in the legend leaves it alone in view; a second one brings the others back.
    A small plot shows all points, where few tell the most, and has fewer of many.
    """
    runs = [
        pd.DataFrame(
            {"variant": variant, "seed": str(index), "step": run["step"], "value": run[loss]}
        ).dropna()
        for variant, of_variant in curves.items()
        for index, run in enumerate(of_variant)
        if loss in run
    ]
    most = SMALL_CURVE_POINTS if small else CURVE_POINTS
    stride = max(1, -(-sum(map(len, runs)) // most))
    points = pd.concat([run[::stride] for run in runs])
    means = points.groupby(["variant", "step"], sort=False)[["value"]].mean().reset_index()
    # The first steps are far above the rest; the plot shows where the runs differ.
    tails = pd.concat([run.value[0 if small else POINTS_CUT :] for run in runs])
    # A curve that stays where it is would have ticks of ten digits.
    margin = 0.05 * (tails.max() - tails.min() or abs(tails.max()) or 1)
    domain = [tails.min() - margin, tails.max() + margin] if len(tails) else alt.Undefined
    chosen = alt.selection_point(name="chosen", fields=["variant"], bind="legend")
    colour = variant_colour(list(curves), drawn=set(points.variant), small=small)
    ticks = 2 if small else 5
    place = alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickCount=ticks))
    value = alt.Y("value:Q", title=None, scale=alt.Scale(domain=domain, zero=False))
    thick = opacity_of(chosen, 1.0, 0.06)
    base = alt.Chart(data(means)).encode(x=place, y=value, color=colour)
    unseen = base.mark_point(size=90, opacity=0, filled=True, clip=True)
    layers: list[Any] = [
        base.mark_line(strokeWidth=2, clip=True).encode(opacity=thick).add_params(chosen),
        unseen.encode(tooltip=tooltip("variant", "step", "value")),
    ]
    if any(len(of_variant) > 1 for of_variant in curves.values()):
        thin = opacity_of(chosen, 0.4, 0.0)
        seeds = alt.Chart(data(points)).mark_line(strokeWidth=0.7, clip=True)
        layers.insert(
            0,
            seeds.encode(x=place, y=value, color=colour, detail=alt.Detail("seed:N"), opacity=thin),
        )
    height = SMALL_HEIGHT if small else HEIGHT
    return spec(alt.layer(*layers), f"{title} over training steps", height)


def scatter_plot(
    rows: pd.DataFrame,
    x: str,
    y: str,
    variants: Sequence[str],
    title: str,
    broken: Collection[str] = (),
    better: tuple[Direction | None, Direction | None] = ("lower", "lower"),
) -> Spec:
    """One metric against another; `better` says where each of them is.

    Every seed is a small dot, every variant's mean a large one. With several training seeds a
    dashed line joins the means that no other mean beats in both (the Pareto front), without the
    `broken` variants, which have collapsed; there is none where a metric is better neither lower
    nor higher. `rows` are a frame's rows; runs that lack one of the two are left out.
    """
    table = (
        rows[rows.metric.isin((x, y))]
        .pivot_table(index=["variant", "seed"], columns="metric", values="value", sort=False)
        .dropna()
        .reset_index()
        .rename(columns={x: "x", y: "y"})
    )
    known = set(table.variant)
    names = [name for name in variants if name in known]
    chosen = alt.selection_point(name="chosen", fields=["variant"], bind="legend")
    faint = opacity_of(chosen, 0.45, 0.04)
    solid = opacity_of(chosen, 1.0, 0.08)
    scale = alt.Scale(zero=False, padding=12)
    axes = {"x": _with_unit(rows, x), "y": _with_unit(rows, y)}

    def encoded(mark: alt.Chart, of: str, opacity: Any, more: Sequence[alt.Tooltip]) -> alt.Chart:
        fields = {axis: of.format(axis) + ":Q" for axis in axes}
        told = [
            alt.Tooltip(field, title=axes[axis], format=".5~g") for axis, field in fields.items()
        ]
        found: alt.Chart = mark.encode(
            x=alt.X(
                fields["x"], title=axes["x"], scale=scale, axis=alt.Axis(grid=False, tickCount=5)
            ),
            y=alt.Y(fields["y"], title=axes["y"], scale=scale),
            color=variant_colour(names),
            opacity=opacity,
            tooltip=[alt.Tooltip("variant:N"), *more, *told],
        )
        return found

    base = alt.Chart(data(table[["variant", "seed", "x", "y"]]))
    dots = encoded(base.mark_circle(size=30), "{}", faint, [alt.Tooltip("seed:N")])
    means = encoded(base.mark_point(shape="diamond", size=110, filled=True), "mean({})", solid, [])
    signs = [{"lower": 1, "higher": -1}.get(direction or "", 0) for direction in better]
    # One training of each tells nothing of which is ahead.
    if table.seed.nunique() < 2 or not all(signs):
        return spec(alt.layer(dots, means.add_params(chosen)), title)
    whole = table[~table.variant.isin(broken)]
    ahead = pareto_front(whole.groupby("variant")[["x", "y"]].mean() * signs) * signs
    dashed: dict[str, Any] = {"strokeDash": [4, 3], "strokeWidth": 1, "opacity": 0.5, "color": INK}
    line = alt.Chart(data(ahead)).mark_line(**dashed)
    joined = line.encode(x=alt.X("x:Q", scale=scale), y=alt.Y("y:Q", scale=scale))
    return spec(alt.layer(joined, dots, means.add_params(chosen)), title)


def pareto_front(means: pd.DataFrame) -> pd.DataFrame:
    """Rows of x and y that no other row beats or equals in both, by rising x; lower is better."""
    ordered = means.sort_values(["x", "y"])
    return ordered[ordered.y < ordered.y.cummin().shift(fill_value=float("inf"))]


def position_plot(
    what: str,
    title: str,
    values: Sequence[float],
    grid: Sequence[int] | None,
    largest: float,
    unit: str,
) -> Spec:
    """The value at each token of a segment, where the token stands in the image, or in a row."""
    columns = grid[1] if grid else len(values)
    cells = pd.DataFrame(
        {
            "token": range(len(values)),
            "row": [i // columns for i in range(len(values))],
            "column": [i % columns for i in range(len(values))],
            "value": values,
        }
    )
    chart = (
        alt.Chart(data(cells))
        .mark_rect()
        .encode(
            x=alt.X("column:O", axis=None),
            y=alt.Y("row:O", axis=None),
            color=alt.Color(
                "value:Q",
                title=unit,
                scale=alt.Scale(scheme="viridis", domain=[0, largest]),
                legend=alt.Legend(
                    direction="horizontal", titleOrient="left", gradientLength=110, tickCount=3
                ),
            ),
            tooltip=tooltip("token", "value"),
        )
    )
    return spec(chart, f"{what} at each token: {title}", HEIGHT * 0.75 if grid else 44)


LINE_HEIGHT = 12
"""Pixels between names of segments."""


def token_plot(rows: pd.DataFrame, series: Sequence[str], largest: float, title: str) -> Spec:
    """Numbers along the tokens of a sequence, a line for each, broken between segments.

    `rows` have token, `of` (which of the `series`), segment, unit and value.
    """
    chosen = alt.selection_point(name="chosen", fields=["of"], bind="legend")
    value = alt.Y(
        "value:Q", title=rows.unit.iloc[0], scale=alt.Scale(domain=[0, largest], nice=True)
    )
    base = alt.Chart(data(rows[["token", "of", "segment", "value"]])).encode(
        x=alt.X("token:Q", title="token", axis=alt.Axis(grid=False, tickMinStep=1)),
        y=value,
        color=variant_colour(series, "of"),
        opacity=opacity_of(chosen, 1.0, 0.08),
    )
    lines = base.mark_line(strokeWidth=2).encode(detail=alt.Detail("segment:N"))
    dots = base.mark_circle(size=20).encode(
        tooltip=[alt.Tooltip("of:N"), alt.Tooltip("segment:N"), *tooltip("token", "value")]
    )
    starts = rows.groupby("segment", sort=False)[["token"]].min().reset_index()
    # One below the other: short segments leave no room for their names.
    names = [
        alt.Chart(data(starts[index : index + 1]))
        .mark_text(align="left", baseline="top", dx=3, dy=LINE_HEIGHT * index, color=INK)
        .encode(x="token:Q", y=alt.value(0), text="segment:N")
        for index in range(len(starts))
    ]
    return spec(alt.layer(lines.add_params(chosen), dots, *names), f"{title}, along the tokens")


def _with_unit(rows: pd.DataFrame, metric: str) -> str:
    first = rows[rows.metric == metric].iloc[0]
    return f"{first.title} ({first.unit})" if first.unit else str(first.title)
