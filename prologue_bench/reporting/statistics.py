"""Means over seeds, and differences from the baseline paired by seed."""

from __future__ import annotations

import math
from typing import Literal

import pandas as pd
from attrs import frozen
from scipy.special import stdtrit

LEVEL = 0.95
Verdict = Literal["better", "worse", "noise", "unknown", ""]


@frozen(kw_only=True)
class Cell:
    """One metric of one variant: its mean over seeds, and the paired difference from the baseline.

    `spread` is the standard deviation over seeds and `half_width` half of the 95% interval of the difference; both are
    None with one seed. `difference` is None for the baseline and where protocols differ.
    """

    mean: float
    seeds: int
    spread: float | None
    difference: float | None = None
    half_width: float | None = None
    verdict: Verdict = ""


def summarise(frame: pd.DataFrame, baseline: str | None) -> dict[str, dict[str, Cell]]:
    """Cells by variant and metric, from a frame as `results.frame` makes it."""
    cells: dict[str, dict[str, Cell]] = {}
    for (variant, metric), rows in frame.groupby(["variant", "metric"], sort=False):
        values = rows.set_index("seed")
        reference = frame[(frame.variant == baseline) & (frame.metric == metric)].set_index("seed")
        cells.setdefault(str(variant), {})[str(metric)] = _cell(values, reference, variant == baseline)
    return cells


def _cell(values: pd.DataFrame, reference: pd.DataFrame, is_baseline: bool) -> Cell:
    mean = float(values.value.mean())
    spread = float(values.value.std(ddof=1)) if len(values) > 1 else None
    shared = values.index.intersection(reference.index)
    comparable = len(shared) > 0 and (values.protocol[shared] == reference.protocol[shared]).all()
    if is_baseline or not comparable:
        return Cell(mean=mean, seeds=len(values), spread=spread)
    differences = values.value[shared] - reference.value[shared]
    difference = float(differences.mean())
    half_width = None
    verdict: Verdict = "unknown"
    if len(shared) > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(len(shared))
        half_width = float(stdtrit(len(shared) - 1, (1 + LEVEL) / 2)) * error
        verdict = _verdict(difference, half_width, str(values.direction.iloc[0]))
    return Cell(
        mean=mean, seeds=len(values), spread=spread, difference=difference, half_width=half_width, verdict=verdict
    )


def _verdict(difference: float, half_width: float, direction: str) -> Verdict:
    if direction == "neutral":
        return ""
    if abs(difference) <= half_width:
        return "noise"
    return "better" if (difference < 0) == (direction == "lower") else "worse"
