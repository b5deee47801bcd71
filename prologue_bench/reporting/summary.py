"""What the summary table shows of results, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from attrs import frozen

from prologue_bench.reporting.formatting import number, short, signed
from prologue_bench.reporting.statistics import Cell

ARROWS = {"lower": "↓", "higher": "↑", "neutral": ""}


@frozen
class MetricInfo:
    """How a metric is shown."""

    name: str
    title: str
    unit: str
    direction: str
    detail: bool = False

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS[self.direction]


def metric_infos(rows: pd.DataFrame) -> list[MetricInfo]:
    """The metrics of a frame in order of appearance."""
    firsts = rows.drop_duplicates("metric").to_dict("records")
    return [MetricInfo(row["metric"], row["title"], row["unit"], row["direction"], row["detail"]) for row in firsts]


def split_metrics(
    metrics: list[MetricInfo], rows: pd.DataFrame, results: Mapping[str, Any]
) -> tuple[list[MetricInfo], list[MetricInfo]]:
    """Those with a better direction that every variant has and that are no details, for the summary; and the rest."""
    variants = {run["variant"] for run in results["runs"] if run["measurements"]}
    everywhere = {info.name for info in metrics if set(rows[rows.metric == info.name].variant) == variants}
    main = [info for info in metrics if info.direction != "neutral" and info.name in everywhere and not info.detail]
    return main, [info for info in metrics if info not in main]


def findings(
    cells: Mapping[str, Mapping[str, Cell]], metrics: list[MetricInfo], results: Mapping[str, Any]
) -> list[str]:
    """What the table comes to: a sentence for each metric on which the best variant stands out, one for all others."""
    sentences, noise = [], []
    for info in metrics:
        known = {name: by_metric[info.name] for name, by_metric in cells.items() if info.name in by_metric}
        if not known:
            continue
        pick = min if info.direction == "lower" else max
        best = pick(known, key=lambda name: known[name].mean)
        found = known[best].difference
        if found is not None and known[best].verdict == "noise":
            noise.append(info.title)
            continue
        unit = f" {info.unit}" if info.unit else ""
        sentence = f"{info.title}: best with {best}, {number(known[best].mean)}{unit}"
        if found is not None:
            sentence += f", {signed(found.mean)} against {results['baseline']}"
        if found is not None and found.half_width is not None:
            over = found.basis if found.basis == "images" else f"{found.count} {found.basis}"
            sentence += f" (95% interval ± {short(found.half_width)} over {over})"
        sentences.append(sentence + ".")
    if noise:
        sentences.append(f"The best is not distinguishable from {results['baseline']}: {'; '.join(noise)}.")
    return sentences


def reading(results: Mapping[str, Any], cells: Mapping[str, Mapping[str, Cell]]) -> str:
    """How to read a cell of the summary: what is behind the mean and the difference."""
    bases = {cell.difference.basis for row in cells.values() for cell in row.values() if cell.difference}
    variants = len(results["variants"]) - 1
    corrected = f", corrected (Holm) for {variants} variants against one baseline" if variants > 1 else ""
    marked = (
        "Differences that the noise could have made (p ≥ 0.05" + corrected + ") are marked n.s."
        if bases - {""}
        else "Run with more seeds for intervals."
    )
    if "training seeds" in bases or len(results["seeds"]) > 1:
        return (
            f"Each cell: mean ± standard deviation over {len(results['seeds'])} training seeds; below or in "
            f"brackets the "
            f"difference from the baseline, paired by seed, with its 95% interval (Student's t). {marked}"
        )
    if "sampling seeds" in bases:
        return (
            "One training seed: means over sampling seeds, and below or in brackets the difference from the "
            "baseline with "
            f"its 95% interval over those, without the noise of training. {marked}"
        )
    return (
        "One seed: below or in brackets the difference from the baseline; its 95% interval, where there is one, is "
        "over "
        f"images alone (bootstrap), without the noise of training and sampling seeds. {marked}"
    )
