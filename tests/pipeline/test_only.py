"""Some variants of an ablation alone, as jobs of an array run them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from tests.conftest import SMOKE
from tests.factories.processes import artifacts


def test_only_runs_the_stages_of_a_variant_and_leaves_the_report_to_others(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shutil.copytree(finished / "store", tmp_path / "store")
    measured = {path.name for path in artifacts(store, "measure")}
    for key in measured:
        shutil.rmtree(store / "artifacts" / key)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(SMOKE)

    def run(*options: str) -> str:
        found = CliRunner().invoke(cli, ["run", "tiny.yaml", "--store", "store", *options])
        assert found.exit_code == 0, (found.output, found.exception)
        return found.output

    assert "of prologue_tokens=0" not in run("--only", "prologue_tokens=2", "--dry-run")
    said = run("--only", "prologue_tokens=2")
    assert "Finished: prologue_tokens=2" in said
    assert "run with --so-far in place of --only" in said
    [made] = artifacts(store, "measure")
    assert made.name in measured
    assert not Path("reports").exists()
    run("--so-far", "--out", "some")
    runs = json.loads(Path("some/results.json").read_text())["runs"]
    assert [each["unfinished"] for each in runs] == [True, False]
    assert "prologue_tokens=0" in Path("some/results.md").read_text().split("\n")[2]
