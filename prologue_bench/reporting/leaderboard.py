"""Variants in their order, with sizes and the metrics that count most."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations

from attrs import field, frozen

from prologue_bench.contracts.stage_kinds import IMPORTED, TRAINED
from prologue_bench.reporting.summary import Cells, MetricInfo, is_judged
from prologue_bench.results.collapse import collapsed
from prologue_bench.results.frame import looks_of, measured
from prologue_bench.results.schema import Results, VariantRecord
from prologue_bench.stats.differences import (
    Points,
    conflict,
    distinct_differences,
    looks_between,
    measured_once,
    paired,
    points_of,
)
from prologue_bench.texts.numbers import number

MATCHED = 0.05
"""Share by which sizes may differ in a fair comparison."""


@frozen
class Rank:
    """How many variants are better, plus one; `tied` where others have the same."""

    place: int
    tied: bool

    def __str__(self) -> str:
        return f"{self.place}{'=' * self.tied}"


@frozen
class Size:
    """One size of the variants, such as tokens; of those that are not known there is none."""

    title: str
    unit: str
    about: str
    texts: Mapping[str, str]
    values: Mapping[str, float]

    @property
    def excess(self) -> float:
        """By which share the largest is above the smallest; infinite where that is 0."""
        low, high = min(self.values.values()), max(self.values.values())
        if low == high:
            return 0.0
        return high / low - 1 if low > 0 else math.inf

    @property
    def is_matched(self) -> bool:
        """Whether the variants may be compared as being of one size."""
        return self.excess <= MATCHED

    @property
    def excess_text(self) -> str:
        """Such as "up to +33%"."""
        return "some have none" if math.isinf(self.excess) else f"up to +{100 * self.excess:.0f}%"


@frozen
class Leaderboard:
    """Names of the variants in their order; `ranks` are None without verdicts.

    A variant that has collapsed has no rank and stands last.
    """

    names: tuple[str, ...]
    ranks: Mapping[str, Rank] | None
    sizes: tuple[Size, ...]
    best: Mapping[str, str]
    """By metric, the variant to be marked."""
    losses: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """The losses of reconstructions of each variant that has any, by their names. Their operations
    are in no size."""

    @property
    def unmatched(self) -> list[Size]:
        """The sizes in which the variants differ too much."""
        return [size for size in self.sizes if not size.is_matched]


def leaderboard(
    results: Results, cells: Cells, primary: MetricInfo | None, metrics: Sequence[MetricInfo]
) -> Leaderboard:
    """The leaderboard by the primary metric.

    Variants with equal ranks stand in the order of their means, those with a verdict first.
    """
    names = [variant.name for variant in results.variants]
    found = ranks(results, cells, primary) if primary is not None else None
    if found is not None and primary is not None:
        names.sort(key=lambda name: _order(name, found, cells, primary))
    return Leaderboard(
        tuple(names),
        found,
        sizes(results),
        best(cells, metrics, collapsed(results)),
        {variant.name: used for variant in results.variants if (used := _losses(variant))},
    )


def _losses(variant: VariantRecord) -> tuple[str, ...]:
    """The names of a variant's losses of reconstructions, sorted."""
    found = variant.settings.tokenizer_training.get("losses", ())
    return tuple(sorted(str(each["use"]) for each in found))


def _order(
    name: str, found: Mapping[str, Rank], cells: Cells, primary: MetricInfo
) -> tuple[float, ...]:
    if name not in found:
        return (math.inf,)
    cell = cells[name][primary.name]
    sign = -1 if primary.direction == "higher" else 1
    return (found[name].place, cell.verdict != "better", sign * cell.mean)


def ranks(results: Results, cells: Cells, info: MetricInfo) -> dict[str, Rank] | None:
    """The ranks of the variants on a metric; None where nothing has a verdict.

    Better than the baseline is what its verdict says. All other pairs are a family of their own,
    whose intervals hold at once. Where an interval includes zero, neither of a pair is better. What
    has collapsed is not ranked; with it, nothing that is compared with a collapsed baseline. Nor is
    what may not be compared with the baseline.
    """
    broken = collapsed(results)
    if results.baseline in broken:
        return None
    known = {name: row[info.name] for name, row in cells.items() if info.name in row}
    if not is_judged({name: {info.name: cell} for name, cell in known.items()}):
        return None
    points = points_of([each for each in measured(results) if each.metric == info.name])[info.name]
    looks = looks_of(results).get(info.name, {})
    pairs = [pair for pair in combinations(known, 2) if results.baseline not in pair]
    sign = 1 if info.direction == "higher" else -1
    losses = {name: 0 for name, cell in known.items() if name not in broken and not cell.conflict}
    family = distinct_differences((points[one], points[other]) for one, other in pairs)
    for one, other in pairs:
        if not {one, other} <= losses.keys() or not _comparable(points[one], points[other]):
            continue
        looked = looks_between(looks, points, one, other)
        difference = paired(points[one], points[other], family, looked)
        if difference.leaves_zero_out:
            losses[other if sign * difference.mean > 0 else one] += 1
    for name, cell in known.items():
        if cell.verdict == "worse" and name in losses:
            losses[name] += 1
        elif cell.verdict == "better" and results.baseline in losses:
            losses[results.baseline] += 1
    counts = list(losses.values())
    return {name: Rank(lost + 1, counts.count(lost) > 1) for name, lost in losses.items()}


