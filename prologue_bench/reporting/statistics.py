"""Means over seeds, and differences from the baseline: paired, with intervals, corrected for how many there are.

Three sources of noise are kept apart: training seeds, sampling seeds, and the images that a number is measured on.
Where there are several training seeds, intervals are Student's t over their means; with one, over its sampling seeds;
with one of each, they come from the bootstrap over images that the metric itself brings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd
from attrs import evolve, frozen
from scipy.special import ndtr, ndtri, stdtr, stdtrit

LEVEL = 0.95
Verdict = Literal["better", "worse", "noise", "unknown", ""]
Basis = Literal["training seeds", "sampling seeds", "images", ""]
"""Over what an interval is taken; empty where there is none."""


@frozen(kw_only=True)
class Difference:
    """A mean difference with half of its 95% interval, two-sided p-value, and the number of what it is taken over."""

    mean: float
    half_width: float | None = None
    p_value: float | None = None
    basis: Basis = ""
    count: int = 1


@frozen(kw_only=True)
class Cell:
    """One metric of one variant: its mean over seeds, and the paired difference from the baseline.

    `spread` is the standard deviation over training seeds, `sampling_spread` the one over sampling seeds of one
    training (root mean square), None with one seed; `half_width` is half of the 95% interval of the mean, over
    training seeds where there are several and else over images, where the metric knows it. `difference` is None for
    the baseline and where protocols differ, and `conflict` then holds the two protocols' hashes; its p-value is
    corrected by Holm's method for the number of variants.
    """

    mean: float
    seeds: int
    spread: float | None = None
    sampling_spread: float | None = None
    half_width: float | None = None
    difference: Difference | None = None
    verdict: Verdict = ""
    conflict: tuple[str, str] | None = None


def summarise(frame: pd.DataFrame, baseline: str | None) -> dict[str, dict[str, Cell]]:
    """Cells by variant and metric, from a frame as `results.frame` makes it."""
    cells: dict[str, dict[str, Cell]] = {}
    for metric, rows in frame.groupby("metric", sort=False):
        by_variant = {str(name): _by_seed(part) for name, part in rows.groupby("variant", sort=False)}
        reference = by_variant.get(baseline) if baseline is not None else None
        found = {name: _cell(part, reference if name != baseline else None) for name, part in by_variant.items()}
        direction = str(rows.direction.iloc[0])
        corrected = holm([cell.difference.p_value if cell.difference else None for cell in found.values()])
        for (name, cell), p_value in zip(found.items(), corrected, strict=True):
            cells.setdefault(name, {})[str(metric)] = _judged(cell, p_value, direction)
    return cells


def _by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_index(["seed", "sampling_seed"])


def _cell(rows: pd.DataFrame, reference: pd.DataFrame | None) -> Cell:
    means = rows.value.groupby("seed").mean()
    sampled = rows.value.groupby("seed").var(ddof=1).mean()
    cell = Cell(
        mean=float(means.mean()),
        seeds=len(means),
        spread=float(means.std(ddof=1)) if len(means) > 1 else None,
        sampling_spread=None if pd.isna(sampled) else math.sqrt(sampled),
        half_width=_student(list(means), "training seeds").half_width if len(means) > 1 else _one_half_width(rows),
    )
    if reference is None:
        return cell
    shared = rows.index.intersection(reference.index)
    if not len(shared):
        return cell
    differing = shared[rows.protocol[shared] != reference.protocol[shared]]
    if len(differing):
        return evolve(cell, conflict=(rows.protocol[differing[0]], reference.protocol[differing[0]]))
    return evolve(cell, difference=paired(rows.loc[shared], reference.loc[shared]))


def _one_half_width(rows: pd.DataFrame) -> float | None:
    half_width = rows.half_width.iloc[0] if "half_width" in rows else None
    return None if half_width is None or pd.isna(half_width) else float(half_width)


def paired(rows: pd.DataFrame, reference: pd.DataFrame) -> Difference:
    """The mean difference of two variants over the same (seed, sampling_seed), of rows indexed by those."""
    differences = rows.value - reference.value
    by_training = differences.groupby("seed").mean()
    if len(by_training) > 1:
        return _student(list(by_training), "training seeds")
    if len(differences) > 1:
        return _student(list(differences), "sampling seeds")
    difference = float(differences.iloc[0])
    own, other = _one_half_width(rows), _one_half_width(reference)
    if own is None or other is None:
        return Difference(mean=difference)
    half_width = math.hypot(own, other)
    error = half_width / float(ndtri((1 + LEVEL) / 2))
    p_value = 2 * float(ndtr(-abs(difference) / error)) if error else float(difference == 0)
    return Difference(mean=difference, half_width=half_width, p_value=p_value, basis="images")


def _student(differences: Sequence[float], basis: Basis) -> Difference:
    """Student's t interval and p-value of a mean difference."""
    series = pd.Series(differences)
    mean, count = float(series.mean()), len(series)
    error = float(series.std(ddof=1)) / math.sqrt(count)
    half_width = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * error
    p_value = float(2 * stdtr(count - 1, -abs(mean) / error)) if error else float(mean == 0)
    return Difference(mean=mean, half_width=half_width, p_value=p_value, basis=basis, count=count)


def holm(p_values: Iterable[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979): the k-th smallest of m times m - k + 1, never falling.

    None stands for a test that could not be made, and is not counted.
    """
    corrected = list(p_values)
    known = sorted((p, index) for index, p in enumerate(corrected) if p is not None)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[index] = largest
    return corrected


def _judged(cell: Cell, p_value: float | None, direction: str) -> Cell:
    """The cell with its corrected p-value, and what that says."""
    if cell.difference is None:
        return cell
    difference = evolve(cell.difference, p_value=p_value)
    verdict: Verdict = "unknown"
    if p_value is not None and p_value >= 1 - LEVEL:
        verdict = "noise"
    elif p_value is not None:
        verdict = "better" if (difference.mean < 0) == (direction == "lower") else "worse"
    return evolve(cell, difference=difference, verdict="" if direction == "neutral" else verdict)
