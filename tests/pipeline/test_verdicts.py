"""Verdicts, the intervals beside them, and the claims: all from one family of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from prologue_bench.cli.app import cli
from tests.factories.verdicts import report


def test_claims_of_a_process_on_a_baseline_of_zero_end_well(tmp_path: Path) -> None:
    results = report("prologue_count")
    for run in results["runs"]:
        for each in run["measurements"] if run["variant"] == results["baseline"] else ():
            each["value"] = 0.0
    (tmp_path / "results.json").write_text(json.dumps(results))
    command = [sys.executable, "-m", "prologue_bench.cli", "claims", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for form in ("--markdown", "--json"):
        assert CliRunner().invoke(cli, ["claims", str(tmp_path), form]).exit_code == 0
