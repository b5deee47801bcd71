"""Interactive plots as Vega-Lite specifications: each metric against what was varied, curves, and trade-offs.

Text and axes take the page's text colour, so that one specification serves light, dark and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import altair as alt
import pandas as pd
import vl_convert

Spec: TypeAlias = dict[str, Any]

COLOURS = ["#5b82e8", "#e07b00", "#3ca951", "#e0457b", "#9a60d4", "#00a3b5", "#a0643f", "#7f8a00"]
HEIGHT = 220
POINTS_CUT = 5
"""Points of a training curve that may lie above the plot."""
CURVE_POINTS = 6000
"""Of one plot at most; more runs are drawn with fewer points each."""
LEGEND_COLUMN = 15
"""Characters of a name that fit into one of two columns."""
INK = "currentColor"
CONFIG: dict[str, Any] = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "domainColor": INK, "tickColor": INK,
        "gridColor": INK, "gridOpacity": 0.12, "labelFontSize": 11, "titleFontSize": 12, "labelLimit": 150,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "labelFontSize": 11,
               "labelLimit": 260, "orient": "bottom", "symbolStrokeWidth": 2, "symbolOpacity": 1, "symbolLimit": 24},
    "range": {"category": COLOURS},
}  # fmt: skip


@cache
def library() -> str:
    """The JavaScript that draws the plots: Vega, Vega-Lite and Vega-Embed, without outside references."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return bundle.replace("</script", "<\\/script")


def metric_plot(rows: pd.DataFrame, variants: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> Spec:
    """One metric: every seed a dot, seeds joined by a thin line, the mean by a thick one.

    `rows` are a frame's rows of one metric. The axis is numeric where one numeric setting was varied. A dot tells its
    seed, value and 95% interval over images; the seed under the pointer stands out.
    """
    key = varied[0] if len(varied) == 1 else None
    values = {v["name"]: v["values"].get(key) for v in variants} if key else {}
    numeric = bool(values) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in values.values())
    known = set(rows.variant)
    names = [variant["name"] for variant in variants if variant["name"] in known]
    shown = rows[["variant", "seed", "value", "half_width"]].assign(place=rows.variant.map(values))
    place: alt.X
    if numeric and key:
        axis = alt.Axis(values=sorted({float(values[name]) for name in names}), grid=False)
        title = key.rpartition(".")[2].replace("_", " ")
        place = alt.X("place:Q", title=title, axis=axis, scale=alt.Scale(padding=15, zero=False, nice=False))
    else:
        place = alt.X("variant:N", title=None, sort=names, axis=alt.Axis(labelAngle=-25, grid=False))
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, padding=8))
    mean = alt.Y("mean(value):Q", title=None, scale=alt.Scale(zero=False, padding=8))
    seed = alt.selection_point(name="seed", fields=["seed"], on="pointerover", clear="pointerout")
    faint = alt.when(seed).then(alt.value(0.7)).otherwise(alt.value(0.12))
    base = alt.Chart(_data(shown)).encode(x=place)
    dots = (
        base.mark_circle(size=45, color=COLOURS[0])
        .encode(y=value, opacity=faint, tooltip=_tooltip("variant", "seed", "value", ("half_width", "± over images")))
        .add_params(seed)
    )
    several = rows.seed.nunique() > 1
    means = base.mark_point(shape="diamond", size=60, filled=True, opacity=1, color=COLOURS[1]).encode(
        y=mean, tooltip=[alt.Tooltip("variant:N"), alt.Tooltip("mean(value):Q", title="mean", format=".5~g")]
    )
    layers: list[Any] = [dots, means] if several else [dots]
    if numeric:
        seeds = base.mark_line(strokeWidth=1, color=COLOURS[0]).encode(y=mean, detail="seed:N", opacity=faint)
        through = base.mark_line(strokeWidth=2, color=COLOURS[1]).encode(y=mean)
        layers = [seeds, *([through] if several else []), *layers]
    return _spec(alt.layer(*layers), f"{rows.title.iloc[0]} of each variant, every seed a dot")


