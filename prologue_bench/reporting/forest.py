"""Forest plots: variants as rows, every seed a dot, the mean a diamond, and its 95% interval.

The axis follows the intervals and the bulk of the seeds. What lies outside, a seed or a variant
that has collapsed, is an arrow at the edge that tells its value.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from prologue_bench.reporting.names import in_common, short_names, shortest_names
from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.reporting.vega import (
    COLOURS,
    INK,
    Spec,
    data,
    label_expression,
    spec,
    tooltip,
)
from prologue_bench.reporting.verdict import WORDS
from prologue_bench.stats.differences import Cell
from prologue_bench.texts.numbers import signed

VERDICT_COLOURS = {
    "better": "#2f9e52",
    "worse": "#d6473c",
    "equivalent": "#5b82e8",
    "same": "#5b82e8",
    "open": "#8a8f98",
    "collapsed": "#c08a1a",
    "baseline collapsed": "#8a8f98",
    "no verdict": "#8a8f98",
}
"""On light and dark pages alike."""
ROW_HEIGHT, LEAST_HEIGHT = 30, 90
"""Pixels. Plots that stand beside each other have their rows at one height."""
LONGEST_NAME, SHORTEST_NAME = 170, 105
"""Pixels of a variant's name beside its row, in large and small plots."""
SHORTEST_TEXT = 16
"""Characters that such a small row has room for."""


def means_of(rows: pd.DataFrame) -> pd.DataFrame:
    """The values of a metric by training seed and variant, means over sampling seeds."""
    return rows.groupby(["variant", "seed"], sort=False)[["value"]].mean()["value"].unstack(0)


