"""Results and speed held against a baseline, with tolerances."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from attrs import evolve, frozen
from scipy.special import stdtrit

from prologue_bench.errors import UserError
from prologue_bench.reporting.comparability import differences
from prologue_bench.reporting.results import frame

LEVEL = 0.95
SPEED = "speed"
"""The metric under which benchmarks stand in gates."""
SPEED_TOLERANCE = 0.25
"""Relative; wide, since the ratio to a calibration kernel takes the machine out but not all of its noise."""
CALIBRATION = "calibration_seconds"
"""Under which each benchmark holds the time of the kernel that it is divided by (benchmarks/conftest.py)."""
MACHINE = ("machine", "threads", "device")
"""Fields of a protocol that say where a time was measured."""
Status = Literal["ok", "better", "regression", "missing", "not gated"]


@frozen
class Tolerance:
    """How far a metric may move in its worse direction: absolute, or a share of the baseline."""

    pattern: str
    amount: float
    relative: bool
    sign: int
    """+1 or -1 for a limit on rising or falling; 0 where the worse direction is the metric's own."""


@frozen(kw_only=True)
class Check:
    """One number of the results beside the baseline's."""

    metric: str
    variant: str
    title: str
    unit: str
    before: float | None
    after: float | None
    tolerance: float | None
    """Absolute; None where nothing is known of the noise."""
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
        raise UserError(f"--fail-on {text}: expected METRIC:+N, METRIC:-N or with %, such as gfid:+5%")
    pattern, sign, amount, percent = match.groups()
    share = bool(percent)
    return Tolerance(pattern, float(amount) / (100 if share else 1), share, 1 if sign == "+" else -1)


def check_results(
    results: Mapping[str, Any], baseline: Mapping[str, Any], tolerances: Sequence[Tolerance]
) -> list[Check]:
    """Every metric of every variant of the baseline, gated by the tolerances given, or else by the noise.

    With tolerances, only the metrics that they name are gated. Times of another machine never are. Raises UserError
    where protocols differ otherwise, and where a tolerance names no metric.
    """
    rows, reference = frame({**results, "varied": ()}), frame({**baseline, "varied": ()})
    elsewhere = _measured_elsewhere(results, baseline)
    known = set(reference.metric) | {SPEED}
    for tolerance in tolerances:
        if not any(fnmatchcase(name, tolerance.pattern) for name in known):
            raise UserError(
                f"--fail-on {tolerance.pattern}: no such metric in the baseline: {', '.join(sorted(known))}"
            )
    checks = []
    for (metric, variant), before in reference.groupby(["metric", "variant"], sort=False):
        after = rows[(rows.metric == metric) & (rows.variant == variant)]
        check = _check(str(metric), str(variant), before, after, tolerances)
        if metric in elsewhere:
            check = evolve(check, tolerance=None, basis="another machine; see --benchmarks", status="not gated")
        checks.append(check)
    return checks


def _check(
    metric: str, variant: str, before: pd.DataFrame, after: pd.DataFrame, tolerances: Sequence[Tolerance]
) -> Check:
    direction = str(before.direction.iloc[0])
    was = float(before.value.mean())
    now = float(after.value.mean()) if len(after) else None
    asked = [each for each in tolerances if fnmatchcase(metric, each.pattern)]
    if asked:
        limit: float | None = min(_absolute(each, was) for each in asked)
        signs = {each.sign for each in asked}
        basis = "--fail-on"
    else:
        limit, basis = (None, "not asked for") if tolerances else noise(before, after)
        signs = {"lower": {1}, "higher": {-1}}.get(direction, set())
    return Check(
        metric=metric,
        variant=variant,
        title=str(before.title.iloc[0]),
        unit=str(before.unit.iloc[0]),
        before=was,
        after=now,
        tolerance=limit,
        basis=basis,
        status=_status(was, now, limit, signs, gated=bool(asked) or not tolerances),
    )


def _status(was: float, now: float | None, limit: float | None, signs: set[int], gated: bool) -> Status:
    if now is None:
        return "missing" if gated else "not gated"
    if limit is None or not signs or not gated:
        return "not gated"
    change = now - was
    if any(sign * change > limit for sign in signs):
        return "regression"
    return "better" if len(signs) == 1 and -next(iter(signs)) * change > limit else "ok"


def _absolute(tolerance: Tolerance, before: float) -> float:
    return tolerance.amount * abs(before) if tolerance.relative else tolerance.amount