def _comparable(one: Points, other: Points) -> bool:
    shared = measured_once(one, other)
    return bool(shared) and not conflict(one, other)


def best(
    cells: Cells, metrics: Sequence[MetricInfo], broken: Collection[str] = ()
) -> dict[str, str]:
    """By metric, the best of the variants that are better than the baseline.

    Where none is, it is the one with the best mean; nothing without verdicts, as of one seed. None
    of the `broken` ones, which have collapsed, is, and none that may not be compared with the
    baseline.
    """
    found = {}
    for info in metrics:
        row = {
            name: of[info.name]
            for name, of in cells.items()
            if info.name in of and name not in broken and not of[info.name].conflict
        }
        if info.direction == "neutral" or not is_judged({n: {"": c} for n, c in row.items()}):
            continue
        better = {name: cell for name, cell in row.items() if cell.verdict == "better"}
        finite = {name: c for name, c in (better or row).items() if math.isfinite(c.mean)}
        choose: Callable[..., str] = max if info.direction == "higher" else min
        if finite and len(row) > 1:
            found[info.name] = choose(finite, key=lambda name: finite[name].mean)
    return found


def sizes(results: Results) -> tuple[Size, ...]:
    """Those that any variant has."""
    flops = _training_flops(results)
    found = (
        _size(
            "Tokens × codes",
            "",
            "Tokens of an image, and how many codes each is chosen from, by segment",
            {v.name: float(sum(each.length for each in v.layout)) for v in results.variants},
            {v.name: _layout_text(v) for v in results.variants},
        ),
        _size(
            "Code length",
            "bits/image",
            "What the tokens of an image can hold: tokens times log2 of codes",
            {v.name: _bits(v) for v in results.variants},
        ),
        _size(
            "Parameters",
            "millions",
            "Of tokenizer and generator together",
            {v.name: sum(v.parameters.values()) / 1e6 for v in results.variants},
        ),
        _size(
            "Training",
            "TFLOP",
            "Operations of training tokenizer, joint prior and generator, without losses such as "
            "LPIPS; what is frozen counts as if it learnt",
            flops,
        ),
    )
    return tuple(size for size in found if size.values)


def _size(
    title: str,
    unit: str,
    about: str,
    values: Mapping[str, float],
    texts: Mapping[str, str] | None = None,
) -> Size:
    known = {name: value for name, value in values.items() if value}
    shown = {name: number(value, 3) for name, value in known.items()}
    return Size(title, unit, about, shown if texts is None else texts, known)


def _layout_text(variant: VariantRecord) -> str:
    return " + ".join(f"{each.length} × {each.vocabulary:,}" for each in variant.layout) or "none"


def _bits(variant: VariantRecord) -> float:
    return sum(each.length * math.log2(each.vocabulary) for each in variant.layout)


def _training_flops(results: Results) -> dict[str, float]:
    """In units of 10^12, of each variant's first run that says it of all its trainings.

    None does of which a training failed or is to come, or a model was imported.
    """
    found: dict[str, float] = {}
    for run in results.runs:
        failed = any(name.startswith(TRAINED) for name in run.failures)
        if run.unfinished or failed or any(each.stage in IMPORTED for each in run.stages):
            continue
        known = [each.flops for each in run.stages if each.stage in TRAINED]
        total = sum(flops for flops in known if flops is not None)
        if total and None not in known:
            found.setdefault(run.variant, total / 1e12)
    return found


def fairness(board: Leaderboard) -> str:
    """A sentence on whether the variants are of one size; empty for a single one."""
    if len(board.names) < 2 or not board.sizes:
        return ""
    uncounted = ""
    if board.losses:
        used = ", ".join(sorted({name for names in board.losses.values() for name in names}))
        uncounted = f" Operations of losses ({used}) are not counted."
    others = len({board.losses.get(name, ()) for name in board.names}) > 1
    if not board.unmatched and not others:
        listed = ", ".join(_small(size.title) for size in board.sizes)
        return (
            f"Fair: all variants are within {100 * MATCHED:.0f}% of each other in {listed}."
            f"{uncounted}"
        )
    told = [f"{_small(size.title)} ({_range(size)})" for size in board.unmatched]
    differ = [f"by more than {100 * MATCHED:.0f}% in {'; '.join(told)}"] * bool(told)
    differ += ["in their losses"] * others
    return (
        f"Not of one size: variants differ {', and '.join(differ)}. Differences may come from that."
        f"{uncounted}"
    )


def _range(size: Size) -> str:
    low, high = min(size.values.values()), max(size.values.values())
    unit = f" {size.unit}" if size.unit else ""
    return f"{number(low, 3)} to {number(high, 3)}{unit}, {size.excess_text}"


def _small(title: str) -> str:
    return "tokens" if title.startswith("Tokens") else title.lower()
