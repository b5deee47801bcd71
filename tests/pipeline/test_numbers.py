"""Numbers of any library are numbers, what is none is a metric's failure, and results are JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.reporting.report import write_report
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.strict import to_json
from tests.conftest import OLD_REPORTS, SMOKE
from tests.documents import loaded, results_of

METRIC = """
from __future__ import annotations

import numpy as np
import torch
from attrs import frozen

from prologue_bench.contracts import Component, Measurement, Metric, Procedure, hookimpl


@frozen
class Settings:
    kind: str = "good"


class Odd(Metric):
    needs = ("tokens",)

    def __init__(self, settings: Settings) -> None:
        self.kind = settings.kind

    def measure(self, inputs):
        values = {
            "good": {
                "a": np.float32(1.5), "b": np.int64(3), "c": np.array(2.5), "d": torch.tensor(0.5)
            },
            "text": {"e": "1.5"},
        }[self.kind]
        details = {"share": np.float64(0.5), "flag": np.bool_(True), "limit": np.inf}
        protocol = Procedure(name="odd", details=details)
        return [
            Measurement(name=name, title=name, value=value, unit="", direction="lower",
                        count=np.int32(4), protocol=protocol, half_width=np.float32("nan"),
                        positions=np.ones(2, dtype=np.float32))
            for name, value in values.items()
        ]


@hookimpl
def prologue_metrics():
    settings = "odd_metric:Settings"
    return [
        Component(name="odd", target="odd_metric:Odd", settings=settings, summary="Odd numbers.")
    ]
"""


def test_a_plugins_odd_numbers_reach_the_report_and_its_wrong_ones_fail_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "odd_metric.py").write_text(METRIC)
    one_variant = SMOKE.replace("[0, 2]", "[2]").replace(
        "baseline: {tokenizer.prologue_tokens: 0}\n", ""
    )
    (tmp_path / "tiny.yaml").write_text(one_variant)
    where = [
        "--plugin",
        str(tmp_path / "odd_metric.py"),
        "--out",
        str(tmp_path / "r"),
        "--store",
        str(tmp_path / "s"),
    ]
    for kind, wrong in (("good", False), ("text", True)):
        metrics = f"metrics=[{{use: odd, kind: {kind}}}, codebook]"
        command = [
            "run",
            str(tmp_path / "tiny.yaml"),
            *where,
            "--set",
            metrics,
            *(["--force"] if wrong else []),
        ]
        found = CliRunner().invoke(cli, command)
        [run] = json.loads(
            (tmp_path / "r" / "results.json").read_text(), parse_constant=pytest.fail
        )["runs"]
        names = {each["name"] for each in run["measurements"]}
        assert any(name.startswith("codebook") for name in names), "the other metric is there"
        if wrong:
            assert "e: value is '1.5' (str), expected a number" in str(found.exception)
            assert list(run["failures"]) == ["measure odd"]
        else:
            assert found.exit_code == 0, found.exception
            assert {"a", "b", "c", "d"} <= names


def test_results_are_json_whatever_stands_in_them(tmp_path: Path) -> None:
    results = loaded(OLD_REPORTS / "prologue_count")
    run = results["runs"][0]
    run["measurements"][0]["value"] = float("nan")
    run["measurements"][1]["half_width"] = float("inf")
    run["measurements"][2]["protocol"]["details"]["x"] = np.float32(0.5)
    run["stages"][0]["flops"] = np.int64(7)
    results["variants"][0]["settings"]["sampling"]["temperature"] = float("inf")
    found = json.loads(to_json(results_of(results)), parse_constant=pytest.fail)
    assert found["runs"][0]["measurements"][0]["value"] is None
    assert found["runs"][0]["measurements"][0]["reason"]
    assert found["variants"][0]["settings"]["sampling"]["temperature"] is None
    assert "inf" in found["nulls"]["variants[0].settings.sampling.temperature"]
    (tmp_path / "results.json").write_text(json.dumps(found))
    again = load_results(tmp_path)
    page = write_report(again, Pictures(), tmp_path).read_text()
    assert "the value is not a finite number" in page
