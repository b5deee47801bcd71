"""What a run writes passes `validate`, and its report is known by its checksums."""

from __future__ import annotations

import shutil
from pathlib import Path

from prologue_bench.results.validation import validate

UNTRAINED = "a guess takes no more"
"""A generator of a few steps may be worse than a guess, and `validate` says so."""


def problems(report: Path) -> list[str]:
    return [each for each in validate(report).problems if UNTRAINED not in each]


def test_a_run_s_own_report_is_valid_and_its_files_are_known(
    two_seeds: Path, tmp_path: Path
) -> None:
    report = shutil.copytree(two_seeds / "report", tmp_path / "report")
    assert problems(report) == []
    files = [path for path in report.rglob("*") if path.is_file()]
    assert f"{len(files) - 1} files as their SHA-256 says" in validate(report).summary
    with (report / "results.md").open("a") as table:
        table.write("better than all others\n")
    assert problems(report) == [
        "files: results.md was changed: it has another SHA-256 than the report says"
    ]
