"""Means over seeds, and paired differences from the baseline, with intervals that hold at once.

Three sources of noise are kept apart: training seeds, sampling seeds, and the images that a number
is measured on. Where there are several training seeds, intervals are Student's t over their means;
with one, over its sampling seeds; with one of each, they come from the interval over images that
the metric itself brings.

One family of tests for all reports and claims: for each metric, all variants that are compared with
the baseline, those of equal values once. The 95% intervals of a family are simultaneous
(Bonferroni), whatever the variances of variants and the dependence between them. A verdict is read
off the interval, so that the two cannot disagree.

Where a margin was stated beforehand, a difference whose interval lies within it is equivalent.
Where seeds were added until a metric was decided, its intervals hold at all looks at once too
(`stats.looks`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import NormalDist, fmean
from typing import Literal

from attrs import evolve, frozen

from prologue_bench.stats.intervals import LEVEL, ROUNDING
from prologue_bench.stats.looks import Looks, looks_of_both
from prologue_bench.stats.measured import Measured
from prologue_bench.stats.student import critical, p_value

Verdict = Literal[
    "better",
    "worse",
    "equivalent",
    "noise",
    "same",
    "unknown",
    "collapsed",
    "baseline collapsed",
    "",
]
Basis = Literal["training seeds", "sampling seeds", "images", ""]
"""Over what an interval is taken; empty where there is none."""


@frozen
class Margin:
    """Within what a difference counts as none: a `share` of the baseline's mean.

    `whole` is that in the unit of the metric. The baseline's true mean is not known: the intervals
    of a difference's distances to the share of it are wider than the difference's own, by so many
    of its half widths (`wider`).
    """

    share: float
    whole: float
    wider: float = 0.0

    def limit(self, half_width: float) -> float:
        """Within what an interval of a difference tells that it is none, by half of its width.

        While it lies within that, the distances to the bounds leave zero out too.
        """
        return max(0.0, self.whole - self.wider * half_width)

    def end(self, half_width: float) -> float:
        """Beyond what an interval tells that a difference is more than none, likewise."""
        return self.whole + self.wider * half_width


@frozen(kw_only=True)
class Difference:
    """A mean difference, the half width of its 95% interval, its p-value, and what it is over.

    `count` is the number of seeds or images behind it.

    Interval and p-value are corrected for the `family`, the number of differences that are judged
    together. A difference that is the same in all seeds is `constant`, and has no interval: a
    spread of zero tells nothing of the noise. So it is with weights that were not trained here,
    and it may be by chance where a metric has few values, such as a number of codes. Where seeds
    were added until it was decided, it is corrected for all those `looks` too. It has a `margin`
    where one was stated beforehand.
    """

    mean: float
    half_width: float | None = None
    p_value: float | None = None
    basis: Basis = ""
    count: int = 1
    family: int = 1
    constant: bool = False
    looks: Looks | None = None
    margin: Margin | None = None

    @property
    def identical(self) -> bool:
        """Whether both have the same values in all seeds."""
        return self.constant and self.mean == 0

    @property
    def leaves_zero_out(self) -> bool | None:
        """Whether the interval does; None where there is none over training seeds."""
        if self.half_width is None or self.basis != "training seeds":
            return None
        return abs(self.mean) > self.half_width

    @property
    def is_equivalent(self) -> bool:
        """Whether the interval lies within the margin."""
        if self.margin is None or self.half_width is None:
            return False
        return abs(self.mean) + self.half_width <= self.margin.limit(self.half_width)

    def __neg__(self) -> Difference:
        return evolve(self, mean=-self.mean)


@frozen(kw_only=True)
class Cell:
    """One metric of one variant: its mean over seeds, and the paired difference from the baseline.

    `spread` is the standard deviation over training seeds, `sampling_spread` the one over sampling
    seeds of one training (root mean square), None with one seed; `half_width` is half of the 95%
    interval of the mean, over training seeds where there are several and else over images, where
    the metric knows it. `difference` is None for the baseline and where the two may not be
    compared, and `conflict` then says what differs. `verdict` is "better" or "worse" exactly if the
    difference's interval leaves zero out, "equivalent" if it does not and lies within the margin,
    else "noise", "same" for equal values, and "unknown" without an interval over training seeds.
    Of a model that has collapsed it is "collapsed" where it would be none of "worse", "same" and
    "unknown": that it is near to its own reconstructions, or cheap to code, is no merit. Of another
    model it is "baseline collapsed" where it is held to one that has: that tells nothing of it.
    `same_everywhere` says that all seeds have one and the same measurement, as of a frozen
    tokenizer: it counts as one seed, without a spread. `shared` are the means of this variant and
    of the baseline over the seeds that both have, which differ by the difference.
    """

    mean: float
    seeds: int
    spread: float | None = None
    sampling_spread: float | None = None
    half_width: float | None = None
    difference: Difference | None = None
    verdict: Verdict = ""
    conflict: str = ""
    same_everywhere: bool = False
    shared: tuple[float, float] | None = None

    @property
    def waits_for_seeds(self) -> bool:
        """Whether it is undecided, and more seeds could decide it.

        They could not where the difference is the same in all seeds, or there is none.
        """
        if self.difference is None or (self.difference.constant and self.difference.count > 1):
            return False
        return self.verdict in ("noise", "unknown")


@frozen
class Point:
    """One run's value with its protocol's hash, and half of its interval over images if known.

    Points with one `artifact` are one measurement; empty where it is not known.
    """

    value: float
    protocol: str
    half_width: float | None
    artifact: str = ""
    unit: str = ""
    direction: str = ""
    """Which way it is better."""


Points = Mapping[tuple[int, int], Point]
"""Of one metric and variant, by training seed and sampling seed."""
WAYS = ("unit", "direction")
"""What numbers to be compared must have in common, beside their protocol."""


def conflict(points: Points, reference: Points) -> str:
    """What forbids to compare these numbers: their "protocol", "unit" or "direction".

    Empty where these are equal in all shared seeds, and the numbers may be subtracted.
    """
    shared = [(points[key], reference[key]) for key in _shared(points, reference)]
    return next(
        (
            name
            for name in ("protocol", *WAYS)
            if any(getattr(one, name) != getattr(other, name) for one, other in shared)
        ),
        "",
    )


def points_of(rows: Iterable[Measured]) -> dict[str, dict[str, Points]]:
    """Points by metric and variant, in the order of the rows."""
    found: dict[str, dict[str, dict[tuple[int, int], Point]]] = {}
    for each in rows:
        point = Point(
            value=float(each.value),
            protocol=each.protocol,
            half_width=each.half_width,
            artifact=each.artifact,
            unit=each.unit,
            direction=each.direction,
        )
        of_variant = found.setdefault(each.metric, {}).setdefault(each.variant, {})
        of_variant[each.seed, each.sampling_seed] = point
    return {metric: dict(by_variant) for metric, by_variant in found.items()}


def summarise(
    rows: Sequence[Measured],
    baseline: str | None,
    looks: Mapping[str, Mapping[str, Looks]] | None = None,
    margin: float | None = None,
    collapsed: Collection[str] = (),
) -> dict[str, dict[str, Cell]]:
    """Cells by variant and metric.

    `looks` are those by which seeds were added, by metric and variant, with margins of their own;
    variants of other runs may have others. `margin` is
    that of all other metrics, as a share of the baseline. Of the variants that have `collapsed`
    none is better; where the baseline is one, no difference from it tells anything.
    """
    looks = looks or {}
    cells: dict[str, dict[str, Cell]] = {}
    for metric, by_variant in points_of(rows).items():
        rules = looks.get(metric, {})
        reference = by_variant.get(baseline, {}) if baseline is not None else {}
        compared = [
            name for name in by_variant if name != baseline and _shared(by_variant[name], reference)
        ]
        conflicts = {name: conflict(by_variant[name], reference) for name in compared}
        family = _family([name for name in conflicts if not conflicts[name]], by_variant, reference)
        for name, points in by_variant.items():
            cell = _cell(points, rules.get(name))
            if conflicts.get(name):
                cell = evolve(cell, conflict=conflicts[name])
            elif name in conflicts:
                assert baseline is not None, "it has points"
                looked = looks_between(rules, by_variant, name, baseline)
                difference = paired(points, reference, family, looked, margin)
                verdict = _verdict(difference, next(iter(points.values())).direction)
                if verdict in ("better", "equivalent", "noise", "worse"):
                    if name in collapsed and (verdict != "worse" or baseline in collapsed):
                        verdict = "collapsed"
                    elif baseline in collapsed:
                        verdict = "baseline collapsed"
                both = measured_once(points, reference)
                shared = mean_of(points, both), mean_of(reference, both)
                cell = evolve(cell, difference=difference, verdict=verdict, shared=shared)
            cells.setdefault(name, {})[metric] = cell
    return cells


def _family(compared: Sequence[str], by_variant: Mapping[str, Points], reference: Points) -> int:
    """How many differences are judged together: those over several training seeds; else all."""
    several = [
        name
        for name in compared
        if len({seed for seed, _ in measured_once(by_variant[name], reference)}) > 1
    ]
    return distinct_differences((by_variant[name], reference) for name in several or compared)


def looks_between(
    rules: Mapping[str, Looks], by_variant: Mapping[str, Points], one: str, other: str
) -> Looks | None:
    """How the difference of two variants was looked at while seeds were added to either."""
    shared = measured_once(by_variant[one], by_variant[other])
    return looks_of_both(rules.get(one), rules.get(other), len({seed for seed, _ in shared}))


def distinct_differences(pairs: Iterable[tuple[Points, Points]]) -> int:
    """How many differences are tested where points are compared with others; at least 1.

    Those that have the same values on both sides, seed by seed, are one difference: such are
    variants of one tokenizer in what only the tokenizer decides. Where both sides are equal, as
    with the same run twice, there is none.
    """
    found: set[tuple[tuple[tuple[int, int], str, str], ...]] = set()
    for points, reference in pairs:
        values = tuple(
            (key, f"{points[key].value:.11g}", f"{reference[key].value:.11g}")
            for key in sorted(_shared(points, reference))
        )
        if any(own != other for _, own, other in values):
            found.add(values)
    return max(1, len(found))


def measured_once(*points: Points) -> list[tuple[int, int]]:
    """The seeds that all points have, without those whose measurements are others' over again."""
    shared = [key for key in points[0] if all(key in each for each in points)]
    firsts: dict[tuple[str, ...], tuple[int, int]] = {}
    for key in shared:
        artifacts = tuple(each[key].artifact for each in points)
        firsts.setdefault(artifacts if all(artifacts) else (str(key),), key)
    return list(firsts.values())