def curve_plot(curves: Mapping[str, list[dict[str, list[float]]]], loss: str, title: str) -> Spec:
    """One loss over steps: a line for each variant's mean over seeds, and thin ones for the seeds.

    A click on a variant in the legend leaves it alone in view; a second one brings the others back.
    """
    runs = [
        pd.DataFrame({"variant": variant, "seed": str(index), "step": run["step"], "value": run[loss]})
        for variant, of_variant in curves.items()
        for index, run in enumerate(of_variant)
        if loss in run
    ]
    stride = max(1, -(-sum(map(len, runs)) // CURVE_POINTS))
    points = pd.concat([run[::stride] for run in runs])
    means = points.groupby(["variant", "step"], sort=False)[["value"]].mean().reset_index()
    # The first steps are far above the rest; the plot shows where the runs differ.
    tails = pd.concat([run.value[POINTS_CUT:] for run in runs])
    margin = 0.05 * (tails.max() - tails.min()) + 1e-9
    domain = [tails.min() - margin, tails.max() + margin] if len(tails) else alt.Undefined
    chosen = alt.selection_point(name="chosen", fields=["variant"], bind="legend")
    colour = _colour(list(curves))
    place = alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickCount=5))
    value = alt.Y("value:Q", title=None, scale=alt.Scale(domain=domain, zero=False))
    thick = alt.when(chosen).then(alt.value(1.0)).otherwise(alt.value(0.06))
    base = alt.Chart(_data(means)).encode(x=place, y=value, color=colour)
    unseen = base.mark_point(size=90, opacity=0, filled=True, clip=True)
    layers: list[Any] = [
        base.mark_line(strokeWidth=2, clip=True).encode(opacity=thick).add_params(chosen),
        unseen.encode(tooltip=_tooltip("variant", "step", "value")),
    ]
    if any(len(of_variant) > 1 for of_variant in curves.values()):
        thin = alt.when(chosen).then(alt.value(0.4)).otherwise(alt.value(0.0))
        seeds = alt.Chart(_data(points)).mark_line(strokeWidth=0.7, clip=True)
        layers.insert(0, seeds.encode(x=place, y=value, color=colour, detail="seed:N", opacity=thin))
    return _spec(alt.layer(*layers), f"{title} over training steps")


def scatter_plot(rows: pd.DataFrame, x: str, y: str, variants: Sequence[str], title: str) -> Spec:
    """One metric against another, both better when lower: every seed a small dot, every variant's mean a large one.

    A dashed line joins the means that no other variant beats in both (the Pareto front). `rows` are a frame's rows;
    runs that lack one of the two are left out.
    """
    table = rows[rows.metric.isin((x, y))].pivot_table(
        index=["variant", "seed"], columns="metric", values="value", sort=False
    ).dropna().reset_index().rename(columns={x: "x", y: "y"})  # fmt: skip
    known = set(table.variant)
    names = [name for name in variants if name in known]
    chosen = alt.selection_point(name="chosen", fields=["variant"], bind="legend")
    faint = alt.when(chosen).then(alt.value(0.45)).otherwise(alt.value(0.04))
    solid = alt.when(chosen).then(alt.value(1.0)).otherwise(alt.value(0.08))
    scale = alt.Scale(zero=False, padding=12)
    axes = {"x": _with_unit(rows, x), "y": _with_unit(rows, y)}

    def encoded(mark: alt.Chart, of: str, opacity: Any, more: Sequence[alt.Tooltip]) -> alt.Chart:
        fields = {axis: of.format(axis) + ":Q" for axis in axes}
        told = [alt.Tooltip(field, title=axes[axis], format=".5~g") for axis, field in fields.items()]
        found: alt.Chart = mark.encode(
            x=alt.X(fields["x"], title=axes["x"], scale=scale, axis=alt.Axis(grid=False, tickCount=5)),
            y=alt.Y(fields["y"], title=axes["y"], scale=scale),
            color=_colour(names), opacity=opacity, tooltip=[alt.Tooltip("variant:N"), *more, *told],
        )  # fmt: skip
        return found

    base = alt.Chart(_data(table[["variant", "seed", "x", "y"]]))
    dots = encoded(base.mark_circle(size=30), "{}", faint, [alt.Tooltip("seed:N")])
    means = encoded(base.mark_point(shape="diamond", size=110, filled=True), "mean({})", solid, [])
    front = _data(pareto_front(table.groupby("variant")[["x", "y"]].mean()))
    line = alt.Chart(front).mark_line(strokeDash=[4, 3], strokeWidth=1, opacity=0.5, color=INK)
    joined = line.encode(x=alt.X("x:Q", scale=scale), y=alt.Y("y:Q", scale=scale))
    return _spec(alt.layer(joined, dots, means.add_params(chosen)), title)