def noise(before: pd.DataFrame, after: pd.DataFrame) -> tuple[float | None, str]:
    """How far a mean may move by chance (95%), and where that is known from.

    Over seeds: the prediction interval of the new mean, t * s * sqrt(1/n + 1/m), with the baseline's spread s over
    its n seeds. With one seed: both intervals over images, which hold nothing of the noise of training.
    """
    means = before.groupby("seed").value.mean()
    count = len(means)
    seeds = max(1, after.seed.nunique())
    if count > 1:
        width = float(stdtrit(count - 1, (1 + LEVEL) / 2))
        return width * float(means.std(ddof=1)) * math.sqrt(1 / count + 1 / seeds), f"spread over {count} seeds"
    widths = [*before.half_width.dropna(), *after.half_width.dropna()]
    if len(widths) < 2:
        return None, "noise unknown"
    return math.hypot(*widths), "interval over images"


def _measured_elsewhere(results: Mapping[str, Any], baseline: Mapping[str, Any]) -> set[str]:
    """The metrics that were measured on another machine. Raises UserError where protocols differ in anything else."""
    found_elsewhere = set()
    ours, theirs = ({_place(run, m): m for run, m in _measurements(each)} for each in (results, baseline))
    for place in ours.keys() & theirs.keys():
        found = differences(ours[place]["protocol"], theirs[place]["protocol"])
        if found and all(text.partition(":")[0] in MACHINE for text in found):
            found_elsewhere.add(place[0])
        elif found:
            raise UserError(
                f"{place[1]}, {ours[place]['title']}: the baseline has another protocol, they differ in "
                f"{'; '.join(found)}; measure by the same, or bless a new baseline"
            )
    return found_elsewhere


def _measurements(results: Mapping[str, Any]) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return ((run, measurement) for run in results["runs"] for measurement in run["measurements"])


def _place(run: Mapping[str, Any], measurement: Mapping[str, Any]) -> tuple[str, str, int, int]:
    return measurement["name"], run["variant"], run["seed"], run.get("sampling_seed", 0)


def read_benchmarks(path: Path) -> dict[str, dict[str, float]]:
    """Benchmarks of a JSON that `make bench` wrote, as ratios to the calibration kernel timed around each.

    By name: the ratio of the fastest rounds, and the spread, the interquartile range over the median. Raises UserError
    when the file is none.
    """
    expected = "expected the JSON that `make bench` writes"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
        return {
            each["name"]: {
                "ratio": each["stats"]["min"] / each["extra_info"][CALIBRATION],
                "spread": each["stats"]["iqr"] / each["stats"]["median"],
            }
            for each in found
        }
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {expected}") from None
    except KeyError as error:
        raise UserError(f"{path}: found no {error}, {expected}") from None
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path}: found something else, {expected}") from None


def check_speed(
    now: Mapping[str, Mapping[str, float]],
    before: Mapping[str, Mapping[str, float]],
    tolerances: Sequence[Tolerance],
) -> list[Check]:
    """Every benchmark of the baseline: slower than its ratio to the calibration kernel by more than a tolerance?"""
    asked = [each for each in tolerances if fnmatchcase(SPEED, each.pattern)]
    checks = []
    for name, old in before.items():
        new = now.get(name)
        if asked:
            limit, basis = min(_absolute(each, old["ratio"]) for each in asked), "--fail-on"
        else:
            share = max(SPEED_TOLERANCE, 3 * old["spread"], 3 * new["spread"] if new else 0)
            limit, basis = share * old["ratio"], f"{100 * share:.0f}% of a noisy machine"
        gated = bool(asked) or not tolerances
        ratio = new["ratio"] if new else None
        checks.append(
            Check(
                metric=SPEED, variant=name, title=SPEED, unit="calibrations", before=old["ratio"], after=ratio,
                tolerance=limit, basis=basis, status=_status(old["ratio"], ratio, limit, {1}, gated),
            )
        )  # fmt: skip
    return checks


KEPT = ("schema", "name", "title", "profile", "baseline", "seeds", "sampling_seeds", "varied", "variants")
PROVENANCE = ("data", "software", "hardware", "created")
RUN = ("variant", "seed", "sampling_seed", "measurements")


def make_baseline(results: Mapping[str, Any], benchmarks: Mapping[str, Any], note: str) -> dict[str, Any]:
    """What a gate needs of results, with their provenance: no pictures, curves or wall times."""
    kept = {name: results[name] for name in (*KEPT, *PROVENANCE) if name in results}
    return {
        **kept,
        "runs": [{name: run.get(name, 0) for name in RUN} for run in results["runs"]],
        "artifacts": {
            f"{run['variant']}, seed {run['seed']}, {stage['stage']}": stage["key"]
            for run in results["runs"]
            for stage in run["stages"]
        },
        "benchmarks": dict(benchmarks),
        "note": note,
    }
