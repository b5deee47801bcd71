"""What a run writes, and what is published, passes `validate`, and is known by its checksums."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.reporting.extracts import extract, shown_metrics, to_text
from prologue_bench.reporting.replacing import CSV as THE_REPORT_S
from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import Results
from prologue_bench.results.spreadsheet import CSV
from prologue_bench.results.strict import to_json
from prologue_bench.results.validation import validate
from tests.conftest import ROOT, run_tiny

REPORTS = sorted(path.parent for path in ROOT.glob("reports/*/results.json"))
ROWS = sorted(ROOT.glob("registry/results/*.json"))


def written(folder: Path, text: str) -> Path:
    path = folder / "results.json"
    path.write_text(text)
    return path


def test_a_run_s_own_report_is_valid_and_its_files_are_known(
    two_seeds: Path, tmp_path: Path
) -> None:
    report = shutil.copytree(two_seeds / "report", tmp_path / "report")
    assert validate(report).problems == ()
    files = [path for path in report.rglob("*") if path.is_file()]
    assert f"{len(files) - 1} files as their SHA-256 says" in validate(report).summary
    with (report / "results.md").open("a") as table:
        table.write("better than all others\n")
    assert list(validate(report).problems) == [
        "files: results.md was changed: it has another SHA-256 than the report says"
    ]


SEARCHING = """
name: searching
title: A search, guidance, several draws, and settings of all kinds
data: {use: shapes, size: 14, train_images: 96, test_images: 64}
profile: smoke
plugins: [./my_tokenizer.py]
tokenizer: {use: prologue, prologue_tokens: 2}
generator: {use: ar}
variants:
  searched: {}
  colder: {sampling.temperature: {prologue: 0.5, default: 1}, tokenizer: {use: prologue}}
  joint: {tokenizer_training.prior_labels: true, generator_training.joint: true}
  mine: {tokenizer: my-tokenizer}
sampling:
  samples: 40
  batch_size: 20
  guidance: {all: {schedule: linear, scale: 2}}
  search:
    grid: {top_p: [0.9, 1], temperature: [1, {prologue: 0.7}]}
    samples: 24
    validation_images: 16
seeds: [0]
sampling_seeds: [0, 3]
metrics:
  [gfid, rfid, rate, codebook, conditional-entropy, cost, token-bits,
   {use: precision-recall, images: 30}]
"""


def test_a_report_of_searches_and_its_extract_are_valid(tmp_path: Path) -> None:
    plugin = ["new", "tokenizer", "my-tokenizer", "--out", str(tmp_path / "my_tokenizer.py")]
    assert CliRunner().invoke(cli, plugin).exit_code == 0
    run_tiny(tmp_path, text=SEARCHING)
    assert validate(tmp_path / "report").problems == ()
    row = tmp_path / "row.json"
    told = CliRunner().invoke(cli, ["validate", str(tmp_path / "report"), "--extract", str(row)])
    assert told.exit_code == 0
    assert validate(row).problems == ()


CHANGED = ["value", "half_width", "count", "seed", "metric", "variant"]


@pytest.mark.parametrize("column", CHANGED)
def test_the_csv_beside_results_has_their_numbers(tmp_path: Path, column: str) -> None:
    report = ROOT / "reports" / "prologue_count"
    document = json.loads((report / "results.json").read_text())
    del document["files"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    table = (report / "results.csv").read_text()
    (tmp_path / "results.csv").write_text(table)
    assert validate(tmp_path).problems == ()
    rows = list(csv.DictReader(io.StringIO(table)))
    rows[7][column] = "7.25"
    with (tmp_path / "results.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (problem,) = validate(tmp_path).problems
    assert problem.startswith("results.csv")
    assert "found '7.25', expected" in problem
    assert CSV == THE_REPORT_S


@pytest.mark.parametrize(
    "path", [*REPORTS, *ROWS], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_what_is_committed_has_the_form_of_results_and_its_checksums(path: Path) -> None:
    found = validate(path)
    assert found.results is not None, found.problems
    assert [each for each in found.problems if "SHA-256" in each or "files" in each] == []


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_the_rows_of_the_leaderboard_are_valid_extracts(path: Path) -> None:
    found = validate(path)
    assert found.problems == ()
    assert found.results is not None
    assert found.results.extract is not None


@pytest.mark.parametrize("folder", REPORTS, ids=lambda path: path.name)
def test_damage_to_a_published_report_is_found(folder: Path, tmp_path: Path) -> None:
    before = set(validate(folder).problems)
    found = json.loads((folder / "results.json").read_text())
    first = found["runs"][0]["measurements"][0]
    first["protocol"]["details"] = {}
    problems = validate(written(tmp_path, json.dumps(found))).problems
    (told,) = {each for each in problems if "found no protocol" in each} - before
    assert told.startswith(f"{found['runs'][0]['variant']}, seed ")


@pytest.mark.parametrize("folder", REPORTS, ids=lambda path: path.name)
def test_a_published_report_s_extract_ranks_as_the_report(folder: Path, tmp_path: Path) -> None:
    results: Results = load_results(folder)
    row = written(tmp_path, to_text(extract(results, b"", folder)))
    found = load_results(row)
    assert shown_metrics(found) == shown_metrics(results)
    assert to_json(found) == to_json(load_results(row))
    assert row.stat().st_size < (folder / "results.json").stat().st_size