def pareto_front(means: pd.DataFrame) -> pd.DataFrame:
    """The rows of x and y that no other row beats or equals in both, by rising x; lower is better."""
    ordered = means.sort_values(["x", "y"])
    return ordered[ordered.y < ordered.y.cummin().shift(fill_value=float("inf"))]


def position_plot(title: str, values: Sequence[float], grid: Sequence[int] | None, largest: float, unit: str) -> Spec:
    """The value at each token of a segment, where the token stands in the image, or in a row."""
    columns = grid[1] if grid else len(values)
    cells = pd.DataFrame(
        {"token": range(len(values)), "row": [i // columns for i in range(len(values))],
         "column": [i % columns for i in range(len(values))], "value": values}
    )  # fmt: skip
    chart = (
        alt.Chart(_data(cells))
        .mark_rect()
        .encode(
            x=alt.X("column:O", axis=None),
            y=alt.Y("row:O", axis=None),
            color=alt.Color(
                "value:Q",
                title=unit,
                scale=alt.Scale(scheme="viridis", domain=[0, largest]),
                legend=alt.Legend(direction="horizontal", titleOrient="left", gradientLength=110, tickCount=3),
            ),
            tooltip=_tooltip("token", "value"),
        )
    )
    return _spec(chart, f"Codes in use: {title}", HEIGHT * 0.75 if grid else 44)


def _tooltip(*fields: str | tuple[str, str]) -> list[alt.Tooltip]:
    """Names of fields, or pairs of name and title; numbers are shown with five digits."""
    pairs = [(field, field) if isinstance(field, str) else field for field in fields]
    plain = ("variant", "seed", "token", "step")
    return [
        alt.Tooltip(f"{name}:N", title=title) if name in plain else alt.Tooltip(f"{name}:Q", title=title, format=".5~g")
        for name, title in pairs
    ]


def _colour(names: Sequence[str]) -> alt.Color:
    legend = alt.Legend(title=None, columns=1 if max(map(len, names), default=0) > LEGEND_COLUMN else 2)
    return alt.Color("variant:N", sort=list(names), scale=alt.Scale(domain=list(names)), legend=legend)


def _with_unit(rows: pd.DataFrame, metric: str) -> str:
    first = rows[rows.metric == metric].iloc[0]
    return f"{first.title} ({first.unit})" if first.unit else str(first.title)


def _data(rows: pd.DataFrame) -> alt.InlineData:
    """Rows as CSV with five digits, a third of the same as JSON."""
    numbers = {"value", "x", "y", "step", "place", "half_width", "token", "row", "column"} & set(rows.columns)
    parse: dict[str, Any] = {str(name): "number" if name in numbers else "string" for name in rows.columns}
    text = rows.to_csv(index=False, float_format="%.5g")
    return alt.InlineData(values=text, format=alt.CsvDataFormat(type="csv", parse=parse))


def _spec(chart: Any, description: str, height: float = HEIGHT) -> Spec:
    """The specification of a chart as wide as its place on the page; `description` is for those who hear the page."""
    sized = chart.properties(width="container", height=height, description=description)
    found: Spec = sized.to_dict(validate=False)
    fit = {"type": "fit-x", "contains": "padding"}
    return {**found, "autosize": fit, "config": CONFIG}
