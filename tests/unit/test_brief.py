"""What a run says at its end fits a screen, with the answer first."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from prologue_bench.cli.console.results import show_brief
from prologue_bench.reporting.brief import MOST, brief
from prologue_bench.reporting.words import scale_notes
from prologue_bench.results.loading import load_results
from tests.conftest import OLD_REPORTS, PUBLISHED

REPORTS = [*PUBLISHED, *sorted(OLD_REPORTS.iterdir())]


@pytest.mark.parametrize("folder", REPORTS, ids=lambda path: path.name)
def test_the_answer_stands_over_a_table_of_five_columns_at_most(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = load_results(folder)
    found = brief(results)
    assert 2 <= len(found.head) <= MOST + 1
    assert {len(row) for row in found.rows} == {len(found.head)}
    assert len(found.rows) == len(results.variants)
    show_brief(found)
    lines = capsys.readouterr().out.splitlines()
    assert results.title in lines[1]
    assert found.sentences[0] in lines[2]
    assert not any(line.startswith("|") for line in lines)
    scales = sum("not comparable with published FID" in line for line in lines)
    assert scales == len(scale_notes(results))


def test_a_seed_alone_has_neither_verdicts_nor_a_best() -> None:
    results = load_results(OLD_REPORTS / "prologue_count")
    one = attrs.evolve(
        results, seeds=(0,), runs=tuple(run for run in results.runs if run.seed == 0)
    )
    found = brief(one)
    assert found.sentences[0] == "One training seed: no verdict."
    assert not any(cell.best or cell.word for row in found.rows for cell in row)


def test_what_is_better_says_so_and_the_best_of_a_column_is_marked() -> None:
    found = brief(load_results(OLD_REPORTS / "prologue_count"))
    cells = [cell for row in found.rows for cell in row[1:]]
    assert [cell.best for cell in cells].count(True) == len(found.head) - 1
    assert {cell.word for cell in cells} >= {"", "open"}
    assert any(note.startswith("Warning: prologue_tokens=16: seed 0") for note in found.notes)
