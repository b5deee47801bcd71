"""Gates, case by case."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.errors import UserError
from prologue_bench.regression import render as gate
from prologue_bench.regression.check import (
    Check,
    check_results,
    check_speed,
    make_baseline,
    noise,
    parse_tolerance,
    read_benchmarks,
)
from prologue_bench.results.frame import measured
from prologue_bench.results.plain import plain
from prologue_bench.results.schema import Speed
from prologue_bench.stats.measured import Measured
from tests.documents import results_of
from tests.factories.regression import benchmarks
from tests.factories.regression import results as made

METRIC = {"gfid": "lower", "probe": "higher", "use": "neutral"}


def status(metric: str, was: float, now: float, *limits: str, seeds: int = 2) -> str:
    """What the gate says of one metric whose mean moves; its seeds differ by 1 in both."""

    def values(mean: float) -> list[float]:
        offsets = np.linspace(-0.5, 0.5, seeds) if seeds > 1 and mean else np.zeros(seeds)
        return [mean + offset for offset in offsets]

    before, after = (made({"a": {metric: values(mean)}}) for mean in (was, now))
    (check,) = checks_of(after, before, *limits)
    return check.status


def checks_of(after: dict[str, Any], before: dict[str, Any], *limits: str) -> list[Check]:
    tolerances = [parse_tolerance(limit) for limit in limits]
    return check_results(results_of(after), results_of(before), tolerances)


@pytest.mark.parametrize(
    ("metric", "was", "now", "limits", "expected"),
    [
        # Each limit gates its own side.
        ("gfid", 100, 90, ["gfid:+5%", "gfid:-50%"], "ok"),
        ("gfid", 100, 106, ["gfid:+5%", "gfid:-50%"], "regression"),
        ("gfid", 100, 104, ["gfid:+5%", "gfid:-50%"], "ok"),
        ("gfid", 100, 40, ["gfid:+5%", "gfid:-50%"], "regression"),
        ("gfid", 100, 40, ["gfid:-50%", "gfid:+5%"], "regression"),
        ("probe", 50, 45, ["probe:-4", "probe:+20"], "regression"),
        ("probe", 50, 69, ["probe:-4", "probe:+20"], "ok"),
        ("probe", 50, 71, ["probe:-4", "probe:+20"], "regression"),
        # Of several on one side the tightest, absolute or relative, by name or by pattern.
        ("gfid", 100, 107, ["gfid:+10%", "gfid:+5"], "regression"),
        ("gfid", 100, 104, ["gfid:+10%", "gfid:+5"], "ok"),
        ("gfid", 100, 107, ["g*:+5%", "gfid:+10%"], "regression"),
        ("gfid", 100, 90, ["*:-5", "gfid:+1%"], "regression"),
        # Better is what goes as far in the better direction, whatever side is gated.
        ("gfid", 100, 90, ["gfid:+5%"], "better"),
        ("gfid", 100, 97, ["gfid:+5%"], "ok"),
        ("probe", 50, 60, ["probe:-4"], "better"),
        ("gfid", 100, 160, ["gfid:-50%"], "ok"),
        ("gfid", 100, 130, ["gfid:-10%"], "ok"),
        ("probe", 50, 30, ["probe:+4"], "ok"),
        # Without a better direction nothing is better.
        ("use", 10, 13, ["use:+2"], "regression"),
        ("use", 10, 2, ["use:+2"], "ok"),
        ("use", 10, 2, ["use:-2"], "regression"),
        # Of nothing no share can be taken: any rise is more than 5% of 0.
        ("gfid", 0, 0, ["gfid:+5%"], "ok"),
        ("gfid", 0, 0.1, ["gfid:+5%"], "regression"),
        ("gfid", 0, 0.1, ["gfid:+0.2"], "ok"),
        ("gfid", 0, -0.1, ["gfid:+5%"], "better"),
        ("gfid", -10, -9, ["gfid:+5%"], "regression"),
        ("gfid", -10, -9.6, ["gfid:+5%"], "ok"),
        # At a limit nothing is beyond it, also after rounding.
        ("gfid", 100, 105, ["gfid:+5%"], "ok"),
        ("gfid", 0.3, 0.33, ["gfid:+10%"], "ok"),
        ("gfid", 100, 100, ["gfid:+0"], "ok"),
        ("gfid", 100, 100.1, ["gfid:+0"], "regression"),
        # What is no number any more has not passed.
        ("gfid", 100, math.nan, ["gfid:+5%"], "regression"),
        ("gfid", 100, math.inf, ["gfid:-5%"], "regression"),
        ("gfid", 100, math.nan, [], "regression"),
        ("gfid", math.nan, 100, [], "not gated"),
    ],
)
def test_a_limit_gates_its_own_side(
    metric: str, was: float, now: float, limits: list[str], expected: str
) -> None:
    assert status(metric, was, now, *limits) == expected


def test_the_table_shows_both_sides() -> None:
    before, after = (made({"a": {"gfid": [value, value + 1]}}) for value in (100, 90))
    checks = checks_of(after, before, "gfid:+5%", "gfid:-50")
    assert gate.cells(checks[0])[5] == "+5 −50, --fail-on"


@pytest.mark.parametrize(
    ("now", "limits", "expected"),
    [
        # The ratio to the calibration kernel is a time: + gates slowing down, - speeding up.
        (1.2, ["speed:+30%"], "ok"),
        (1.4, ["speed:+30%"], "regression"),
        (0.5, ["speed:+30%"], "better"),
        (1.4, ["speed:-30%"], "ok"),
        (9.9, ["speed:-30%"], "ok"),
        (0.5, ["speed:-30%"], "regression"),
        (0.8, ["speed:-30%"], "ok"),
        (1.2, ["speed:+30%", "speed:-10%"], "ok"),
        (0.8, ["speed:+30%", "speed:-10%"], "regression"),
        (1.4, ["speed:+30%", "speed:-90%"], "regression"),
        (1.2, ["speed:+30%", "sp*:+10%"], "regression"),
        (9.9, ["gfid:+30%"], "not gated"),
        (1.2, [], "ok"),
        (1.3, [], "regression"),
        (0.7, [], "better"),
    ],
)
def test_the_sign_of_a_limit_counts_for_speed_too(
    now: float, limits: list[str], expected: str
) -> None:
    old, new = ({"encode": Speed(ratio=ratio, spread=0.0)} for ratio in (1.0, now))
    (check,) = check_speed(new, old, [parse_tolerance(limit) for limit in limits])
    assert check.status == expected


def runs(
    values: list[float], widths: list[float | None], seeds: list[int] | None = None
) -> list[Measured]:
    """Numbers of one metric and variant, with half widths over images."""
    return [
        evolve(each, seed=seeds[index] if seeds else 0, sampling_seed=index, half_width=width)
        for index, (each, width) in enumerate(
            zip(measured(results_of(made({"a": {"gfid": values}}))), widths, strict=True)
        )
    ]


NAN = None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # One sampling seed each: both intervals.
        (([1.0], [3.0]), ([2.0], [4.0]), 5.0),
        # The mean over sampling seeds is known better than each: sqrt(3^2 + 4^2) / 2.
        (([1.0, 2.0], [3.0, 4.0]), ([2.0], [6.0]), 6.5),
        (([1.0, 2.0, 3.0, 4.0], [6.0] * 4), ([1.0, 2.0, 3.0, 5.0], [8.0] * 4), 5.0),
        # What sampling does not change was measured once.
        (([1.0, 1.0], [3.0, 3.0]), ([2.0, 2.0], [4.0, 4.0]), 5.0),
        # Both sides must be known, and each run of them.
        (([1.0, 2.0], [3.0, 4.0]), ([2.0], [NAN]), None),
        (([1.0], [NAN]), ([2.0, 3.0], [3.0, 4.0]), None),
        (([1.0, 2.0], [3.0, NAN]), ([2.0], [4.0]), None),
    ],
)
def test_with_one_training_seed_the_noise_is_that_of_both_means_over_images(
    before: Any, after: Any, expected: float | None
) -> None:
    limit, basis = noise(runs(*before), runs(*after))
    assert limit == (pytest.approx(expected) if expected is not None else None)
    assert basis == ("interval over images" if expected is not None else "noise unknown")


def test_the_noise_of_a_mean_over_sampling_seeds_is_as_often_right_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        old, new = (runs(list(rng.normal(size=n)), [1.96] * n) for n in (3, 4))
        limit, _ = noise(old, new)
        assert limit is not None
        means = [np.mean([each.value for each in rows]) for rows in (old, new)]
        hits += abs(means[0] - means[1]) <= limit
    assert abs(hits / 200 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 200)


def test_seeds_that_do_not_vary_leave_the_noise_to_the_images() -> None:
    frozen = runs([5.0, 5.0, 5.0], [3.0] * 3, [0, 1, 2])
    assert noise(frozen, runs([5.0, 5.0], [4.0] * 2, [0, 1])) == (5.0, "interval over images")
    counted = runs([5.0, 5.0, 5.0], [NAN] * 3, [0, 1, 2])
    limit, basis = noise(counted, counted)
    assert limit == pytest.approx(0.0, abs=1e-9)
    assert basis == "the same in 3 seeds"


def test_one_training_seed_is_gated_and_never_praised() -> None:
    def found(was: float, now: float, *limits: str) -> str:
        before, after = (made({"a": {"gfid": [value]}}) for value in (was, now))
        for each in (before, after):
            each["runs"][0]["measurements"][0]["half_width"] = 1.0
        return checks_of(after, before, *limits)[0].status

    assert found(10, 12) == "regression"
    assert found(12, 10) == "ok"
    assert found(12, 10, "gfid:+5%") == "ok"
    assert status("gfid", 12, 9, "gfid:+5%", seeds=3) == "better"


def test_training_seeds_count_once_however_often_each_was_sampled_from() -> None:
    results = made({"a": {"gfid": [10.0, 20.0, 30.0]}})
    first = results["runs"][0]
    for sampling_seed in (1, 2, 3):
        results["runs"].append({**first, "sampling_seed": sampling_seed})
    (check,) = checks_of(results, results)
    assert (check.before, check.after) == (20.0, 20.0)


def test_a_limit_on_a_speed_that_was_not_measured_is_an_error(tmp_path: Path) -> None:
    results = made({"a": {"gfid": [10.0, 11.0]}})
    (tmp_path / "results.json").write_text(json.dumps(results))
    arguments = ["regress", str(tmp_path), "--against", str(tmp_path), "--fail-on"]
    found = CliRunner().invoke(cli, [*arguments, "speed:+30%"])
    assert isinstance(found.exception, UserError)
    assert (
        "--fail-on speed: there is no speed to gate; give its JSON file with --benchmarks"
        in str(found.exception)
    )
    assert CliRunner().invoke(cli, [*arguments, "*:+30%"]).exit_code == 0


def test_a_benchmark_without_time_is_one_line_of_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the JSON that `make bench` writes"):
        read_benchmarks(benchmarks(tmp_path / "zero.json", encode=(1.0, 0.0)))
    with pytest.raises(UserError, match="expected the JSON that `make bench` writes"):
        read_benchmarks(benchmarks(tmp_path / "zero.json", encode=(0.0, 1.0)))


def other_protocol(results: dict[str, Any]) -> dict[str, Any]:
    for run in results["runs"]:
        for measurement in run["measurements"]:
            measurement["protocol"] = {**measurement["protocol"], "details": {"samples": 7}}
    return results


def test_another_protocol_is_refused_also_where_no_seed_is_shared() -> None:
    baseline = made({"a": {"gfid": [100.0, 101.0, 102.0]}})
    results = other_protocol(made({"a": {"gfid": [100.0, 101.0, 102.0]}}))
    for run in results["runs"]:
        run["seed"] += 3
    with pytest.raises(UserError, match=r"a, .*: the baseline has another protocol"):
        checks_of(results, baseline)


def test_a_baseline_cannot_be_made_of_what_has_no_number() -> None:
    broken = made({"a": {"gfid": [100.0, 101.0]}})
    broken["runs"][1]["measurements"][0]["value"] = None
    with pytest.raises(UserError, match=r"a, seed 1, .*: found no number, expected a finite"):
        make_baseline(results_of(broken), {}, "")
    for run in broken["runs"]:
        run["measurements"] = []
    with pytest.raises(UserError, match="found no numbers; a baseline without any gates nothing"):
        make_baseline(results_of(broken), {}, "")


def test_a_baseline_without_a_finite_number_neither_stands_nor_gates() -> None:
    broken = made({"a": {"gfid": [100.0, math.nan, 102.0]}})
    with pytest.raises(UserError, match=r"a, seed 1, .*: found nan, expected a finite number"):
        make_baseline(results_of(broken), {}, "")
    with pytest.raises(UserError, match=r"a, .*: the baseline holds a number that is not finite"):
        checks_of(made({"a": {"gfid": [100.0, 101.0, 102.0]}}), broken, "gfid:+5%")


def test_a_baseline_keeps_the_artifacts_of_every_sampling_seed() -> None:
    results = made({"a": {"gfid": [100.0, 101.0]}})
    stage = [{"stage": "sample", "key": "one"}]
    runs = [
        {**run, "seed": 0, "sampling_seed": i, "stages": [{**stage[0], "key": f"k{i}"}]}
        for i, run in enumerate(results["runs"])
    ]
    found = plain(make_baseline(results_of({**results, "runs": runs}), {}, ""))
    assert sorted(found["artifacts"].values()) == ["k0", "k1"]
