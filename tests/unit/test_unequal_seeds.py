"""Tables whose cells are over different numbers of seeds say so."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from prologue_bench.reporting.brief import brief
from prologue_bench.reporting.comparison import compare_results
from prologue_bench.reporting.leaderboard import _training_flops
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.sections import searches
from prologue_bench.reporting.tables import render_latex, render_markdown
from prologue_bench.results.frame import summary
from prologue_bench.results.pictures import Pictures
from prologue_bench.texts.numbers import number as in_text
from prologue_plugins.official.claims import examine
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


def test_the_first_sentence_and_the_terminal_compare_what_both_have(failed: dict[str, Any]) -> None:
    results = results_of({**failed, "baseline": BROKEN})
    cell = summary(results)["prologue_tokens=0"]["gfid"]
    assert cell.difference is not None
    assert cell.shared is not None
    assert cell.shared[0] != pytest.approx(cell.mean)
    assert cell.shared[0] - cell.shared[1] == pytest.approx(cell.difference.mean)
    own, reference = map(in_text, cell.shared)
    found = brief(results)
    assert any(f"{own} against {reference}" in sentence for sentence in found.sentences)
    [row] = [row for row in found.rows if row[0].text.startswith(BROKEN)]
    assert all(", 3 seeds" in each.text for each in row[1:])


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


def test_a_search_counts_once_however_often_its_training_was_sampled() -> None:
    document = loaded(ROOT / "reports" / "steady")
    before = {
        row.point: (dict(row.values), dict(row.chosen)) for row in searches(results_of(document))
    }
    again = [
        {**deepcopy(run), "sampling_seed": seed} for run in document["runs"] for seed in (1, 2)
    ]
    document.update(runs=[*document["runs"], *again], sampling_seeds=[0, 1, 2])
    assert points_of(document) == before


def test_operations_are_of_a_run_with_all_its_trainings() -> None:
    document = loaded(ROOT / "reports" / "steady")
    whole = sizes_of(document)
    first = next(each for each in document["runs"] if each["variant"] == BROKEN)
    stages = [each for each in first["stages"] if each["stage"] != "train-generator"]
    first.update(stages=stages, failures={"train-generator": "out of memory"})
    assert sizes_of(document) == whole
    for run in document["runs"]:
        for stage in run["stages"] if run["variant"] == BROKEN else ():
            if stage["stage"] == "train-tokenizer":
                stage["stage"] = "imported-tokenizer"
    assert BROKEN not in sizes_of(document)


def sizes_of(document: dict[str, Any]) -> dict[str, float]:
    return _training_flops(results_of(document))


def points_of(document: dict[str, Any]) -> dict[str, tuple[dict[str, float], dict[str, int]]]:
    rows = searches(results_of(document))
    return {row.point: (dict(row.values), dict(row.chosen)) for row in rows}


def test_claims_are_a_share_of_a_reference_that_weighs_training_seeds_alike() -> None:
    document = loaded(ROOT / "reports" / "steady")
    reference = summary(results_of(document))["prologue_tokens=0"]["gfid"].mean
    again = [
        {**sampled_anew(run, seed), "sampling_seed": seed}
        for run in document["runs"]
        for seed in (1, 2)
        if run["seed"] == 0
    ]
    document.update(runs=[*document["runs"], *again], sampling_seeds=[0, 1, 2])
    [lower] = [each for each in examine(results_of(document)) if each.number == "1a"]
    assert lower.evidence[0].reference == pytest.approx(reference)


def sampled_anew(run: dict[str, Any], seed: int) -> dict[str, Any]:
    """The run as of another sampling seed: its measurements are other artifacts."""
    run = deepcopy(run)
    for each in run["measurements"]:
        each["artifact"] += str(seed)
    for stage in run["stages"]:
        if stage["stage"].startswith(("measure", "sample")):
            stage["key"] += str(seed)
    return run
