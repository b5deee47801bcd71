"""Results and speed compared with a baseline, within tolerances."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from attrs import evolve, frozen
from scipy.special import stdtrit

from prologue_bench.errors import UserError
from prologue_bench.results import documents
from prologue_bench.results.frame import frame
from prologue_bench.results.loading import load_numbers
from prologue_bench.results.protocols import differences
from prologue_bench.stats.intervals import LEVEL, ROUNDING

SPEED = "speed"
"""The metric under which benchmarks stand in gates."""
SPEED_TOLERANCE = 0.25
"""Relative; wide, since the ratio to a calibration kernel takes the machine out but not all of its
noise."""
CALIBRATION = "calibration_seconds"
"""Under which each benchmark holds the time of the kernel that it is divided by
(benchmarks/conftest.py)."""
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
    results: Mapping[str, Any], baseline: Mapping[str, Any], tolerances: Sequence[Tolerance]
) -> list[Check]:
    """Every metric of every variant of the baseline, gated by the tolerances given, else by noise.

    With tolerances, only the metrics that they name are gated. Times of another machine never are.
    Raises UserError where protocols differ otherwise, and where a tolerance names no metric.
    """
    rows, reference = frame({**results, "varied": ()}), frame({**baseline, "varied": ()})
    elsewhere = _measured_elsewhere(results, baseline)
    known = set(reference.metric) | {SPEED}
    for tolerance in tolerances:
        if not any(fnmatchcase(name, tolerance.pattern) for name in known):
            raise UserError(
                f"--fail-on {tolerance.pattern}: no such metric in the baseline: "
                f"{', '.join(sorted(known))}"
            )
    checks = []
    for (metric, variant), before in reference.groupby(["metric", "variant"], sort=False):
        after = rows[(rows.metric == metric) & (rows.variant == variant)]
        if not np.isfinite(before.value).all() and any(
            fnmatchcase(str(metric), each.pattern) for each in tolerances
        ):
            raise UserError(
                f"{variant}, {before.title.iloc[0]}: the baseline holds a number that is not "
                "finite, so --fail-on has nothing to hold to; bless a new baseline"
            )
        check = _check(str(metric), str(variant), before, after, tolerances)
        if metric in elsewhere:
            check = evolve(
                check,
                rise=None,
                fall=None,
                basis="another machine; see --benchmarks",
                status="not gated",
            )
        checks.append(check)
    return checks


def _check(
    metric: str,
    variant: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
    tolerances: Sequence[Tolerance],
) -> Check:
    direction = str(before.direction.iloc[0])
    was, now = _mean(before), _mean(after)
    assert was is not None, "a metric of the baseline has rows there"
    asked = [each for each in tolerances if fnmatchcase(metric, each.pattern)]
    if asked:
        rise, fall = limits(asked, was)
        basis = "--fail-on"
    elif tolerances:
        rise, fall, basis = None, None, "not asked for"
    else:
        limit, basis = noise(before, after)
        rise, fall = (limit if direction == worse else None for worse in ("lower", "higher"))
    several = min(before.seed.nunique(), after.seed.nunique()) > 1
    return Check(
        metric=metric,
        variant=variant,
        title=str(before.title.iloc[0]),
        unit=str(before.unit.iloc[0]),
        before=was,
        after=now,
        rise=rise,
        fall=fall,
        basis=basis,
        status=_status(
            was, now, rise, fall, direction if several else "neutral", bool(asked) or not tolerances
        ),
    )


def _mean(rows: pd.DataFrame) -> float | None:
    """Over training seeds, each counted once however often it was sampled from."""
    means = [sum(values) / len(values) for _, values in rows.groupby("seed").value]
    return sum(means) / len(means) if means else None


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


def _once(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows without those whose measurement stands in an earlier one."""
    return rows[~rows.artifact.duplicated() | (rows.artifact == "")]


def noise(before: pd.DataFrame, after: pd.DataFrame) -> tuple[float | None, str]:
    """How far a mean may move by chance (95%), and where that is known from.

    Over seeds: the prediction interval of the new mean, t * s * sqrt(1/n + 1/m), with the
    baseline's spread s over its n seeds. With one seed, or where all have the same value: the
    intervals of both means over images, which hold nothing of the noise of training. A measurement
    that seeds share, as of a frozen tokenizer, is of one seed.
    """
    before, after = _once(before), _once(after)
    means = before.groupby("seed").value.mean()
    count = len(means)
    seeds = max(1, after.seed.nunique())
    spread = float(means.std(ddof=1)) if count > 1 else 0.0
    rounding = ROUNDING * float(means.abs().max())
    if spread > rounding:
        width = float(stdtrit(count - 1, (1 + LEVEL) / 2))
        return width * spread * math.sqrt(1 / count + 1 / seeds), f"spread over {count} seeds"
    widths = [_width_over_images(rows) for rows in (before, after)]
    known = [width for width in widths if width is not None]
    if len(known) == len(widths):
        return math.hypot(*known), "interval over images"
    return (rounding, f"the same in {count} seeds") if count > 1 else (None, "noise unknown")


def _width_over_images(rows: pd.DataFrame) -> float | None:
    """Half of the interval over images of the mean of runs; None where one has none.

    Each sampling seed draws images of its own, so that their errors are independent, and average
    out. What is equal in all, such as a number of reconstructions, is one number measured once.
    """
    if rows.empty or rows.half_width.isna().any():
        return None
    own = rows.drop_duplicates(["value", "half_width"])
    return math.hypot(*own.half_width) / len(own)


