"""Means over seeds, and differences from the baseline: paired, with intervals, corrected for how many there are.

Three sources of noise are kept apart: training seeds, sampling seeds, and the images that a number is measured on.
Where there are several training seeds, intervals are Student's t over their means; with one, over its sampling seeds;
with one of each, they come from the bootstrap over images that the metric itself brings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev, variance
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


@frozen
class Point:
    """One run's value with its protocol's hash, and half of its interval over images where that is known."""

    value: float
    protocol: str
    half_width: float | None


Points = Mapping[tuple[int, int], Point]
"""Of one metric and variant, by training seed and sampling seed."""


def points_of(frame: pd.DataFrame) -> dict[str, dict[str, Points]]:
    """Points by metric and variant, from a frame as `results.frame` makes it; in the frame's order."""
    found: dict[str, dict[str, Points]] = {}
    runs: dict[tuple[str, str], dict[tuple[int, int], Point]] = {}
    widths = frame["half_width"] if "half_width" in frame else [None] * len(frame)
    columns = (frame[name] for name in ("metric", "variant", "seed", "sampling_seed", "value", "protocol"))
    for metric, variant, seed, sampling_seed, value, protocol, width in zip(*columns, widths, strict=True):
        known = None if width is None or pd.isna(width) else float(width)
        point = Point(float(value), str(protocol), known)
        runs.setdefault((metric, variant), {})[int(seed), int(sampling_seed)] = point
    for (metric, variant), points in runs.items():
        found.setdefault(metric, {})[variant] = points
    return found


def summarise(frame: pd.DataFrame, baseline: str | None) -> dict[str, dict[str, Cell]]:
    """Cells by variant and metric, from a frame as `results.frame` makes it."""
    directions = dict(zip(frame.metric, frame.direction, strict=True))
    cells: dict[str, dict[str, Cell]] = {}
    for metric, by_variant in points_of(frame).items():
        reference = by_variant.get(baseline) if baseline is not None else None
        found = {name: _cell(points, reference if name != baseline else None) for name, points in by_variant.items()}
        corrected = holm([cell.difference.p_value if cell.difference else None for cell in found.values()])
        for (name, cell), p_value in zip(found.items(), corrected, strict=True):
            cells.setdefault(name, {})[metric] = _judged(cell, p_value, directions[metric])
    return cells


def _cell(points: Points, reference: Points | None) -> Cell:
    sampled = _by_training({key: point.value for key, point in points.items()})
    means = [fmean(values) for values in sampled.values()]
    variances = [variance(values) for values in sampled.values() if len(values) > 1]
    alone = next(iter(points.values())).half_width if len(points) == 1 else None
    cell = Cell(
        mean=fmean(means),
        seeds=len(means),
        spread=stdev(means) if len(means) > 1 else None,
        sampling_spread=math.sqrt(fmean(variances)) if variances else None,
        half_width=_student(means, "training seeds").half_width if len(means) > 1 else alone,
    )
    shared = [key for key in points if reference is not None and key in reference]
    if reference is None or not shared:
        return cell
    for key in shared:
        if points[key].protocol != reference[key].protocol:
            return evolve(cell, conflict=(points[key].protocol, reference[key].protocol))
    return evolve(cell, difference=paired(points, reference))


def _by_training(values: Mapping[tuple[int, int], float]) -> dict[int, list[float]]:
    """Values of each training seed, over its sampling seeds."""
    found: dict[int, list[float]] = {}
    for (seed, _), value in values.items():
        found.setdefault(seed, []).append(value)
    return found


def paired(points: Points, reference: Points) -> Difference:
    """The mean difference of two variants over the seeds that both have, of which there must be some."""
    shared = [key for key in points if key in reference]
    differences = {key: points[key].value - reference[key].value for key in shared}
    by_training = [fmean(values) for values in _by_training(differences).values()]
    if len(by_training) > 1:
        return _student(by_training, "training seeds")
    if len(differences) > 1:
        return _student(list(differences.values()), "sampling seeds")
    (key,) = shared
    difference, own, other = differences[key], points[key].half_width, reference[key].half_width
    if own is None or other is None:
        return Difference(mean=difference)
    half_width = math.hypot(own, other)
    error = half_width / float(ndtri((1 + LEVEL) / 2))
    p_value = 2 * float(ndtr(-abs(difference) / error)) if error else float(difference == 0)
    return Difference(mean=difference, half_width=half_width, p_value=p_value, basis="images")


def _student(differences: Sequence[float], basis: Basis) -> Difference:
    """Student's t interval and p-value of a mean difference."""
    mean, count = fmean(differences), len(differences)
    error = stdev(differences) / math.sqrt(count)
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
    elif p_value is not None and difference.basis != "images":  # other images would not, another training might
        verdict = "better" if (difference.mean < 0) == (direction == "lower") else "worse"
    return evolve(cell, difference=difference, verdict="" if direction == "neutral" else verdict)
