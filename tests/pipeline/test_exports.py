"""A finished run as a folder of its own: weights, settings and a model card."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from prologue_bench.cli.app import cli
from prologue_bench.documents import yaml_values
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.runs.exports import load_export
from prologue_bench.runs.loading import load_run
from prologue_bench.storage.store import Store
from tests.conftest import SMOKE, run_tiny

VARIANT = "prologue_tokens=2"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report, its store, and the export of one of its runs; read only."""
    folder = tmp_path_factory.mktemp("exports")
    run_tiny(folder, text=SMOKE.replace("A tiny comparison", "'A <b>tiny</b> | comparison'"))
    where = ("--store", str(folder / "store"), "--out", str(folder / "export"))
    found = invoke("export", str(folder / "report"), "--variant", VARIANT, *where)
    assert found.exit_code == 0, (found.output, found.exception)
    return folder


def test_an_export_draws_what_the_run_draws_without_the_store(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder / "export", moved)
    run = load_run(
        load_results(folder / "report"), Store(folder / "store"), Registry.load(), VARIANT, 0
    )
    found = load_export(moved)
    labels = torch.arange(4)
    ids = found.draw(labels, 5)
    assert torch.equal(ids, run.draw(labels, 5))
    assert np.array_equal(found.decode(ids), run.decode(ids))
    picture = tmp_path / "grid.png"
    assert invoke("sample", str(moved), "--fix-prologue", "--out", str(picture)).exit_code == 0
    expected = tmp_path / "expected.png"
    where = ("--store", str(folder / "store"), "--variant", VARIANT)
    assert (
        invoke(
            "sample", str(folder / "report"), *where, "--fix-prologue", "--out", str(expected)
        ).exit_code
        == 0
    )
    assert picture.read_bytes() == expected.read_bytes()


def test_the_card_has_metadata_measurements_and_code_that_runs(folder: Path) -> None:
    card = (folder / "export" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    metadata = yaml_values.read(front)
    run = next(run for run in load_results(folder / "report")["runs"] if run["variant"] == VARIANT)
    values = {each["name"]: each["value"] for each in run["measurements"] if not each["detail"]}
    metrics = metadata["model-index"][0]["results"][0]["metrics"]
    assert {each["type"]: each["value"] for each in metrics} == values
    assert metadata["datasets"] == ["shapes"]
    assert "A &lt;b>tiny&lt;/b> \\| comparison" in body
    for stage in run["stages"]:
        assert ("| " + stage["stage"] in body) == (not stage["stage"].startswith("measure"))
    code = body.split("```python\n")[1].split("```")[0] + "\nprint(images.shape, ids.shape)\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "(4, 3, 14, 14) torch.Size([1, 6])"


def test_exports_that_do_not_fit_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "export", other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(
        json.dumps({**config, "versions": {**config["versions"], "tokenizer": 99}})
    )
    with pytest.raises(
        UserError, match=r"tokenizer 'prologue' has version \d+ here and 99 in the export"
    ):
        load_export(other)
    (other / "config.json").write_text("{}")
    with pytest.raises(UserError, match="found another format, expected 1"):
        load_export(other)
    with pytest.raises(UserError, match="expected a folder written by 'prologue-bench export'"):
        load_export(tmp_path)
    refused = invoke("sample", str(folder / "export"), "--variant", VARIANT)
    assert "leave out --variant and --training-seed" in str(refused.exception)
