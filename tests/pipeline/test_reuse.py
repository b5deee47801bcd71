"""Runs that earlier results hold are not run again; a report can be written while runs go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prologue_bench.cli.app import cli


def run(folder: Path, *arguments: str, store: str = "store", out: str = "report") -> Result:
    """Run the tiny ablation of a folder."""
    where = ["--store", str(folder / store), "--out", str(folder / out)]
    return CliRunner().invoke(cli, ["run", str(folder / "tiny.yaml"), *where, *arguments])


@pytest.fixture(scope="module")
def first_seed(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A folder with the report of seed 0 in it, whose store is gone; read only."""
    folder = tmp_path_factory.mktemp("reuse")
    shutil.copy(finished / "tiny.yaml", folder)
    shutil.copytree(finished / "report", folder / "seed-0")
    return folder


def results_of(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name / "results.json").read_text())
    return found


def values(results: dict[str, Any], seed: int) -> list[tuple[str, str, float]]:
    return [
        (run["variant"], m["name"], m["value"])
        for run in results["runs"]
        if run["seed"] == seed
        for m in run["measurements"]
    ]


def test_only_the_other_seed_is_trained(first_seed: Path, tmp_path: Path) -> None:
    shutil.copy(first_seed / "tiny.yaml", tmp_path)
    found = run(tmp_path, "--seeds", "0,1", "--reuse", str(first_seed / "seed-0"))
    assert found.exit_code == 0, found.output
    assert "2 of 4 runs are taken from" in found.output
    earlier, results = results_of(first_seed, "seed-0"), results_of(tmp_path, "report")
    assert values(results, 0) == values(earlier, 0)
    assert values(results, 1)
    assert all(not run["unfinished"] for run in results["runs"])
    assert len(list((tmp_path / "store" / "artifacts").iterdir())) == 12  # the stages of one seed
    for name in ("samples-0", "samples-1", "reconstructions-1", "prefixes-1"):
        assert (tmp_path / "report" / "assets" / f"{name}.png").read_bytes() == (
            first_seed / "seed-0" / "assets" / f"{name}.png"
        ).read_bytes()
    assert "2 of 4, from tiny of" in (tmp_path / "report" / "report.html").read_text()


def test_a_report_reuses_itself(first_seed: Path, tmp_path: Path) -> None:
    shutil.copy(first_seed / "tiny.yaml", tmp_path)
    shutil.copytree(first_seed / "seed-0", tmp_path / "report")
    found = run(tmp_path, "--reuse", str(tmp_path / "report"))
    assert found.exit_code == 0, found.output
    assert not (tmp_path / "store" / "artifacts").exists()
    assert values(results_of(tmp_path, "report"), 0) == values(results_of(first_seed, "seed-0"), 0)


def test_a_picture_that_cannot_be_reused_is_named(first_seed: Path, tmp_path: Path) -> None:
    shutil.copy(first_seed / "tiny.yaml", tmp_path)
    shutil.copytree(first_seed / "seed-0", tmp_path / "earlier")
    (tmp_path / "earlier" / "assets" / "samples-1.png").write_bytes(b"cut")
    found = run(tmp_path, "--reuse", str(tmp_path / "earlier"))
    assert found.exit_code == 0, found.output
    assert "earlier/assets/samples-1.png: not a whole PNG" in found.stderr
    assert (tmp_path / "report" / "assets" / "samples-0.png").exists()
    assert not (tmp_path / "report" / "assets" / "samples-1.png").exists()


def test_results_with_other_settings_are_refused(first_seed: Path, tmp_path: Path) -> None:
    shutil.copy(first_seed / "tiny.yaml", tmp_path)
    found = run(
        tmp_path, "--reuse", str(first_seed / "seed-0"), "--set", "generator_training.steps=7"
    )
    assert found.exit_code != 0
    assert "none of 2 complete runs belongs to this ablation" in str(found.exception)
    assert not (tmp_path / "report").exists()


def test_a_plan_leaves_out_what_is_reused(first_seed: Path, tmp_path: Path) -> None:
    arguments = [
        "plan",
        str(first_seed / "tiny.yaml"),
        "--store",
        str(tmp_path),
        "--seeds",
        "0,1",
        "--json",
    ]
    alone, reusing = (
        json.loads(CliRunner().invoke(cli, [*arguments, *more]).stdout)
        for more in ((), ("--reuse", str(first_seed / "seed-0")))
    )
    pictures = [stage for stage in alone if stage["stage"].startswith("picture")]
    assert pictures, "of the first seed, which is reused"
    assert len(alone) - len(pictures) == 2 * len(reusing)
    assert all("seed 1" in stage["experiment"] for stage in reusing)


def test_a_report_of_what_is_finished_so_far(first_seed: Path, tmp_path: Path) -> None:
    shutil.copy(first_seed / "tiny.yaml", tmp_path)
    reuse = ("--reuse", str(first_seed / "seed-0"))
    found = run(tmp_path, "--seeds", "0,1", *reuse, "--so-far")
    assert found.exit_code == 0, found.output
    results = results_of(tmp_path, "report")
    assert [run["unfinished"] for run in results["runs"]] == [
        run["seed"] == 1 for run in results["runs"]
    ]
    assert values(results, 0)
    assert not values(results, 1)
    assert results["seeds"] == [0]
    text = (tmp_path / "report" / "results.md").read_text()
    assert "Not finished yet: prologue_tokens=0, seed 1; prologue_tokens=2, seed 1." in text
    refused = CliRunner().invoke(
        cli, ["bless", str(tmp_path / "report"), "--out", str(tmp_path / "baseline.json")]
    )
    assert "unfinished" in str(refused.exception)


def test_a_run_is_whole_without_what_its_measurements_were_made_from(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copy(finished / "tiny.yaml", tmp_path)
    shutil.copytree(finished / "store", tmp_path / "store")
    gone = 0
    for manifest in (tmp_path / "store" / "artifacts").glob("*/manifest.json"):
        if json.loads(manifest.read_text())["kind"] in ("encode", "sample", "reconstruct"):
            shutil.rmtree(manifest.parent)
            gone += 1
    assert gone
    found = run(tmp_path, "--so-far")
    assert found.exit_code == 0, found.output
    results = results_of(tmp_path, "report")
    assert not any(run["unfinished"] for run in results["runs"])
    assert values(results, 0) == values(results_of(finished, "report"), 0)
