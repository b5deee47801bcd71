"""The published reports are read and drawn as they were: every number, table and figure."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from prologue_bench.reporting.figures import heat_maps, tradeoffs
from prologue_bench.reporting.tables import render_csv, render_latex, render_markdown
from prologue_bench.results.frame import frame
from prologue_bench.results.loading import load_results
from tests.conftest import OLD_REPORTS, PUBLISHED

REPORTS = [*PUBLISHED, *sorted(OLD_REPORTS.iterdir())]


@pytest.mark.parametrize("folder", REPORTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_number_of_a_published_report_stays(folder: Path) -> None:
    results = load_results(folder)
    assert render_markdown(results).rstrip() == (folder / "results.md").read_text().rstrip()
    assert render_latex(results).rstrip() == (folder / "results.tex").read_text().rstrip()
    drawn, kept = (
        pd.read_csv(io.StringIO(text))
        for text in (render_csv(frame(results)), (folder / "results.csv").read_text())
    )
    for table in (drawn, kept):  # an apostrophe keeps "-ELBO" from being a formula
        table["title"] = table["title"].str.removeprefix("'")
    # Titles are today's.
    kept["title"] = kept["title"].str.replace(" a position, ", " per position, ")
    pd.testing.assert_frame_equal(drawn, kept, check_exact=True)


def test_the_figures_of_metrics_that_did_not_declare_them_stay() -> None:
    results = load_results(OLD_REPORTS / "prologue_count")
    assert [title for title, _ in tradeoffs(frame(results), results)] == [
        "Reconstruction against generation",
        "Cost against quality",
        "Rate against distortion, the two terms of the -ELBO",
    ]
    segments = [f"{each.name}, {of.name}" for each in results.variants for of in each.layout]
    assert {name: [title for title, _ in maps] for name, maps in heat_maps(results).items()} == {
        "codebook perplexity per position": segments
    }
