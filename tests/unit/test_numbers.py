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
from prologue_bench.contracts import Measurement, Procedure
from prologue_bench.contracts.checked import check_measurements
from prologue_bench.errors import StageError
from prologue_bench.texts.durations import duration
from tests.conftest import OLD_REPORTS


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
    return Measurement(**{"protocol": Procedure(name="p"), **given})


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


def test_a_report_needs_nothing_but_results_json(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(
        (OLD_REPORTS / "guidance" / "results.json").read_bytes()
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
        protocol=Procedure(name="p"),
        against=MappingProxyType({"b": "a against b"}),
    )
    assert json.loads(json.dumps(attrs.asdict(found)))["against"] == {"b": "a against b"}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.94, "0.9 s"), (0.97, "1 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (3599.6, "1 h 00 min")],
)
def test_lengths_of_time_round_into_the_next_unit(seconds: float, told: str) -> None:
    assert duration(seconds) == told