def mean_of(points: Points, keys: Iterable[tuple[int, int]]) -> float:
    """The mean over training seeds, of which each is the mean over its sampling seeds."""
    return fmean(map(fmean, _by_training({key: points[key].value for key in keys}).values()))


def _cell(points: Points, looks: Looks | None) -> Cell:
    own = measured_once(points)
    sampled = _by_training({key: points[key].value for key in own})
    means = [fmean(values) for values in sampled.values()]
    finite = all(map(math.isfinite, means))
    variances = (
        [deviation(values) ** 2 for values in sampled.values() if len(values) > 1] if finite else []
    )
    several = finite and len(means) > 1
    alone = points[own[0]].half_width if len(own) == 1 else None
    return Cell(
        mean=fmean(means),
        seeds=len(means),
        spread=deviation(means) if several else None,
        sampling_spread=math.sqrt(fmean(variances)) if variances else None,
        half_width=(_student(means, "training seeds", 1, looks).half_width or None)
        if several
        else alone,
        same_everywhere=len(means) == 1 < len({seed for seed, _ in points}),
    )


def _shared(points: Points, reference: Points) -> list[tuple[int, int]]:
    """The seeds that both have."""
    return [key for key in points if key in reference]


def _by_training(values: Mapping[tuple[int, int], float]) -> dict[int, list[float]]:
    """Values of each training seed, over its sampling seeds."""
    found: dict[int, list[float]] = {}
    for (seed, _), value in values.items():
        found.setdefault(seed, []).append(value)
    return found


