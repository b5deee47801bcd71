"""Numbers of any library are numbers, what is none is a metric's failure, and results are JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.contracts import Measurement, Protocol
from prologue_bench.contracts.checked import check_measurements
from prologue_bench.errors import StageError
from prologue_bench.reporting.report import write_report
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.strict import to_json
from tests.conftest import ROOT


def measurement(**values: Any) -> Measurement:
    given = {
        "name": "n",
        "title": "t",
        "value": 1.0,
        "unit": "",
        "direction": "lower",
        "count": 1,
        **values,
    }
    return Measurement(**{"protocol": Protocol(name="p"), **given})


@pytest.mark.parametrize(
    "value", [np.float32(1.5), np.float64(1.5), np.array(1.5), torch.tensor(1.5)]
)
def test_a_number_of_a_library_is_a_number(value: Any) -> None:
    found = measurement(value=value, half_width=value, positions=[value])
    assert (found.value, found.half_width, found.positions) == (1.5, 1.5, (1.5,))
    assert type(found.value) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"value": "1.5"}, r"metric 'x': n: value is '1.5' \(str\), expected a number"),
        ({"value": None}, "value is None"),
        ({"value": True}, "value is True"),
        ({"value": np.bool_(True)}, "value is True"),
        ({"value": np.ones(3)}, "value is array"),
        ({"value": 10**400}, "not a finite number"),
        ({"value": torch.tensor(float("nan"))}, "not a finite number"),
        ({"count": "x" * 10**6}, "count is 'x"),
    ],
)
def test_what_is_no_number_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(StageError, match=message) as caught:
        check_measurements([measurement(**values)], "metric 'x'")
    assert len(str(caught.value)) < 300


def test_results_are_json_whatever_stands_in_them(tmp_path: Path) -> None:
    results = load_results(ROOT / "reports" / "prologue_count")
    run = results["runs"][0]
    run["measurements"][0]["value"] = float("nan")
    run["measurements"][1]["half_width"] = float("inf")
    run["measurements"][2]["protocol"]["details"]["x"] = np.float32(0.5)
    run["stages"][0]["flops"] = np.int64(7)
    results["variants"][0]["settings"]["sampling"]["temperature"] = float("inf")
    found = json.loads(to_json(results), parse_constant=pytest.fail)
    assert found["runs"][0]["measurements"][0]["value"] is None
    assert found["runs"][0]["measurements"][0]["reason"]
    assert found["variants"][0]["settings"]["sampling"]["temperature"] is None
    assert "inf" in found["nulls"]["variants[0].settings.sampling.temperature"]
    (tmp_path / "results.json").write_text(json.dumps(found))
    again = load_results(tmp_path)
    page = write_report(again, Pictures(), tmp_path).read_text()
    assert "the value is not a finite number" in page


def test_a_report_needs_nothing_but_results_json(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(
        (ROOT / "reports" / "guidance" / "results.json").read_bytes()
    )
    found = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert found.exit_code == 0, found.exception
    assert "No pictures are kept beside these results." in (tmp_path / "report.html").read_text()


def test_a_measurement_is_json_whatever_kind_of_mapping_it_was_given() -> None:
    found = Measurement(
        name="a",
        title="a",
        value=1.0,
        unit="",
        direction="lower",
        count=1,
        protocol=Protocol(name="p"),
        against=MappingProxyType({"b": "a against b"}),
    )
    assert json.loads(json.dumps(attrs.asdict(found)))["against"] == {"b": "a against b"}
