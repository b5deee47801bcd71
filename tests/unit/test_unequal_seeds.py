"""Tables whose cells are over different numbers of seeds say so."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from prologue_bench.reporting.comparison import compare_results
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.tables import render_latex, render_markdown
from prologue_bench.results.frame import summary
from prologue_bench.results.pictures import Pictures
from tests.conftest import ROOT
from tests.documents import loaded, results_of

BROKEN = "prologue_tokens=8"
OVER = "Each cell: mean and standard deviation (SD) over 6 training seeds"


@pytest.fixture(scope="module")
def failed() -> dict[str, Any]:
    """Published results of six seeds, as if one variant had failed in three."""
    document = deepcopy(loaded(ROOT / "reports" / "steady"))
    for run in [each for each in document["runs"] if each["variant"] == BROKEN][:3]:
        run.update(measurements=[], stages=[], failures={"sample": "out of memory"})
    return document


def test_a_mean_over_fewer_seeds_says_over_how_many(failed: dict[str, Any]) -> None:
    results = results_of(failed)
    assert summary(results)[BROKEN]["gfid"].seeds == 3
    page = render_markdown(results)
    assert f"{OVER}, or as many as it says;" in page
    assert "A difference is over the seeds that both have." in page
    base, row = (line for line in page.splitlines() if line.startswith("| prologue_tokens="))
    assert row.count(", 3 seeds") == row.count("SD") > 5
    assert "seeds" not in base
    assert render_html(results, Pictures({})).count("<small>3 seeds</small>") > 5


def test_the_latex_table_says_it_too_and_what_failed(failed: dict[str, Any]) -> None:
    latex = render_latex(results_of(failed))
    assert latex.count(" (3 seeds)") > 5
    assert "% Failed: prologue_tokens=8, seed 0, sample: out of memory" in latex


def test_nothing_is_said_where_all_are_over_as_many() -> None:
    results = results_of(loaded(ROOT / "reports" / "steady"))
    for text in (render_markdown(results), render_latex(results)):
        assert "or as many" not in text
        assert "6 seeds)" not in text


def test_compared_means_weigh_training_seeds_alike_however_often_they_were_sampled() -> None:
    document = loaded(ROOT / "reports" / "steady")
    runs = [each for each in document["runs"] if each["variant"] == BROKEN][:2]
    again = [{**deepcopy(runs[0]), "sampling_seed": seed} for seed in (1, 2)]
    document.update(runs=[*runs, *again], sampling_seeds=[0, 1, 2])
    other = deepcopy(document)
    for number, run in enumerate(other["runs"]):
        for measurement in run["measurements"]:
            if measurement["name"] == "gfid":
                measurement["value"] += 10 if number == 1 else 1
    (found,) = (
        each
        for each in compare_results(results_of(document), results_of(other))
        if each.metric == "gfid"
    )
    (row,) = found.rows
    assert row.difference is not None
    assert row.difference.mean == pytest.approx((1 + 10) / 2)
    assert row.second - row.first == pytest.approx(row.difference.mean)
