"""What all plots have in common.

Vega-Lite specifications as wide as their place on the page, and what draws them. Text and axes take
the page's text colour, so that one specification serves light, dark and print.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeAlias

import altair as alt
import pandas as pd
import vl_convert

from prologue_bench.reporting.names import fitted_names
from prologue_bench.storage.files import user_cache, write_text
from prologue_bench.storage.unfinished import checked_text, read_checked

Spec: TypeAlias = dict[str, Any]

COLOURS = ["#5b82e8", "#e07b00", "#3ca951", "#e0457b", "#9a60d4", "#00a3b5", "#a0643f", "#7f8a00"]
HEIGHT = 220
LEGEND_COLUMN = 15
"""Characters of a name that fit into one of two columns."""
LEGEND_NAME, SMALL_LEGEND_NAME = 260, 150
"""Pixels of a variant's name in the legends of large and small plots."""
CHARACTER = 7.0
"""Pixels of a character of a label, in the mean over letters of a wide font."""

INK = "currentColor"
NUMBERS = {
    *("value", "x", "y", "step", "place", "half_width", "low", "high"),
    *("token", "row", "column"),
}
"""Columns of plots that are not texts."""
CONFIG: dict[str, Any] = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "domainColor": INK,
        "tickColor": INK,
        "gridColor": INK,
        "gridOpacity": 0.12,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "labelLimit": 150,
    },
    "axisY": {"titleLimit": HEIGHT},  # a longer one makes its plot higher; the caption has it whole
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "labelLimit": LEGEND_NAME,
        "orient": "bottom",
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
        "symbolLimit": 24,
    },
    "range": {"category": COLOURS},
}


@cache
def library() -> str:
    """JavaScript that draws plots: Vega, Vega-Lite and Vega-Embed, without outside references.

    It is kept in the user's cache: bundling it takes a second.
    """
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    kept = user_cache() / f"vega-{version}-{importlib.metadata.version('vl-convert-python')}.js"
    if (found := read_checked(kept)) is not None:
        text: str = json.loads(found)
        return text
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    text = bundle.replace("</script", "<\\/script")
    with suppress(OSError):  # a cache that cannot be written costs the second again
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, checked_text(json.dumps(text)))
    return text


def spec(chart: Any, description: str, height: float = HEIGHT) -> Spec:
    """The specification of a chart as wide as its place on the page.

    `description` is for those who hear the page.
    """
    sized = chart.properties(width="container", height=height, description=description)
    found: Spec = sized.to_dict(validate=False)
    fit = {"type": "fit-x", "contains": "padding"}
    return {**found, "autosize": fit, "config": CONFIG}


def data(rows: pd.DataFrame) -> alt.InlineData:
    """Rows as CSV with five digits, a third of the same as JSON."""
    numbers = NUMBERS & set(rows.columns)
    parse: dict[str, Any] = {
        str(name): "number" if name in numbers else "string" for name in rows.columns
    }
    text = rows.to_csv(index=False, float_format="%.5g")
    return alt.InlineData(values=text, format=alt.CsvDataFormat(type="csv", parse=parse))


def tooltip(*fields: str | tuple[str, str]) -> list[alt.Tooltip]:
    """Names of fields, or pairs of name and title; numbers are shown with five digits."""
    pairs = [(field, field) if isinstance(field, str) else field for field in fields]
    plain = ("variant", "seed", "token", "step", "chosen")
    return [
        alt.Tooltip(f"{name}:N", title=title)
        if name in plain
        else alt.Tooltip(f"{name}:Q", title=title, format=".5~g")
        for name, title in pairs
    ]


def opacity_of(chosen: alt.Parameter, inside: float, outside: float) -> alt.OpacityValue:
    """Of what is chosen, and of the rest.

    Made at once as the class that it is: altair takes seconds per page to find out classes.
    """
    condition: Any = alt.when(chosen).then(alt.value(inside)).otherwise(alt.value(outside))
    return alt.OpacityValue(**condition)


def label_expression(names: Sequence[str], pixels: int) -> Any:
    """What shows names within so many pixels; undefined where all of them fit.

    Data, tooltips and choices keep the whole names.
    """
    shown = fitted_names(names, int(pixels / CHARACTER))
    shorter = {name: text for name, text in shown.items() if text != name}
    return f"{json.dumps(shorter)}[datum.label] || datum.label" if shorter else alt.Undefined


def variant_colour(
    names: Sequence[str],
    field: str = "variant",
    drawn: Collection[str] | None = None,
    small: bool = False,
) -> alt.Color:
    """A colour for each variant, in order, and a legend as wide as its names need.

    The legend has those that are `drawn`, by default all; colours are the same in all plots.
    """
    shown = [name for name in names if drawn is None or name in drawn]
    columns = 1 if max(map(len, shown), default=0) > LEGEND_COLUMN else 2
    values = alt.Undefined if drawn is None else shown
    legend = alt.Legend(
        title=None,
        columns=columns,
        values=values,
        labelExpr=label_expression(shown, SMALL_LEGEND_NAME if small else LEGEND_NAME),
    )
    return alt.Color(
        f"{field}:N", sort=list(names), scale=alt.Scale(domain=list(names)), legend=legend
    )