def _measured_elsewhere(results: Mapping[str, Any], baseline: Mapping[str, Any]) -> set[str]:
    """The metrics that were measured on another machine.

    Raises UserError where protocols differ in anything else.
    """
    found_elsewhere = set()
    ours, theirs = (
        {_place(run, m): m for run, m in _measurements(each)} for each in (results, baseline)
    )
    of_all_seeds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for place, measurement in theirs.items():
        of_all_seeds.setdefault(place[:2], []).append(measurement["protocol"])
    for place in ours:
        # Means are gated, so a seed that the baseline lacks must have the protocol of its other
        # seeds.
        expected = (
            [theirs[place]["protocol"]] if place in theirs else of_all_seeds.get(place[:2], [])
        )
        found = min(
            (differences(ours[place]["protocol"], each) for each in expected), key=len, default=[]
        )
        if found and all(text.partition(":")[0] in MACHINE for text in found):
            found_elsewhere.add(place[0])
        elif found:
            raise UserError(
                f"{place[1]}, {ours[place]['title']}: the baseline has another protocol, "
                f"they differ in {'; '.join(found)}; measure by the same, or bless a new baseline"
            )
    return found_elsewhere


def _measurements(
    results: Mapping[str, Any],
) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return ((run, measurement) for run in results["runs"] for measurement in run["measurements"])


def _place(run: Mapping[str, Any], measurement: Mapping[str, Any]) -> tuple[str, str, int, int]:
    return measurement["name"], run["variant"], run["seed"], run.get("sampling_seed", 0)


def read_benchmarks(path: Path) -> dict[str, dict[str, float]]:
    """Benchmarks of a JSON of `make bench`, as ratios to the calibration kernel timed around each.

    By name: the ratio of the fastest rounds, and the spread, the interquartile range over the
    median. Raises UserError when the file is not such a JSON.
    """
    return {
        each["name"]: {
            "ratio": each["stats"]["min"] / each["extra_info"][CALIBRATION],
            "spread": each["stats"]["iqr"] / each["stats"]["median"],
        }
        for each in documents.read_benchmarks(path)
    }


def check_speed_is_there(tolerances: Sequence[Tolerance], baseline: Mapping[str, Any]) -> None:
    """For when there are no benchmarks: raises UserError where a limit names only the speed."""
    metrics = {measurement["name"] for _, measurement in _measurements(baseline)}
    for each in tolerances:
        if not any(fnmatchcase(name, each.pattern) for name in metrics):
            raise UserError(
                f"--fail-on {each.pattern}: there is no speed to gate; "
                "give its JSON file with --benchmarks"
            )


def check_speed(
    now: Mapping[str, Mapping[str, float]],
    before: Mapping[str, Mapping[str, float]],
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
            (rise, fall), basis = limits(asked, old["ratio"]), "--fail-on"
        elif tolerances:
            basis = "not asked for"
        else:
            share = max(SPEED_TOLERANCE, 3 * old["spread"], 3 * new["spread"] if new else 0)
            rise, basis = share * old["ratio"], f"{100 * share:.0f}% of a noisy machine"
        gated = bool(asked) or not tolerances
        ratio = new["ratio"] if new else None
        checks.append(
            Check(
                metric=SPEED,
                variant=name,
                title=SPEED,
                unit="calibrations",
                before=old["ratio"],
                after=ratio,
                rise=rise,
                fall=fall,
                basis=basis,
                status=_status(old["ratio"], ratio, rise, fall, "lower", gated),
            )
        )
    return checks


KEPT = (
    "schema",
    "name",
    "title",
    "profile",
    "baseline",
    "seeds",
    "sampling_seeds",
    "varied",
    "variants",
    "sources",
)
PROVENANCE = ("data", "software", "hardware", "created")
RUN = ("variant", "seed", "sampling_seed", "measurements")


def make_baseline(
    results: Mapping[str, Any], benchmarks: Mapping[str, Any], note: str
) -> dict[str, Any]:
    """What a gate needs of results, with their provenance: no pictures, curves or wall times.

    Raises UserError for a number that is not finite, which could gate nothing.
    """
    for run, measurement in _measurements(results):
        if measurement["value"] is None or not math.isfinite(measurement["value"]):
            raise UserError(
                f"{run['variant']}, seed {run['seed']}, {measurement['title']}: "
                f"found {measurement['value']}, expected a finite number; "
                "a baseline without one gates nothing"
            )
    kept = {name: results[name] for name in (*KEPT, *PROVENANCE) if name in results}
    return {
        **kept,
        "runs": [{name: run.get(name, 0) for name in RUN} for run in results["runs"]],
        "artifacts": {
            f"{run['variant']}, {_seeds_of(run)}, {stage['stage']}": stage["key"]
            for run in results["runs"]
            for stage in run["stages"]
        },
        "benchmarks": dict(benchmarks),
        "note": note,
    }


def check_baseline_place(path: Path, results: Mapping[str, Any]) -> None:
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
    if there is None:
        raise UserError(f"{path}: found no baseline, which would be overwritten; {advice}")
    for key in ("name", "profile"):
        if there.get(key) != results.get(key):
            raise UserError(
                (
                    f"{path}: a baseline of {key} {there.get(key)!s:.60}, "
                    f"and the results are of {results.get(key)!s:.60}; "
                )
                + advice
            )
    runs = {(run["variant"], _seeds_of(run)) for run in results["runs"]}
    gone = [
        f"{run['variant']}, {_seeds_of(run)}"
        for run in there["runs"]
        if (run["variant"], _seeds_of(run)) not in runs
    ]
    if gone:
        raise UserError(
            f"{path}: its runs {'; '.join(gone[:3]):.200} are not in these results ({len(gone)}); "
            f"{advice}"
        )


def _seeds_of(run: Mapping[str, Any]) -> str:
    sampling = f", sampling seed {run['sampling_seed']}" if run.get("sampling_seed") else ""
    return f"seed {run['seed']}{sampling}"