def equal_in_every_seed(means: pd.DataFrame) -> list[list[str]]:
    """The variants in groups that have the same values in every seed, exactly."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, values in means.items():
        groups.setdefault(tuple(map(repr, values)), []).append(str(name))
    return list(groups.values())


def shared_rows(means: pd.DataFrame, names: list[str]) -> dict[str, str]:
    """The first variant of each group of equal ones, and the name of its row in a small plot."""
    short, groups = shortest_names(names), equal_in_every_seed(means[names])
    if len(groups) == 1 < len(names):
        return {names[0]: "all"}
    told = {group[0]: in_common([short[name] for name in group]) for group in groups}
    if "" in told.values() or len(set(told.values())) < len(told):
        alone = [len(group) for group in groups if group[1:]]
        return {
            group[0]: _shared_name(group, short, len(set(alone)) == len(alone)) for group in groups
        }
    return told


def _shared_name(group: Sequence[str], short: Mapping[str, str], by_number: bool) -> str:
    """The name of the row of a variant, or of equal ones with nothing in common in their names."""
    names = " = ".join(short[name] for name in group)
    if len(group) == 1 or len(names) <= SHORTEST_TEXT:
        return names
    if by_number:  # no other row is of as many
        return f"{len(group)} variants"
    return f"{short[group[0]]} and {len(group) - 1} more"


def forest_plot(
    rows: pd.DataFrame,
    cells: Mapping[str, Cell],
    names: Sequence[str],
    baseline: str,
    info: MetricInfo,
    small: bool = False,
    broken: Container[str] = (),
) -> Spec | None:
    """Differences from the baseline on one metric, paired by seed; None where there are none.

    `rows` are a frame's rows of the metric, `cells` those of each variant. Intervals are drawn
    where they are over training seeds: one training tells nothing of another. The axis need not
    reach to the `broken` variants, which have collapsed. In a small plot, variants of the same
    values in every seed share a row.
    """
    means = means_of(rows)
    compared = [name for name in names if name in cells and cells[name].difference is not None]
    if not compared or baseline not in means:
        return None
    shown = short_names(compared)
    if small:
        shown = shared_rows(means, compared)
        compared = list(shown)
    seeds = means[compared].sub(means[baseline], axis=0).reset_index()
    dots = seeds.melt("seed", var_name="variant", value_name="value").dropna()
    summary = pd.DataFrame([_summary(name, cells[name]) for name in compared], columns=SUMMARY)
    word = f" of {info.label} from {baseline}"
    better = {"lower": "← better", "higher": "better →"}.get(info.direction, "")
    # The heading has the unit. A small plot has no room for more.
    title = better if small and better else ", ".join(filter(None, ["difference", better]))
    margin = _margin(cells, compared, baseline)
    ends = _axis(dots, summary, broken, margin)
    layers = _layers(dots, summary, shown, title, small, ends=ends)
    zero = alt.Chart(data(pd.DataFrame({"low": [0.0]}))).mark_rule(color=INK, strokeWidth=1)
    below = [zero.encode(x=alt.X("low:Q", title=title))]
    if margin is not None:
        band = alt.Chart(data(pd.DataFrame({"low": [-margin], "high": [margin]})))
        marked = band.mark_rect(color=VERDICT_COLOURS["equivalent"], opacity=0.13)
        below.insert(0, marked.encode(x=alt.X("low:Q", title=title), x2="high:Q"))
    described = f"Difference{word} of each variant, with 95% intervals over training seeds"
    return spec(alt.layer(*below, *layers), described, _height(compared))


OUTLYING = 10.0
"""Times the middle distance of seeds from their variant's middle, of all and of the variant's own:
farther is not of the bulk."""
FEWEST = 5
"""Seeds of a variant of which one can be told from the bulk."""
SQUEEZED = 2.5
"""Times as long as it need be, an axis leaves too little room for what it is there for."""


def _axis(
    dots: pd.DataFrame, summary: pd.DataFrame, broken: Container[str], margin: float | None
) -> tuple[float, float] | None:
    """Where the axis begins and ends; None where it may as well hold all that is drawn.

    It holds zero, the margin, the bulk of the seeds, and the intervals of those variants of which
    no seed is outlying, since such a seed widens its variant's interval. Variants that have
    collapsed do not count, unless all have.
    """
    if all(name in broken for name in summary.variant):
        return None
    values = dots.groupby("variant").value
    far = (dots.value - values.transform("median")).abs()
    usual = far.groupby(dots.variant).transform("median").clip(lower=far.median())
    are_enough = values.transform("size") >= FEWEST
    is_outlying = (far > OUTLYING * usual) & (usual > 0) & are_enough
    unsteady = set(dots.variant[is_outlying])
    counted = [name not in broken and name not in unsteady for name in summary.variant]
    bulk = dots[~is_outlying]
    inner = pd.concat(
        [
            summary[counted][["value", "low", "high"]].stack(),
            bulk.value[[name not in broken for name in bulk.variant]],
        ]
    ).astype(float)
    reach = [0.0, *(() if margin is None else (-margin, margin)), *inner.dropna()]
    low, high = min(reach), max(reach)
    every = [*dots.value, *summary[["value", "low", "high"]].stack().dropna()]
    if low == high or max(*every, high) - min(*every, low) < SQUEEZED * (high - low):
        return None
    room = EDGE * (high - low)
    return low - room, high + room


ABOVE = 8
"""Pixels by which arrows of seeds stand above their row: on it, the bar and the mean hide them."""
EDGE = 0.06
"""Share of the axis that is left on both sides for arrows."""


def _margin(cells: Mapping[str, Cell], compared: Sequence[str], baseline: str) -> float | None:
    """Within which differences count as none, where that was stated beforehand."""
    shares = [
        difference.margin.share
        for name in compared
        if (difference := cells[name].difference) is not None and difference.margin is not None
    ]
    return min(shares) * abs(cells[baseline].mean) if shares and baseline in cells else None


SUMMARY = ["variant", "value", "low", "high", "verdict", "half_width"]


def _summary(name: str, cell: Cell) -> tuple[Any, ...]:
    difference = cell.difference
    assert difference is not None
    known = difference.basis == "training seeds" and difference.half_width is not None
    half = difference.half_width if known else None
    mean = difference.mean
    ends = (mean - half, mean + half) if half is not None else (None, None)
    return (name, mean, *ends, WORDS.get(cell.verdict, "no verdict"), half)


def value_plot(
    rows: pd.DataFrame, cells: Mapping[str, Cell], names: Sequence[str], info: MetricInfo
) -> Spec:
    """Values of one metric: for variants that stand on no axis of their own.

    Intervals are those of each variant's mean over training seeds.
    """
    shown = [name for name in names if name in set(rows.variant)]
    dots = rows[["variant", "seed", "value", "half_width"]]
    summary = pd.DataFrame(
        [
            (name, cell.mean, *_ends(cell), "open", cell.half_width)
            for name, cell in cells.items()
            if name in shown
        ],
        columns=SUMMARY,
    )
    # The caption has the metric's name.
    layers = _layers(dots, summary, short_names(shown), info.unit or None, True, COLOURS[0])
    return spec(
        alt.layer(*layers), f"{info.label} of each variant, every seed a dot", _height(shown)
    )


def _ends(cell: Cell) -> tuple[float | None, float | None]:
    if cell.seeds < 2 or cell.half_width is None:
        return None, None
    return cell.mean - cell.half_width, cell.mean + cell.half_width


def _height(names: Sequence[str]) -> float:
    return max(LEAST_HEIGHT, len(names) * ROW_HEIGHT)


def _layers(
    dots: pd.DataFrame,
    summary: pd.DataFrame,
    short: Mapping[str, str],
    title: str | None,
    small: bool,
    colour: str | None = None,
    ends: tuple[float, float] | None = None,
) -> list[Any]:
    """Dots, diamonds and bars; `short` has what each variant is called, in their order."""
    dots = dots.assign(variant=dots.variant.map(short))
    summary = summary.assign(variant=summary.variant.map(short))
    limit = SHORTEST_NAME if small and colour is None else LONGEST_NAME
    axis = alt.Axis(
        labelExpr=label_expression(list(short.values()), limit),
        labelLimit=limit,
        labelPadding=6,
        ticks=False,
        domain=False,
        grid=True,
    )
    place = alt.Y("variant:N", title=None, sort=list(short.values()), axis=axis)
    across = alt.X(
        "value:Q",
        title=title,
        scale=_scale(ends),
        axis=alt.Axis(grid=False, tickCount=3 if small else 5),
    )
    paint: Any = alt.ColorValue(colour) if colour else _verdict_colour(summary, small)
    arrows: list[Any] = []
    if ends is not None:
        arrows = [
            *_arrows(dots, ends, place, title, alt.ColorValue(INK), small),
            *_arrows(summary.assign(seed="mean"), ends, place, title, paint, small),
        ]
        dots = dots[dots.value.between(*ends)]
        summary = _within(summary, ends)
    seed = alt.selection_point(name="seed", fields=["seed"], on="pointerover", clear="pointerout")
    faint: Any = alt.when(seed).then(alt.value(0.65)).otherwise(alt.value(0.12))
    in_place = summary.dropna(subset=["value"])[SUMMARY[:2] + SUMMARY[4:]]
    means = alt.Chart(data(in_place)).encode(y=place, color=paint)
    known = alt.Chart(data(summary.dropna(subset=["low"]))).encode(y=place, color=paint)
    told = tooltip("variant", ("value", "mean"), ("half_width", "± 95% interval"))
    bars = known.mark_rule(strokeWidth=2 if small else 3).encode(
        x=alt.X("low:Q", title=title), x2="high:Q"
    )
    seeds = (
        alt.Chart(data(dots))
        .mark_circle(size=22 if small else 40, color=INK)
        .encode(
            y=place,
            x=across,
            opacity=alt.OpacityValue(**faint),
            tooltip=[
                *tooltip("variant", "seed", "value"),
                *(tooltip(("half_width", "± over images")) if "half_width" in dots else ()),
            ],
        )
        .add_params(seed)
    )
    diamonds = means.mark_point(
        shape="diamond", size=60 if small else 150, filled=True, opacity=1
    ).encode(x=across, tooltip=told)
    several = len(dots.seed.unique()) > 1
    has_bars = bool(summary.low.notna().any())
    return [*([bars] if has_bars else []), *([diamonds] if several else []), seeds, *arrows]


def _scale(ends: tuple[float, float] | None) -> alt.Scale:
    if ends is None:
        return alt.Scale(zero=False, padding=12)
    return alt.Scale(zero=False, nice=False, domain=list(ends))


def _within(summary: pd.DataFrame, ends: tuple[float, float]) -> pd.DataFrame:
    """The means between the ends, and as much of all intervals."""
    low, high = ends
    seen = summary.low.isna() | ((summary.low < high) & (summary.high > low))
    cut = summary.assign(low=summary.low.clip(lower=low), high=summary.high.clip(upper=high))
    return cut[seen].assign(value=cut.value.where(cut.value.between(low, high)))


def _arrows(
    points: pd.DataFrame,
    ends: tuple[float, float],
    place: alt.Y,
    title: str | None,
    paint: Any,
    small: bool,
) -> list[Any]:
    """What lies beyond the ends: arrows there, with their values beside those of means."""
    found = []
    for edge, shape in zip(ends, ("left", "right"), strict=True):
        beyond = points[points.value < edge] if shape == "left" else points[points.value > edge]
        if beyond.empty:
            continue
        is_mean = "verdict" in beyond
        texts = [signed(value) for value in beyond.value]
        shown = beyond.drop(columns=["low", "high"], errors="ignore").assign(
            place=edge,
            text=texts,
            told=[
                f"{variant}, {seed if is_mean else f'seed {seed}'}: {text}, beyond the axis"
                for variant, seed, text in zip(beyond.variant, beyond.seed, texts, strict=True)
            ],
        )
        base = alt.Chart(data(shown)).encode(
            y=place, x=alt.X("place:Q", title=title, scale=_scale(ends)), color=paint
        )
        size = (60 if small else 130) if is_mean else (30 if small else 55)
        side = 1 if shape == "left" else -1
        found.append(
            base.mark_point(
                shape=f"triangle-{shape}",
                size=size,
                filled=True,
                opacity=1,
                xOffset=side * math.sqrt(size) / 2,
                yOffset=0 if is_mean else -ABOVE,
            ).encode(
                tooltip=tooltip("variant", "seed", "value"), description=alt.Description("told:N")
            )
        )
        if is_mean and not small:
            labels = base.mark_text(
                align="left" if side > 0 else "right", dx=14 * side, dy=1 - ABOVE
            )
            found.append(labels.encode(text="text:N", color=alt.ColorValue(INK)))
    return found


def _verdict_colour(summary: pd.DataFrame, small: bool) -> alt.Color:
    there = [word for word in VERDICT_COLOURS if word in set(summary.verdict)]
    scale = alt.Scale(domain=there, range=[VERDICT_COLOURS[word] for word in there])
    legend = None if small else alt.Legend(title=None, columns=0)
    return alt.Color("verdict:N", sort=there, scale=scale, legend=legend)