def paired(
    points: Points,
    reference: Points,
    family: int = 1,
    looks: Looks | None = None,
    margin: float | None = None,
) -> Difference:
    """The mean difference of two variants over the seeds that both have, one at least.

    `family` is the number of differences whose intervals are to hold at once. `looks` are those by
    which seeds were added, whose margin takes the place of `margin`.
    """
    shared = measured_once(points, reference)
    differences = {key: points[key].value - reference[key].value for key in shared}
    negligible = ROUNDING * max(
        abs(each[key].value) for each in (points, reference) for key in shared
    )
    by_training = [fmean(values) for values in _by_training(differences).values()]
    basis: Basis = (
        "training seeds"
        if len(by_training) > 1
        else "sampling seeds"
        if len(differences) > 1
        else ""
    )
    over = by_training if len(by_training) > 1 else list(differences.values())
    if not all(map(math.isfinite, differences.values())):
        return Difference(mean=math.nan, basis=basis, count=len(over), family=family)
    if max(map(abs, differences.values())) <= negligible:
        return Difference(mean=0.0, basis=basis, count=len(over), family=family, constant=True)
    if basis and max(over) - min(over) <= negligible:
        return Difference(
            mean=fmean(over), basis=basis, count=len(over), family=family, constant=True
        )
    share = margin if looks is None else looks.margin
    if basis == "training seeds" and share is not None:
        found = _student(over, basis, family, looks)
        means = _by_training({key: reference[key].value for key in shared})
        return evolve(found, margin=_margin(over, list(map(fmean, means.values())), found, share))
    if looks is not None:  # one training seed, before any look
        return Difference(
            mean=fmean(over), basis=basis, count=len(over), family=family, looks=looks
        )
    if basis:
        return _student(over, basis, family)
    (key,) = shared
    own, other = points[key].half_width, reference[key].half_width
    if own is None or other is None:
        return Difference(mean=differences[key], family=family)
    normal = NormalDist()
    error = math.hypot(own, other) / normal.inv_cdf(_quantile(1))
    return Difference(
        mean=differences[key],
        half_width=normal.inv_cdf(_quantile(family)) * error,
        p_value=min(1.0, family * math.erfc(abs(differences[key]) / error / math.sqrt(2))),
        basis="images",
        family=family,
    )


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample of two values or more; 0 exactly where all are equal.

    As `statistics.stdev` up to rounding, in a tenth of the time: looks are simulated by thousands.
    """
    shifted = [each - values[0] for each in values]
    mean = fmean(shifted)
    return math.hypot(*(each - mean for each in shifted)) / math.sqrt(len(values) - 1)


def _quantile(family: int) -> float:
    """Where a two-sided interval ends that holds with all others of its family (Bonferroni)."""
    return 1 - (1 - LEVEL) / (2 * family)


def _student(
    values: Sequence[float], basis: Basis, family: int, looks: Looks | None = None
) -> Difference:
    """Student's t interval and p-value of a mean; neither before the first look."""
    mean, count = fmean(values), len(values)
    error = deviation(values) / math.sqrt(count)
    chance = p_value(mean / error, count - 1) if error else float(mean == 0)
    alone = (1 - LEVEL) / family
    level = alone if looks is None else looks.level(alone, count)
    if level is None:
        return Difference(mean=mean, basis=basis, count=count, family=family, looks=looks)
    if looks is not None:
        chance = looks.p_value(chance, count)
    return Difference(
        mean=mean,
        half_width=critical(level, count - 1) * error,
        p_value=min(1.0, family * chance),
        basis=basis,
        count=count,
        family=family,
        looks=looks,
    )


def _margin(
    differences: Sequence[float], baseline: Sequence[float], found: Difference, share: float
) -> Margin | None:
    """The margin of a difference that was found; None where it has no interval.

    Equivalence is that difference minus share * baseline is below zero, and their sum above: two
    one-sided tests (Schuirmann 1987) of a bound that is not known either. An interval of the
    difference within the limit implies both.
    """
    error = deviation(differences)
    if found.half_width is None or not error:
        return None
    pairs = list(zip(differences, baseline, strict=True))
    wider = max(deviation([each + sign * share * base for each, base in pairs]) for sign in (1, -1))
    return Margin(share, share * abs(fmean(baseline)), max(0.0, wider / error - 1))


def _verdict(difference: Difference, direction: str) -> Verdict:
    """What the interval says; one that is not over training seeds says nothing."""
    if difference.identical:
        return "same"
    if direction == "neutral":
        return ""
    if difference.leaves_zero_out is None:
        return "unknown"
    if not difference.leaves_zero_out:
        return "equivalent" if difference.is_equivalent else "noise"
    return "better" if (difference.mean < 0) == (direction == "lower") else "worse"
