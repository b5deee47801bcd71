"""Results and speed compared with a baseline, within tolerances."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import stdev
from typing import Literal

from attrs import evolve, frozen

from prologue_bench.errors import UserError
from prologue_bench.results import documents
from prologue_bench.results.collapse import Collapse, collapsed
from prologue_bench.results.frame import looks_of, measured
from prologue_bench.results.loading import load_numbers
from prologue_bench.results.protocols import differences_of, what_differs
from prologue_bench.results.schema import (
    Baseline,
    BaselineRun,
    MeasurementRecord,
    Numbers,
    Results,
    RunNumbers,
    Speed,
)
from prologue_bench.stats.intervals import LEVEL, ROUNDING
from prologue_bench.stats.looks import Looks
from prologue_bench.stats.measured import Measured
from prologue_bench.stats.student import critical

SPEED = "speed"
"""The metric under which benchmarks stand in gates."""
SPEED_TOLERANCE = 0.25
"""Relative; wide, since the ratio to a calibration kernel takes the machine out but not all of its
noise."""
MACHINE = ("machine", "threads", "device")
"""Fields of a protocol that say where a time was measured."""
Status = Literal["ok", "better", "regression", "missing", "not gated"]


@frozen
class Tolerance:
    """How far a metric may rise or fall: absolute, or a share of the baseline."""

    pattern: str
    amount: float
    relative: bool
    sign: int
    """+1 for a limit on rising, -1 for one on falling."""


@frozen(kw_only=True)
class Check:
    """One number of the results beside the baseline's, with how far it may rise and fall.

    A limit is absolute; None where that side is not gated.
    """

    metric: str
    variant: str
    title: str
    unit: str
    before: float | None
    after: float | None
    rise: float | None
    fall: float | None
    basis: str
    status: Status

    @property
    def failed(self) -> bool:
        """Whether the gate closes."""
        return self.status in ("regression", "missing")


def parse_tolerance(text: str) -> Tolerance:
    """A limit such as gfid:+5%, probe_*:-2 or speed:+30%. Raises UserError."""
    match = re.fullmatch(r"([\w.*?\[\]-]+):([+-])(\d+(?:\.\d+)?)(%?)", text.strip())
    if match is None:
        raise UserError(
            f"--fail-on {text}: expected METRIC:+N, METRIC:-N or with %, such as gfid:+5%"
        )
    pattern, sign, amount, percent = match.groups()
    share = bool(percent)
    return Tolerance(
        pattern, float(amount) / (100 if share else 1), share, 1 if sign == "+" else -1
    )


def check_results(
    results: Numbers, baseline: Numbers, tolerances: Sequence[Tolerance]
) -> list[Check]:
    """Every metric of every variant of the baseline, gated by the tolerances given, else by noise.

    With tolerances, only the metrics that they name are gated. Times of another machine never are.
    Nothing is better of a variant that has collapsed, in the results or in the baseline; where it
    has in the results alone, that is a regression, whatever the tolerances.
    Raises UserError where protocols differ otherwise, and where a tolerance names no metric.
    """
    rows, reference = (_by_metric(measured(each, apart=True)) for each in (results, baseline))
    elsewhere = _measured_elsewhere(results, baseline)
    looks = looks_of(results, baseline)
    variants = {variant for _, variant in reference}
    broken_before, broken_now = collapsed(baseline), collapsed(results)
    known = {metric for metric, _ in reference} | {SPEED}
    for tolerance in tolerances:
        if not any(fnmatchcase(name, tolerance.pattern) for name in known):
            raise UserError(
                f"--fail-on {tolerance.pattern}: no such metric in the baseline: "
                f"{', '.join(sorted(known))}"
            )
    checks = []
    for (metric, variant), before in reference.items():
        after = rows.get((metric, variant), [])
        if not all(math.isfinite(each.value) for each in before) and any(
            fnmatchcase(metric, each.pattern) for each in tolerances
        ):
            raise UserError(
                f"{variant}, {before[0].title}: the baseline holds a number that is not "
                "finite, so --fail-on cannot be checked against it; bless a new baseline"
            )
        check = _check(before, after, tolerances, looks.get(metric, {}).get(variant))
        if metric in elsewhere:
            check = evolve(
                check,
                rise=None,
                fall=None,
                basis="another machine; see --benchmarks",
                status="not gated",
            )
        if check.status == "better" and variant in {*broken_before, *broken_now}:
            check = evolve(check, status="ok")
        checks.append(check)
    return checks + [
        _of_collapse(variant, found)
        for variant, found in broken_now.items()
        if variant in variants and variant not in broken_before
    ]


def _of_collapse(variant: str, found: Collapse) -> Check:
    return Check(
        metric="collapse",
        variant=variant,
        title="collapsed",
        unit="seeds",
        before=0.0,
        after=float(len(found.seeds)),
        rise=0.0,
        fall=None,
        basis=found.reason,
        status="regression",
    )


def missing_seeds(results: Numbers, baseline: Numbers) -> list[str]:
    """Variants that have fewer training seeds than in the baseline, one line each."""
    ours, theirs = (_seeds(each) for each in (results, baseline))
    return [
        f"{variant}: {len(ours.get(variant, set()))} training seeds, the baseline has {len(seeds)}."
        for variant, seeds in theirs.items()
        if len(ours.get(variant, set())) < len(seeds)
    ]


def _seeds(results: Numbers) -> dict[str, set[int]]:
    """The training seeds of each variant of which every metric has a number."""
    found: dict[str, set[int]] = {}
    for (_, variant), rows in _by_metric(measured(results)).items():
        seeds = {each.seed for each in rows}
        found[variant] = found.get(variant, seeds) & seeds
    return found


def _by_metric(rows: Sequence[Measured]) -> dict[tuple[str, str], list[Measured]]:
    """The numbers of each metric and variant."""
    found: dict[tuple[str, str], list[Measured]] = {}
    for each in rows:
        found.setdefault((each.metric, each.variant), []).append(each)
    return found


def _check(
    before: Sequence[Measured],
    after: Sequence[Measured],
    tolerances: Sequence[Tolerance],
    looks: Looks | None,
) -> Check:
    first = before[0]
    was, now = _mean(before), _mean(after)
    assert was is not None, "a metric of the baseline has rows there"
    asked = [each for each in tolerances if fnmatchcase(first.metric, each.pattern)]
    if asked:
        rise, fall = limits(asked, was)
        basis = "--fail-on"
    elif tolerances:
        rise, fall, basis = None, None, "not asked for"
    else:
        limit, basis = noise(before, after, looks)
        rise, fall = (limit if first.direction == worse else None for worse in ("lower", "higher"))
    several = min(len({each.seed for each in rows}) for rows in (before, after)) > 1
    return Check(
        metric=first.metric,
        variant=first.variant,
        title=first.title,
        unit=first.unit,
        before=was,
        after=now,
        rise=rise,
        fall=fall,
        basis=basis,
        status=_status(
            was,
            now,
            rise,
            fall,
            first.direction if several else "neutral",
            bool(asked) or not tolerances,
        ),
    )


def _mean(rows: Sequence[Measured]) -> float | None:
    """Over training seeds, each counted once however often it was sampled from."""
    means = _means(rows)
    return sum(means) / len(means) if means else None


def _means(rows: Sequence[Measured]) -> list[float]:
    """Of each training seed, over its sampling seeds."""
    values: dict[int, list[float]] = {}
    for each in rows:
        values.setdefault(each.seed, []).append(each.value)
    return [sum(values[seed]) / len(values[seed]) for seed in sorted(values)]


def limits(tolerances: Iterable[Tolerance], before: float) -> tuple[float | None, float | None]:
    """How far a number may rise and fall: the tightest limit of each side, None without any."""
    sides: dict[int, list[float]] = {1: [], -1: []}
    for each in tolerances:
        sides[each.sign].append(each.amount * abs(before) if each.relative else each.amount)
    return min(sides[1], default=None), min(sides[-1], default=None)


def _status(
    was: float,
    now: float | None,
    rise: float | None,
    fall: float | None,
    direction: str,
    gated: bool,
) -> Status:
    """What a change comes to.

    It is better where it goes as far in the better direction as a limit allows on either side.
    Without a direction, as with one training seed, nothing is better.
    """
    if not gated or not math.isfinite(was):
        return "not gated"
    if now is None:
        return "missing"
    if not math.isfinite(now):
        return "regression"
    if rise is None and fall is None:
        return "not gated"
    change = now - was
    rounding = ROUNDING * max(abs(was), abs(now))
    if any(
        limit is not None and by > limit + rounding
        for by, limit in ((change, rise), (-change, fall))
    ):
        return "regression"
    better = {"lower": -change, "higher": change}.get(direction, 0.0)
    side, other = (fall, rise) if direction == "lower" else (rise, fall)
    beyond = side if side is not None else other
    return "better" if beyond is not None and better > beyond else "ok"


def _once(rows: Sequence[Measured]) -> list[Measured]:
    """Rows without those whose measurement stands in an earlier one."""
    seen: dict[str, Measured] = {}
    return [
        each for each in rows if not each.artifact or seen.setdefault(each.artifact, each) is each
    ]


def noise(
    before: Sequence[Measured], after: Sequence[Measured], looks: Looks | None = None
) -> tuple[float | None, str]:
    """How far a mean may move by chance (95%), and where that is known from.

    Over seeds: the prediction interval of the new mean, t * s * sqrt(1/n + 1/m), with the
    baseline's spread s over its n seeds. With one seed, or where all have the same value: the
    intervals of both means over images, which hold nothing of the noise of training. A measurement
    that seeds share, as of a frozen tokenizer, is of one seed. Where seeds were added until the
    metric was decided, the interval over seeds is one that holds at all `looks`.
    """
    before, after = _once(before), _once(after)
    means = _means(before)
    count = len(means)
    seeds = max(1, len({each.seed for each in after}))
    spread = stdev(means) if count > 1 and all(map(math.isfinite, means)) else 0.0
    rounding = ROUNDING * max(map(abs, means))
    if spread > rounding:
        level = looks.level(1 - LEVEL, max(count, looks.first)) if looks is not None else None
        width = critical(1 - LEVEL if level is None else level, count - 1)
        return width * spread * math.sqrt(1 / count + 1 / seeds), f"spread over {count} seeds"
    widths = [_width_over_images(rows) for rows in (before, after)]
    known = [width for width in widths if width is not None]
    if len(known) == len(widths):
        return math.hypot(*known), "interval over images"
    return (rounding, f"the same in {count} seeds") if count > 1 else (None, "noise unknown")


def _width_over_images(rows: Sequence[Measured]) -> float | None:
    """Half of the interval over images of the mean of runs; None where one has none.

    Each sampling seed draws images of its own, so that their errors are independent, and average
    out. What is equal in all, such as a number of reconstructions, is one number measured once.
    """
    own = {(each.value, each.half_width) for each in rows}
    widths = [width for _, width in own if width is not None]
    return math.hypot(*widths) / len(own) if own and len(widths) == len(own) else None


def _measured_elsewhere(results: Numbers, baseline: Numbers) -> set[str]:
    """The metrics that were measured on another machine.

    Raises UserError where protocols differ in anything else.
    """
    found_elsewhere = set()
    ours, theirs = (
        {(m.name, *run.place): m for run, m in _measurements(each)} for each in (results, baseline)
    )
    of_all_seeds: dict[tuple[str, str], list[MeasurementRecord]] = {}
    for place, measurement in theirs.items():
        of_all_seeds.setdefault(place[:2], []).append(measurement)
    for place in ours:
        # Means are gated, so a seed that the baseline lacks must have the protocol of its other
        # seeds.
        expected = [theirs[place]] if place in theirs else of_all_seeds.get(place[:2], [])
        found = min((differences_of(ours[place], each) for each in expected), key=len, default=[])
        if found and all(text.partition(":")[0] in MACHINE for text in found):
            found_elsewhere.add(place[0])
        elif found:
            raise UserError(
                f"{place[1]}, {ours[place].title}: the baseline has another {what_differs(found)}, "
                f"they differ in {'; '.join(found)}; "
                "measure with the same protocol, or bless a new baseline"
            )
    return found_elsewhere


def _measurements(results: Numbers) -> Iterable[tuple[RunNumbers, MeasurementRecord]]:
    return ((run, each) for run in results.runs for each in run.measurements)


def read_benchmarks(path: Path) -> dict[str, Speed]:
    """Benchmarks of a JSON of `make bench`, as ratios to the calibration kernel timed around each.

    By name: the ratio of the fastest rounds, and the spread, the interquartile range over the
    median. Raises UserError when the file is not such a JSON.
    """
    return {
        each.name: Speed(
            ratio=each.stats.min / each.extra_info.calibration_seconds,
            spread=each.stats.iqr / each.stats.median,
        )
        for each in documents.read_benchmarks(path)
    }


def check_speed_is_there(tolerances: Sequence[Tolerance], baseline: Numbers) -> None:
    """For when there are no benchmarks: raises UserError where a limit names only the speed."""
    metrics = {measurement.name for _, measurement in _measurements(baseline)}
    for each in tolerances:
        if not any(fnmatchcase(name, each.pattern) for name in metrics):
            raise UserError(
                f"--fail-on {each.pattern}: there is no speed to gate; "
                "give its JSON file with --benchmarks"
            )


def check_speed(
    now: Mapping[str, Speed],
    before: Mapping[str, Speed],
    tolerances: Sequence[Tolerance],
) -> list[Check]:
    """Every benchmark of the baseline beside the new one: ratios to the calibration kernel.

    They are times: a limit with + gates slowing down, one with - speeding up.
    """
    asked = [each for each in tolerances if fnmatchcase(SPEED, each.pattern)]
    checks = []
    for name, old in before.items():
        new = now.get(name)
        fall: float | None = None
        rise: float | None = None
        if asked:
            (rise, fall), basis = limits(asked, old.ratio), "--fail-on"
        elif tolerances:
            basis = "not asked for"
        else:
            share = max(SPEED_TOLERANCE, 3 * old.spread, 3 * new.spread if new else 0)
            rise, basis = share * old.ratio, f"{100 * share:.0f}% of a noisy machine"
        gated = bool(asked) or not tolerances
        ratio = new.ratio if new else None
        checks.append(
            Check(
                metric=SPEED,
                variant=name,
                title=SPEED,
                unit="calibrations",
                before=old.ratio,
                after=ratio,
                rise=rise,
                fall=fall,
                basis=basis,
                status=_status(old.ratio, ratio, rise, fall, "lower", gated),
            )
        )
    return checks


def make_baseline(results: Results, benchmarks: Mapping[str, Speed], note: str) -> Baseline:
    """What a gate needs of results, with their provenance: no pictures, curves or wall times.

    Raises UserError where there is no number, and for one that is not finite: both gate nothing.
    """
    if not any(run.measurements for run in results.runs):
        raise UserError(f"{results.name}: found no numbers; a baseline without any gates nothing")
    for run, measurement in _measurements(results):
        if measurement.value is None or not math.isfinite(measurement.value):
            found = "no number" if measurement.value is None else measurement.value
            raise UserError(
                f"{run.variant}, seed {run.seed}, {measurement.title}: found {found}, "
                "expected a finite number; a baseline without one gates nothing"
            )
    return Baseline(
        schema=results.schema,
        name=results.name,
        title=results.title,
        profile=results.profile,
        baseline=results.baseline,
        seeds=results.seeds,
        sampling_seeds=results.sampling_seeds,
        varied=results.varied,
        variants=results.variants,
        sources=results.sources,
        data=results.data,
        software=results.software,
        hardware=results.hardware,
        created=results.created,
        added_seeds=results.added_seeds,
        equivalence_margin=results.equivalence_margin,
        primary=results.primary,
        leaderboard=results.leaderboard,
        runs=tuple(
            BaselineRun(
                variant=run.variant,
                seed=run.seed,
                sampling_seed=run.sampling_seed,
                measurements=run.measurements,
            )
            for run in results.runs
        ),
        artifacts={
            f"{run.variant}, {run.seeds_text}, {stage.stage}": stage.key
            for run in results.runs
            for stage in run.stages
        },
        benchmarks=benchmarks,
        note=note,
    )


def check_baseline_place(path: Path, results: Results) -> None:
    """Raises UserError where a baseline of these results would take the place of something else.

    That is a file that is no baseline, one of another ablation or profile, and one with runs that
    the results lack.
    """
    if not os.path.lexists(path):
        return
    advice = "name another file with --out, or overwrite it with --force"
    try:
        there = load_numbers(path) if path.is_file() else None
    except UserError:
        there = None
    if there is None or there.artifacts is None:  # the latter are results
        raise UserError(f"{path}: is no baseline, and would be overwritten; {advice}")
    for what, old, new in (
        ("name", there.name, results.name),
        ("profile", there.profile, results.profile),
    ):
        if old != new:
            raise UserError(
                f"{path}: a baseline of {what} {old!s:.60}, and the results are of {new!s:.60}; "
                f"{advice}"
            )
    runs = {run.place for run in results.runs}
    gone = [f"{run.variant}, {run.seeds_text}" for run in there.runs if run.place not in runs]
    if gone:
        raise UserError(
            f"{path}: its runs {'; '.join(gone[:3]):.200} are not in these results ({len(gone)}); "
            f"{advice}"
        )
