"""The published reports are read and drawn as they were: every number, table and figure."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from prologue_bench.cli.console.results import show_brief
from prologue_bench.reporting.brief import MOST, brief
from prologue_bench.reporting.figures import heat_maps, tradeoffs
from prologue_bench.reporting.tables import render_csv, render_latex, render_markdown
from prologue_bench.reporting.words import scale_notes
from prologue_bench.results.frame import frame
from prologue_bench.results.loading import load_numbers, load_results
from prologue_bench.results.pictures import load_pictures
from tests.conftest import OLD_REPORTS, PUBLISHED, ROOT

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


@pytest.mark.parametrize(
    "path",
    [
        *PUBLISHED,
        *sorted(OLD_REPORTS.iterdir()),
        *(ROOT / "registry/baselines").glob("*.json"),
    ],
)
def test_what_is_published_here_is_read(path: Path) -> None:
    assert load_numbers(path).runs
    if path.is_dir():
        assert len(load_results(path).runs) > 1
        assert load_pictures(path).files
        assert not load_pictures(path).left_out


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
    scales = sum("not comparable with published " in line for line in lines)
    assert scales == len(scale_notes(results))
