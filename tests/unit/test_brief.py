"""What a run says at its end fits a screen, with the answer first."""

from __future__ import annotations

import attrs

from prologue_bench.reporting.brief import brief
from prologue_bench.results.loading import load_results
from tests.conftest import OLD_REPORTS, PUBLISHED

REPORTS = [*PUBLISHED, *sorted(OLD_REPORTS.iterdir())]


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
