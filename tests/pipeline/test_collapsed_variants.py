"""A variant whose model has collapsed wins nothing, wherever results are shown."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.regression.check import check_results, missing_seeds, parse_tolerance
from prologue_bench.reporting.brief import brief
from prologue_bench.reporting.comparison import compare_results
from prologue_bench.reporting.figures import forest_plots, tradeoffs
from prologue_bench.reporting.leaderboard import leaderboard
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.standings import standings
from prologue_bench.reporting.summary import metric_infos, split_metrics
from prologue_bench.reporting.tables import render_latex, render_markdown, summary_table
from prologue_bench.reporting.verdict import headline
from prologue_bench.results.collapse import collapsed, collapsed_parts
from prologue_bench.results.frame import frame, measured, summary
from prologue_bench.results.loading import load_results
from prologue_plugins.official.claims import examine
from tests.conftest import ROOT
from tests.documents import in_short, loaded, results_of
from tests.factories.verdicts import PICTURES

BROKEN = "2d, CE on visual"
REPORT = ROOT / "reports" / "tokenizers"
REASON = "in all 3 seeds (seed 0: visual uses 5 of 256 codes (2.0%) and carries 0.44 bits per image"
FLATTERED = ("generation_gap", "rate")


def numbers(changes: dict[str, dict[str, Any]], layout: tuple[str, ...] = ("visual",)) -> Any:
    """The published results of tokenizers with other measurements of one run."""
    document = loaded(REPORT)
    document["runs"] = [each for each in document["runs"] if each["variant"] == "1d"]
    document["variants"] = [each for each in document["variants"] if each["name"] == "1d"]
    document["baseline"] = "1d"
    (variant,) = document["variants"]
    (segment,) = variant["layout"]
    variant["layout"] = [{**segment, "name": name} for name in layout]
    run = next(each for each in document["runs"] if each["seed"] == 1)
    for each in run["measurements"]:
        each.update(changes.get(each["name"], {}))
    return results_of(document)


VISUAL = "collapsed codebook, visual carries 0.10 bits per image"
OTHER = "collapsed codebook, two words uses 1 of 9 codes (1.0%)"


@pytest.mark.parametrize(
    ("changes", "layout", "reason"),
    [
        ({}, ("visual",), ""),
        ({"gfid": {"warning": "all images have the same features"}}, ("visual",), "same features"),
        ({"gfid": {"warning": "looks odd"}}, ("visual",), ""),
        ({"rate": {"value": 0.99}}, ("visual",), "its tokens take 0.99 bits per image"),
        ({"rate": {"value": 1.0}}, ("visual",), ""),
        ({"rate": {"value": 0.5, "unit": "bits/dim"}}, ("visual",), ""),
        ({"gfid": {"warning": VISUAL}}, ("visual",), "visual carries 0.10 bits per image"),
        ({"gfid": {"warning": VISUAL}}, ("two words", "visual"), ""),
        (
            {"gfid": {"warning": VISUAL}, "rfid": {"warning": OTHER}},
            ("two words", "visual"),
            "two words uses 1 of 9 codes (1.0%); visual carries 0.10 bits per image",
        ),
    ],
)
def test_what_was_measured_says_which_models_have_collapsed(
    changes: dict[str, dict[str, Any]], layout: tuple[str, ...], reason: str
) -> None:
    found = collapsed(numbers(changes, layout))
    assert ("1d" in found) == bool(reason)
    if reason:
        assert str(found["1d"]).startswith("in 1 of 3 seeds (seed 1: ")
        assert reason in str(found["1d"])


def test_a_part_that_has_collapsed_is_named_and_forbids_nothing() -> None:
    results = load_results(ROOT / "reports" / "straight_through")
    assert collapsed(results) == {}
    assert collapsed_parts(results) == {"softmax 0.03": "prologue collapsed in seed 1"}
    page = (ROOT / "reports" / "straight_through" / "report.html").read_text(encoding="utf-8")
    assert '<small class="collapsed">prologue collapsed in seed 1</small>' in page


@pytest.fixture(scope="module")
def results() -> Any:
    return load_results(REPORT)


def test_it_is_worse_or_collapsed_and_nothing_else(results: Any) -> None:
    cells = summary(results)
    told = {cell.verdict for cell in cells[BROKEN].values() if cell.difference is not None}
    assert {"worse", "collapsed"} <= told
    assert not told & {"better", "equivalent", "noise"}
    assert all(cells[BROKEN][metric].verdict == "collapsed" for metric in FLATTERED)
    assert cells[BROKEN]["gfid"].verdict == "worse"
    assert not any(cell.waits_for_seeds for cell in cells[BROKEN].values())
    assert not any(
        cell.verdict == "collapsed"
        for name in cells
        if name != BROKEN
        for cell in cells[name].values()
    )


def test_no_leaderboard_has_it_as_its_best(results: Any) -> None:
    metrics = metric_infos(measured(results))
    there = [each for each in metrics if each.name in ("gfid", *FLATTERED)]
    assert len(there) == 1 + len(FLATTERED)
    for primary in there:
        board = leaderboard(results, summary(results), primary, metrics)
        assert BROKEN not in board.best.values()
        assert board.names[-1] == BROKEN, primary
        assert board.ranks is not None
        assert BROKEN not in board.ranks
        assert board.ranks["prologue"].place == 1, "nothing is behind what has collapsed"


def test_the_answer_names_it_with_its_reason_and_praises_it_nowhere(results: Any) -> None:
    main, _ = split_metrics(metric_infos(measured(results)), measured(results), results)
    answer = headline(summary(results), main, results)
    texts = [*answer.more, *summary_table(results)[0], *brief(results).sentences]
    assert f"Collapsed, so it counts as better on no metric: {BROKEN}, {REASON})." in answer.more
    praise = re.compile(rf"better(?: than \w+)?: [^;)]*{re.escape(BROKEN)}")
    assert not any(praise.search(text) for text in texts)
    assert not praise.search(render_markdown(results))


def test_it_is_marked_in_every_table(results: Any) -> None:
    assert f"| {BROKEN} (collapsed) |" in render_markdown(results)
    latex = render_latex(results)
    row = next(line for line in latex.splitlines() if line.startswith(BROKEN))
    assert row.startswith(rf"{BROKEN}$^\dagger$ & ")
    assert rf"% $^\dagger$: collapsed: {BROKEN}, {REASON}" in latex
    (shown,) = (row for row in brief(results).rows if row[0].text.startswith(BROKEN))
    assert shown[0].text == f"{BROKEN} (collapsed)"
    assert {cell.word for cell in shown[1:]} == {"worse", "collapsed"}
    assert not any(cell.best for cell in shown)


def test_the_page_shades_none_of_its_cells_as_better() -> None:
    page = render_html(results_of(in_short(loaded(REPORT))), PICTURES)
    board = page.partition('class="sortable board"')[2].partition("</table>")[0]
    (row,) = (row for row in board.split("<tr") if f">{BROKEN}</a>" in row)
    assert 'class="better"' not in row
    assert "<b>" not in row
    assert f'title="Collapsed {REASON})">collapsed</small>' in row
    for value in ("1.0", "0.16"):
        assert re.search(rf'class="collapsed">\s*{re.escape(value)}', row)


def test_no_forest_plot_and_no_front_is_in_its_favour(results: Any) -> None:
    metrics = metric_infos(measured(results))
    cells, rows = summary(results), frame(results)
    names = [each.name for each in results.variants]
    primary = next(each for each in metrics if each.name == "rate")
    (_, plot), *_ = forest_plots(primary, metrics, names, cells, rows, results)
    lines = [line for line in json.dumps(plot).split("\\n") if BROKEN in line and "orse" in line]
    assert '"collapsed"' in json.dumps(plot)
    assert not lines
    whole = rows[rows.variant != BROKEN]
    shown, others = tradeoffs(rows, results), tradeoffs(whole, results)
    assert shown
    for (_, plot), (_, other) in zip(shown, others, strict=True):
        assert _front(plot) == _front(other)


def _front(plot: Any) -> str:
    """The points of the dashed line, which is the first layer."""
    return str(plot["datasets"][plot["layer"][0]["data"]["name"]])


def test_a_leaderboard_over_several_results_has_no_rank_for_it(results: Any) -> None:
    document = loaded(REPORT)
    document["primary"] = "generation_gap"
    tables = standings({"tokenizers": results_of(document)})
    assert tables
    for table in tables:
        last = table.rows[-1]
        assert last.variant.name == BROKEN
        assert last.rank is None
        assert all(row.rank is not None and row.rank.place <= 5 for row in table.rows[:-1])


def test_a_comparison_says_where_it_has_collapsed(tmp_path: Path) -> None:
    document = loaded(REPORT)
    for run in document["runs"]:
        if run["variant"] == BROKEN:
            for each in run["measurements"]:
                each["warning"] = ""
                each["value"] = each["value"] + 5 if each["name"] == "rate" else each["value"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    (rate,) = (
        each
        for each in compare_results(load_results(tmp_path), load_results(REPORT))
        if each.metric == "rate"
    )
    assert {row.variant: row.collapsed for row in rate.rows}[BROKEN] == ("second",)
    shown = CliRunner().invoke(
        cli, ["compare", str(tmp_path), str(REPORT), "--metric", "rate"], catch_exceptions=False
    )
    assert f"{BROKEN} (collapsed in second)" in shown.output
    assert f"{BROKEN} has collapsed in the second results, {REASON}" in shown.output
    gate = CliRunner().invoke(
        cli, ["regress", str(REPORT), "--against", str(tmp_path)], catch_exceptions=False
    )
    (row,) = (
        line
        for line in gate.output.splitlines()
        if line.startswith("rate (bits/image)") and BROKEN in line
    )
    assert row.endswith("ok"), row


def test_with_a_collapsed_baseline_there_is_no_verdict() -> None:
    document = loaded(REPORT)
    document["baseline"] = BROKEN
    results = results_of(document)
    main, _ = split_metrics(metric_infos(measured(results)), measured(results), results)
    cells = summary(results)
    answer = headline(cells, main, results)
    assert answer.sentence == f"No verdict: the baseline, {BROKEN}, has collapsed."
    verdicts = {cell.verdict for row in cells.values() for cell in row.values()}
    assert not verdicts & {"better", "worse", "equivalent", "noise"}
    board = leaderboard(results, cells, main[0], main)
    assert board.ranks is None
    assert BROKEN not in board.best.values()


def test_with_a_collapsed_baseline_no_sound_variant_is_marked_as_collapsed() -> None:
    document = loaded(REPORT)
    document["baseline"] = BROKEN
    results = results_of(document)
    cells = summary(results)
    told = {cell.verdict for row in cells.values() for cell in row.values() if cell.difference}
    assert "baseline collapsed" in told
    assert not told & {"collapsed", "better", "worse", "equivalent", "noise"}
    metrics = metric_infos(measured(results))
    names = [each.name for each in results.variants]
    plots = forest_plots(metrics[0], metrics, names, cells, frame(results), results)
    drawn = json.dumps([plot for _, plot in plots])
    assert "baseline collapsed" in drawn
    assert not re.search(r",(better|worse|open|same|collapsed),", drawn)
    page = render_html(results_of(in_short(document)), PICTURES)
    assert f"The baseline, {BROKEN}, has collapsed: a difference from it" in page
    assert "Yellow: what has collapsed" not in page
    assert "Green cells" not in page
    assert not re.search(r'<td[^>]* class="(better|worse|same|collapsed)"', page)
    assert "<i>baseline collapsed</i>" in page
    told_in_words = [*summary_table(results)[0], render_markdown(results)]
    assert any("No verdicts: the baseline has collapsed" in text for text in told_in_words)
    assert ", baseline collapsed)" in render_markdown(results)
    words = {cell.word for row in brief(results).rows for cell in row[1:]} - {""}
    assert words == {"baseline collapsed"}


def test_a_claim_counts_the_harm_of_a_collapse_and_nothing_else() -> None:
    document = loaded(REPORT)
    harm = {claim.number: claim for claim in examine(results_of(document))}["2a"]
    assert harm.verdict == "holds"
    assert f"{BROKEN} has collapsed" in str(harm.evidence[0])
    warned = deepcopy(document)
    for run in warned["runs"]:
        if run["variant"] == "prologue":
            for each in run["measurements"]:
                each["value"] -= {"gfid": 200, "rate": 50, "generation_gap": 50}.get(
                    each["name"], 0
                )
    before = {claim.number: claim for claim in examine(results_of(deepcopy(warned)))}
    for run in warned["runs"]:
        if run["variant"] == "prologue" and run["seed"] == 2:
            run["measurements"][0]["warning"] = "all images have the same features"
    after = {claim.number: claim for claim in examine(results_of(warned))}
    for number in ("1a", "1c", "5"):
        assert before[number].verdict == "holds"
        assert after[number].verdict == "cannot tell"
        assert after[number].seeds_to_settle is None


def test_a_collapse_since_the_baseline_is_a_regression_whatever_the_limits() -> None:
    was, now = numbers({}), numbers({"gfid": {"warning": "all images have the same features"}})
    for limits in ([], [parse_tolerance("rate:+1%")]):
        failed = [each for each in check_results(now, was, limits) if each.failed]
        assert [(each.metric, each.variant, each.after) for each in failed] == [
            ("collapse", "1d", 1.0)
        ]
        assert not any(each.failed for each in check_results(now, now, limits)), "it had before"


def test_seeds_that_are_gone_since_the_baseline_are_told() -> None:
    was, fewer = numbers({}), numbers({"gfid": {"value": None}})
    assert missing_seeds(was, was) == []
    assert missing_seeds(fewer, was) == ["1d: 2 training seeds, the baseline has 3."]
