"""Gates against a baseline."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from click.testing import CliRunner
from scipy import stats

from prologue_bench.cli.app import cli
from prologue_bench.errors import UserError
from prologue_bench.regression.check import (
    check_results,
    check_speed,
    noise,
    parse_tolerance,
    read_benchmarks,
)
from prologue_bench.results.frame import measured
from tests.conftest import ROOT
from tests.documents import results_of, whole
from tests.factories.regression import benchmarks, results

BASE = results(
    {"a": {"gfid": [10.0, 11.0, 12.0], "probe": [50.0, 52.0, 51.0], "use": [3.0, 4.0, 5.0]}}
)


def statuses(now: dict[str, Any], *limits: str) -> dict[str, str]:
    return {
        check.metric: check.status
        for check in check_results(
            results_of(now), results_of(BASE), [parse_tolerance(t) for t in limits]
        )
    }


def changed(gfid: float = 0.0, probe: float = 0.0) -> dict[str, Any]:
    return results(
        {
            "a": {
                "gfid": [value + gfid for value in (10.0, 11.0, 12.0)],
                "probe": [value + probe for value in (50.0, 52.0, 51.0)],
                "use": [9.0, 9.0, 9.0],
            }
        }
    )


def test_what_moves_beyond_the_noise_in_the_worse_direction_is_a_regression() -> None:
    assert statuses(changed()) == {"gfid": "ok", "probe": "ok", "use": "not gated"}
    assert statuses(changed(gfid=9, probe=-9)) == {
        "gfid": "regression",
        "probe": "regression",
        "use": "not gated",
    }
    assert statuses(changed(gfid=-9, probe=9)) == {
        "gfid": "better",
        "probe": "better",
        "use": "not gated",
    }
    assert statuses(changed(gfid=1))["gfid"] == "ok", "within the spread of the seeds"


def test_the_noise_holds_the_next_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        old, new = rng.normal(size=3), rng.normal(size=3)
        before, after = (
            measured(results_of(results({"a": {"gfid": list(part)}}))) for part in (old, new)
        )
        limit, basis = noise(before, after)
        assert limit is not None
        hits += abs(old.mean() - new.mean()) <= limit
    assert basis == "spread over 3 seeds"
    assert abs(hits / 500 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 500)
    assert limit == pytest.approx(stats.t(2).ppf(0.975) * old.std(ddof=1) * np.sqrt(2 / 3))


def test_one_seed_has_its_intervals_over_images_or_no_gate() -> None:
    before, after = (
        measured(results_of(results({"a": {"gfid": [value]}}))) for value in (1.0, 2.0)
    )
    assert noise(before, after) == (None, "noise unknown")
    limit, basis = noise(
        [evolve(each, half_width=3.0) for each in before],
        [evolve(each, half_width=4.0) for each in after],
    )
    assert (limit, basis) == (5.0, "interval over images")


def test_given_limits_gate_what_they_name_and_nothing_else() -> None:
    assert statuses(changed(gfid=0.5, probe=-9), "gfid:+5%") == {
        "gfid": "ok",
        "probe": "not gated",
        "use": "not gated",
    }
    assert statuses(changed(gfid=0.6), "gfid:+5%")["gfid"] == "regression"
    assert statuses(changed(probe=-2), "p*:-1.5")["probe"] == "regression"
    assert statuses(changed(), "use:+2")["use"] == "regression"
    with pytest.raises(
        UserError, match=r"--fail-on gfd: no such metric in the baseline: gfid, probe, speed, use"
    ):
        statuses(changed(), "gfd:+5%")
    for text in ("gfid", "gfid:5", "gfid:+x%", ""):
        with pytest.raises(UserError, match="expected METRIC"):
            parse_tolerance(text)


def test_what_is_gone_is_a_failure_and_another_protocol_is_refused() -> None:
    gone = results({"a": {"gfid": [10.0, 11.0, 12.0]}})
    assert statuses(gone) == {"gfid": "ok", "probe": "missing", "use": "missing"}
    other = changed()
    other["runs"][1]["measurements"][0]["protocol"] = {"name": "fid", "details": {"resize": 224}}
    with pytest.raises(
        UserError,
        match="a, gfid: the baseline has another protocol, they differ in resize: 224 and 64",
    ):
        statuses(other)
    in_other_units = changed()
    in_other_units["runs"][1]["measurements"][0]["unit"] = "ms"
    with pytest.raises(UserError, match="another unit, they differ in unit: ms and"):
        statuses(in_other_units)


def test_times_of_another_machine_are_shown_and_not_gated() -> None:
    other = changed(gfid=9)
    for run in other["runs"]:
        run["measurements"][0]["protocol"] = {
            "name": "fid",
            "details": {"resize": 64, "machine": "a faster one"},
        }
    assert statuses(other) == {"gfid": "not gated", "probe": "ok", "use": "not gated"}


def test_speed_is_the_ratio_to_the_calibration_so_a_slow_machine_is_no_regression(
    tmp_path: Path,
) -> None:
    old = read_benchmarks(benchmarks(tmp_path / "old.json", encode=(1.0, 0.1), decode=(2.0, 0.1)))
    slow = read_benchmarks(benchmarks(tmp_path / "new.json", encode=(3.0, 0.3), decode=(6.0, 0.2)))
    found = {check.variant: check.status for check in check_speed(slow, old, [])}
    assert found == {"encode": "ok", "decode": "regression"}
    loose = check_speed(slow, old, [parse_tolerance("speed:+60%")])
    assert {check.status for check in loose} == {"ok"}
    assert check_speed({}, old, [])[0].status == "missing"
    (tmp_path / "text.json").write_text("no")
    for name, message in (("text.json", "found no JSON"), ("none.json", "no such file")):
        with pytest.raises(UserError, match=message):
            read_benchmarks(tmp_path / name)
    (tmp_path / "bare.json").write_text(
        json.dumps({"benchmarks": [{"name": "x", "stats": {"min": 1, "median": 1, "iqr": 0}}]})
    )
    with pytest.raises(UserError, match=r"benchmarks\[0\].extra_info: missing; expected the JSON"):
        read_benchmarks(tmp_path / "bare.json")


def test_bless_and_regress_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(whole(BASE)))
    speed = benchmarks(tmp_path / "speed.json", encode=(1.0, 0.1))
    out = tmp_path / "baselines" / "study.json"
    run = CliRunner()
    blessed = run.invoke(
        cli,
        ["bless", str(tmp_path), "--out", str(out), "--benchmarks", str(speed), "--note", "first"],
    )
    assert blessed.exit_code == 0, blessed.output
    kept = json.loads(out.read_text())
    assert kept["artifacts"]["a, seed 1, sample"] == "a-1"
    assert (kept["note"], kept["software"]["git"]) == ("first", "abc")

    arguments = ["regress", str(tmp_path), "--against", str(out), "--benchmarks", str(speed)]
    same = run.invoke(cli, arguments)
    assert same.exit_code == 0, same.output
    assert "No regression among 3 numbers (1 more are not gated)." in same.output

    (tmp_path / "results.json").write_text(json.dumps(changed(gfid=9)))
    files = ["--markdown", str(tmp_path / "gate.md"), "--junit", str(tmp_path / "gate.xml")]
    worse = run.invoke(cli, [*arguments, *files])
    assert worse.exit_code == 1
    assert "1 of 3 numbers fail: gfid, a." in worse.output
    suite = ET.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["gfid"]
    text = (tmp_path / "gate.md").read_text()
    assert text.startswith("### A study: regression")
    assert "| gfid | a | 11 | 20 | +9 (+81.8%) |" in text
    parsed = json.loads(run.invoke(cli, [*arguments, "--json"]).output)
    assert [each["metric"] for each in parsed if each["failed"]] == ["gfid"]


def test_compare_shows_differences_or_why_there_are_none(tmp_path: Path) -> None:
    other = changed(gfid=-1)
    for run in other["runs"]:
        run["measurements"][1]["protocol"] = {"name": "fid", "details": {"resize": 224}}
    for name, found in (("one", BASE), ("two", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(found))
    shown = CliRunner().invoke(cli, ["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert " ".join(lines[0].split()) == (
        "metric variant first second difference 95% interval over rank correlation"
    )
    assert " ".join(lines[1].split()) == "gfid a 11 10 −1 in every seed 1.00 over 3 runs"
    assert "probe: not subtracted, their protocols differ in resize: 64 and 224." in lines
    parsed = json.loads(
        CliRunner()
        .invoke(cli, ["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--json"])
        .output
    )
    assert parsed[1]["rows"][0]["difference"] is None
    nothing = CliRunner().invoke(
        cli, ["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--metric", "x"]
    )
    assert "have no variant, seed and metric in common" in str(nothing.exception)


def test_results_of_other_data_are_told_apart_in_one_line(tmp_path: Path) -> None:
    for name, fingerprint in (("one", "f1"), ("two", "f2")):
        (tmp_path / name).mkdir()
        content = {**BASE, "data": {"name": "photos", "fingerprint": fingerprint}}
        (tmp_path / name / "results.json").write_text(json.dumps(content))
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    line = "The data differ: photos, fingerprint f1 against photos, fingerprint f2."
    for command in (["compare", one, two], ["regress", two, "--against", one]):
        shown, in_json = (CliRunner().invoke(cli, [*command, *form]) for form in ([], ["--json"]))
        assert line in shown.output.splitlines()
        assert json.loads(in_json.stdout)
        assert line in in_json.stderr.splitlines()
        same = CliRunner().invoke(cli, [one if word == two else word for word in command])
        assert "data differ" not in same.output
    (tmp_path / "two" / "results.json").write_text(json.dumps(BASE))
    unknown = CliRunner().invoke(cli, ["compare", one, two])
    assert "data differ" not in unknown.output, "a baseline of an earlier version may not say"


def test_a_table_in_a_pipe_is_plain_and_whole(tmp_path: Path) -> None:
    long = "a variant with a name that no terminal has room for " * 9
    (tmp_path / "results.json").write_text(json.dumps(results({long.strip(): {"gfid": [1.0]}})))
    shown = CliRunner().invoke(
        cli, ["compare", str(tmp_path), str(tmp_path)], env={"COLUMNS": "40"}
    )
    head, row = shown.output.splitlines()
    assert long.strip() in row
    assert "\x1b" not in shown.output
    assert not head.endswith(" ")


def test_the_published_report_passes_the_baseline_in_the_registry() -> None:
    arguments = ["regress", str(ROOT / "reports" / "prologue_count"), "--against"]
    found = CliRunner().invoke(
        cli, [*arguments, str(ROOT / "registry" / "baselines" / "prologue_count.json")]
    )
    assert found.exit_code == 0, found.output
    assert "No regression among" in found.output
