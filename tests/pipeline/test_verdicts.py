"""Verdicts, the intervals beside them, and the claims: all from one family of tests."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prologue_bench.cli.app import cli
from prologue_bench.errors import UserError
from prologue_bench.reporting import report as reports
from prologue_bench.reporting import tables
from prologue_bench.reporting.comparison import compare_results
from prologue_bench.results.frame import measured
from prologue_bench.results.merge import merge_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.plain import plain
from prologue_bench.stats.differences import summarise
from prologue_bench.stats.intervals import half_width, share_half_width
from prologue_bench.texts.numbers import plus_minus
from prologue_plugins.metrics.fidelity import DensityCoverage, PrecisionRecall
from prologue_plugins.metrics.settings import DensityCoverageSettings, PrecisionRecallSettings
from prologue_plugins.official.claims import Evidence, markdown
from tests.conftest import PUBLISHED
from tests.documents import in_short, loaded, results_of
from tests.factories.claims import examine
from tests.factories.claims import results as claimed
from tests.factories.verdicts import PICTURES, cells_of, findings_of, report, rows

REPORTS = [folder / "results.json" for folder in PUBLISHED]
EVIL = "<script>x</script> [a](b) | *c*\n# d"


def render_html(results: dict[str, Any], pictures: Pictures) -> str:
    return reports.render_html(results_of(results), pictures)


def render_markdown(results: dict[str, Any]) -> str:
    return tables.render_markdown(results_of(results))


def render_latex(results: dict[str, Any]) -> str:
    return tables.render_latex(results_of(results))


def of_one_seed(results: dict[str, Any], sampling_seeds: int = 1) -> dict[str, Any]:
    """Only the first training seed, sampled from so many times, each time with other numbers."""
    runs = []
    for run in results["runs"]:
        for sampling_seed in range(sampling_seeds) if run["seed"] == 0 else ():
            again = copy.deepcopy({**run, "sampling_seed": sampling_seed})
            for index, each in enumerate(again["measurements"]):
                each["value"] *= 1 + 0.001 * sampling_seed * (index % 3)
            runs.append(again)
    return {**results, "runs": runs, "seeds": [0], "sampling_seeds": list(range(sampling_seeds))}


def shown_differences(text: str) -> Iterator[tuple[float, float, bool]]:
    """Each difference in a rendered table: its size, its interval, and whether it is open.

    Those that are the same within the margin, and those of what has collapsed, may do either.
    """
    marks = r"[+−]([\d.,e-]+) ± ([\d.,e-]+)(?:,? (open|same|equivalent|collapsed))?"
    for size, width, mark in re.findall(marks, text):
        if mark in ("", "open"):
            numbers = (float(each.rstrip(",").replace(",", "")) for each in (size, width))
            yield *numbers, bool(mark)


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_in_the_committed_reports_no_mark_contradicts_its_interval(path: Path) -> None:
    results = loaded(path)
    seen = 0
    for row in cells_of(results).values():
        for cell in row.values():
            found = cell.difference
            if found is not None and cell.verdict in ("better", "worse", "noise"):
                assert found.half_width is not None
                assert (abs(found.mean) > found.half_width) == (cell.verdict != "noise")
                assert found.p_value is not None
                assert (found.p_value < 0.05) == (cell.verdict != "noise")
                seen += 1
    if len(results["seeds"]) == 1:
        assert not seen, "one training seed has no marks"
        return
    # Where tokenizers alone were trained, there are few; two variants alone have a dozen.
    generates = any(each["name"] == "gfid" for each in results["runs"][0]["measurements"])
    assert seen > (12 if generates else 2)
    # Of a table, and of the page, as they are read: after rounding.
    html = (path.parent / "report.html").read_text(encoding="utf-8")
    for text in (
        render_markdown(results).partition("| --- |")[2],
        html.partition('id="leaderboard"')[2].partition("How to read this")[0],
        html.partition('id="metrics"')[2].partition("By segment")[0].partition('id="plots"')[0],
    ):
        found_there = list(shown_differences(re.sub(r"<[^>]*>", "", text)))
        assert len(found_there) > (10 if generates else 2)
        for size, width, marked in found_there:
            assert marked == (size <= width), (size, width, marked)


def test_the_claims_verdicts_are_those_of_the_tables_for_the_same_differences() -> None:
    seen = 0
    for path in REPORTS:
        results = loaded(path)
        cells = cells_of(results)
        for claim in examine(results):
            for each in claim.evidence:
                if each.against != results["baseline"]:
                    continue
                cell = cells[each.variant][each.metric]
                assert each.difference is not None
                assert attrs.evolve(each.difference, margin=None) == cell.difference
                if each.expected in ("lower", "higher", "different"):
                    # The tables here have no margin, within which a difference is equivalent.
                    is_decided = each.verdict() not in ("cannot tell", "equivalent")
                    assert is_decided == (cell.verdict in ("better", "worse"))
                seen += 1
    assert seen > 30


def test_the_intervals_of_one_metric_are_simultaneous_over_all_variants() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=5)
    others = {f"v{index}": base + 1 + rng.normal(size=5) for index in range(4)}
    cells = summarise(rows({"base": list(base), **{n: list(v) for n, v in others.items()}}), "base")
    for name, values in others.items():
        expected = stats.ttest_rel(values, base)
        interval = expected.confidence_interval(1 - 0.05 / 4)
        found = cells[name]["m"].difference
        assert found is not None
        assert found.half_width == pytest.approx((interval.high - interval.low) / 2)
        assert found.p_value == pytest.approx(min(1, 4 * expected.pvalue))
        assert found.family == 4


def test_all_intervals_of_a_family_hold_at_once_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        base = rng.normal(size=4)
        others = {f"v{i}": list(base + 1 + rng.normal(scale=i + 1, size=4)) for i in range(4)}
        found = [
            cell["m"].difference
            for name, cell in summarise(rows({"base": list(base), **others}), "base").items()
            if name != "base"
        ]
        hits += all(d is not None and abs(d.mean - 1) <= (d.half_width or 0) for d in found)
    assert hits / 300 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)


@given(st.floats(1e-6, 1e6), st.floats(0.97, 1.03))
def test_rounding_never_makes_an_interval_say_something_else(mean: float, share: float) -> None:
    half = mean * share
    ((size, width, _),) = shown_differences(plus_minus(-mean, half))
    assert (size > width) == (mean > half)


def with_values(**variants: list[float]) -> dict[str, Any]:
    """Results of variants with an rFID by training seed; `base` is the baseline."""
    found = report("tokenizers")
    template = next(each for each in found["runs"][0]["measurements"] if each["name"] == "rfid")
    runs = [
        {
            **found["runs"][0],
            "variant": name,
            "seed": seed,
            "measurements": [{**template, "value": value}],
        }
        for name, values in variants.items()
        for seed, value in enumerate(values)
    ]
    seeds = list(range(max(map(len, variants.values()))))
    variant = found["variants"][0]
    known = [{**variant, "name": name} for name in variants]
    return {**found, "baseline": "base", "runs": runs, "seeds": seeds, "variants": known}


def test_a_significant_variant_is_never_hidden_behind_a_noisy_one_with_a_better_mean() -> None:
    # Intervals are simultaneous over four: what has the baseline's own values is not tested.
    results = with_values(
        base=[10.0, 11.0, 12.0],
        noisy=[1.0, 11.0, 2.0],
        clear=[9.0, 10.01, 11.02],
        also=[8.0, 9.02, 10.01],
        bad=[20.0, 21.1, 22.0],
        still=[10.0, 11.0, 12.0],
    )
    better, *more = findings_of(results)
    assert better == (
        "also is better than base on the reconstruction distance (rFD): 9.01 against 11, "
        "a difference of −1.990 ± 0.051 (−18%)."
    )
    assert more == [
        "Also better: clear (−0.990 ± 0.051).",
        "Worse: bad (+10.03 ± 0.30).",
        "Same: still (= same values).",
        "Open: noisy, 4.667 against 11 (−58%), could be noise: the interval of the difference is "
        "−35 to +22; about 9 seeds would settle it.",
    ]
    text = render_markdown(results)
    assert "| still | 11.0, SD 1 (= same values) |" in text
    assert "- Worse: bad" in text
    assert "$^*$" not in next(
        line for line in render_latex(results).splitlines() if line.startswith("noisy")
    )
    assert render_latex(results).count("$^*$") == 1 + 3, (
        "the note, and every variant with a verdict"
    )
    noise = with_values(base=[10.0, 11.0, 12.0], noisy=[1.0, 11.0, 2.0])
    assert findings_of(noise)[0] == (
        "No variant is shown to be better than base on the reconstruction distance (rFD)."
    )


@pytest.mark.parametrize(("name", "sampling_seeds"), [("tokenizers", 1), ("guidance", 3)])
def test_with_one_training_seed_there_is_no_verdict_and_no_praise(
    name: str, sampling_seeds: int
) -> None:
    results = of_one_seed(in_short(report(name)), sampling_seeds)
    sentences = [each for each in findings_of(results) if "collapsed" not in each]
    assert sentences[0] == "One training seed: no verdict."
    assert sentences[1].startswith("With other training seeds, differences on the sample distance")
    assert len(sentences) == 2
    for row in cells_of(results).values():
        assert {cell.verdict for cell in row.values()} <= {"unknown", "same", ""}
    html, text = render_html(results, PICTURES), render_markdown(results)
    page = html.partition("<main>")[2]
    for each in (page, text):
        assert "One training seed: no verdict." in each
        for praise in (
            "open</i>",
            ", open",
            "is better than",
            'class="better"',
            'class="worse"',
            "Green cells",
            "<b>Rank",
        ):
            assert praise not in each
    assert "no other mean beats" not in page
    assert "$^*$}" not in render_latex(results)
    assert not re.search(r"^[^%].*\$\^\*\$", render_latex(results), flags=re.M)
    assert {claim.verdict for claim in examine(results)} == {"cannot tell"}


def test_without_a_baseline_nothing_is_praised_either() -> None:
    results = with_values(base=[10.0, 11.0, 12.0], other=[1.0, 2.0, 3.5])
    assert findings_of({**results, "baseline": None}) == ["No baseline: no verdict."]
    gone = {**results, "runs": [run for run in results["runs"] if run["variant"] != "base"]}
    assert findings_of(gone) == [
        "No verdict: the baseline, base, has no number: it has no run.",
    ]


def test_a_difference_that_no_seed_varies_tells_nothing_of_its_noise() -> None:
    results = with_values(base=[3.0, 4.0, 5.0], other=[2.0, 3.0, 4.0])
    cell = cells_of(results)["other"]["rfid"]
    assert cell.difference is not None
    assert (cell.difference.half_width, cell.difference.p_value) == (None, None)
    assert cell.verdict == "unknown"
    assert "(−1 in every seed" in render_markdown(results)


def test_what_no_seed_varies_has_no_interval_and_no_verdict() -> None:
    cell = summarise(rows({"base": [3.0, 3.0, 3.0], "frozen": [2.0, 2.0, 2.0]}), "base")["frozen"][
        "m"
    ]
    assert cell.verdict == "unknown"
    assert cell.difference is not None
    assert (cell.difference.mean, cell.difference.half_width, cell.difference.p_value) == (
        -1.0,
        None,
        None,
    )
    text = render_markdown(with_values(base=[3.0, 3.0], frozen=[2.0, 2.0]))
    assert "(−1 in every seed)" in text
    rounded = summarise(rows({"base": [0.1, 0.2, 0.3], "other": [0.1 + 1e-17, 0.2, 0.3]}), "base")
    assert rounded["other"]["m"].verdict == "same"
    one = summarise(rows({"base": [1.0], "other": [1.0]}), "base")["other"]["m"]
    assert one.verdict == "same"


def test_a_number_that_is_none_gives_no_verdict_and_stops_no_report() -> None:
    for bad in (math.nan, math.inf):
        results = with_values(base=[10.0, 11.0, 12.0], other=[8.0, bad, 10.0])
        cell = cells_of(results)["other"]["rfid"]
        assert cell.verdict == "unknown"
        assert findings_of(results)
        assert "not a number" in render_markdown(results)
        assert "open" not in render_markdown(results).partition("| --- |")[2]


def test_a_width_of_zero_in_earlier_results_counts_as_unknown() -> None:
    results = with_values(base=[1.0], other=[0.9])
    for run in results["runs"]:
        run["measurements"][0]["half_width"] = 0.0
    found = cells_of(results)["other"]["rfid"].difference
    assert found is not None
    assert (found.half_width, found.basis) == (None, "")
    assert {each.half_width for each in measured(results_of(results))} == {None}


def test_a_comparison_of_two_results_is_simultaneous_over_its_variants() -> None:
    one = with_values(base=[10.0, 11.0, 12.0], other=[8.0, 9.0, 10.0])
    two = with_values(base=[10.5, 11.0, 12.1], other=[8.1, 9.5, 10.0])
    (metric,) = compare_results(results_of(one), results_of(two))
    expected = stats.ttest_rel([8.1, 9.5, 10.0], [8.0, 9.0, 10.0]).confidence_interval(1 - 0.05 / 2)
    difference = metric.rows[1].difference
    assert difference is not None
    assert difference.half_width == pytest.approx((expected.high - expected.low) / 2)


# Shares


@pytest.mark.parametrize("right", [0, 1, 25, 49, 50])
def test_a_share_has_wilson_s_interval_whole_inside(right: int) -> None:
    low, high = stats.binomtest(right, 50).proportion_ci(0.95, method="wilson")
    share = right / 50
    width = share_half_width(share, 50)
    assert width is not None
    assert width == pytest.approx(max(share - low, high - share))
    assert share - width <= low + 1e-9 < high - 1e-9 <= share + width
    assert half_width(np.arange(50) < right) == width


def test_a_precision_of_one_over_50_images_is_not_certain() -> None:
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    both = PrecisionRecall(PrecisionRecallSettings()).compare(features, features)
    (_, density), coverage = DensityCoverage(DensityCoverageSettings()).compare(features, features)
    for share, width in (*both, coverage):
        assert share == 1.0
        assert width == pytest.approx(0.0713, abs=1e-3)
    assert density is None or density > 0


def test_equal_values_tell_nothing_of_the_noise() -> None:
    assert half_width(np.full(50, 0.1)) is None
    assert half_width(np.full(50, 0.1) + np.linspace(0, 1e-16, 50)) is None
    assert half_width(np.array([1.0, math.inf, 2.0])) is None
    assert share_half_width(0.0, 0) is None


# Claims


def gfid(*values: float) -> dict[str, list[float]]:
    return {"gfid": list(values)}


def evidence(*results: dict[str, Any], number: str = "1a") -> tuple[Evidence, ...]:
    return next(claim for claim in examine(*results) if claim.number == number).evidence


def test_a_claim_says_how_many_of_its_differences_hold() -> None:
    base, clear = gfid(10.0, 11.0, 12.0), gfid(8.0, 9.05, 10.0)
    results = claimed({"0": base, "4": clear, "8": gfid(9, 13, 10), "16": gfid(11, 10, 12)})
    claim = next(claim for claim in examine(results) if claim.number == "1a")
    assert claim.verdict_text == "holds (1 of 3)"
    assert "**holds (1 of 3)** |" in markdown([claim])
    mixed = claimed({"0": base, "4": clear, "8": gfid(14.0, 15.05, 16.0), "16": gfid(9, 13, 10)})
    claim = next(claim for claim in examine(mixed) if claim.number == "1a")
    assert claim.verdict == "mixed"
    assert claim.verdict_text == "mixed (of 3, 1 holds, 1 contradicts it and 1 cannot tell)"
    assert claim.seeds_to_settle is None, "no more seeds take either back"


def test_a_claim_on_other_pairs_than_those_with_the_baseline_has_a_family_of_its_own() -> None:
    values = {
        "0": gfid(10.0, 11.0, 12.5),
        "4": gfid(8.0, 9.3, 10),
        "post": gfid(8.2, 9.9, 10.5),
        "x": gfid(7, 9, 8),
    }
    settings = {
        "post": {"tokenizer": {"use": "prologue-post"}},
        "x": {"tokenizer": {"use": "prologue-post"}},
    }
    results = claimed(values, **settings)  # type: ignore[arg-type]
    post = evidence(results, number="2c")
    assert [each.difference.family for each in post] == [2, 2]
    expected = stats.ttest_rel([8.2, 9.9, 10.5], [8.0, 9.3, 10]).confidence_interval(1 - 0.05 / 2)
    assert post[0].difference.half_width == pytest.approx((expected.high - expected.low) / 2)
    assert [each.difference.family for each in evidence(results)] == [3]


@pytest.mark.parametrize("number", ["1a", "1b", "5"])
def test_a_baseline_of_zero_has_no_shares_but_still_a_verdict(number: str) -> None:
    zero, other = [0.0, 0.0, 0.0], [8.0, 9.05, 10.0]
    metrics = {"gfid": zero, "rfid": zero, "rate": zero}
    results = claimed({"0": metrics, "4": dict.fromkeys(metrics, other)})
    (found,) = evidence(results, number=number)
    assert found.relative is None
    assert found.verdict() == "contradicted"
    assert "%" not in str(found)


def test_about_equal_holds_for_the_same_values_and_different_does_not() -> None:
    series = {"rfid": [10.0, 11.0, 12.0], "gfid": [10.0, 11.0, 12.0]}
    results = claimed({"0": series, "4": series})
    assert [each.verdict() for each in evidence(results, number="1b")] == ["holds"]
    assert [each.verdict() for each in evidence(results)] == ["equivalent"]


def test_equal_artifacts_count_once_in_claims() -> None:
    one = report("prologue_count")
    alone = {claim.number: claim.evidence for claim in examine(one)}
    renamed = copy.deepcopy({**one, "name": "copy"})
    for run in renamed["runs"]:
        run["variant"] = f"copied {run['variant']}"
    for variant in renamed["variants"]:
        variant["name"] = f"copied {variant['name']}"
    renamed["baseline"] = f"copied {one['baseline']}"
    part = {**one, "runs": [run for run in one["runs"] if run["seed"] < 2], "seeds": [0, 1]}
    parts = [(results_of(each), Pictures({})) for each in (one, renamed)]
    merged = plain(merge_results(parts, None)[0])
    for others in ((one, one), (one, renamed), (part, one), (one, part)):
        assert {claim.number: claim.evidence for claim in examine(*others)} == alone
    both = {
        claim.number: len(claim.evidence)
        for claim in examine(merged)
        if claim.number in ("1a", "5")
    }
    assert both == {number: len(alone[number]) for number in both}
    # Models of one report that another sampled from again, to the same last digit.
    again = [
        each
        for each in evidence(report("guidance"), report("tokenizers"))
        if "2.0" not in each.variant
    ]
    assert [each.variant for each in again] == [
        "prologue, scale=1.0",
        "prologue, scale=4.0",
        "prologue, scale=8.0",
    ]


def test_other_trainings_of_the_same_settings_are_evidence_of_their_own() -> None:
    base, variant = gfid(10.0, 11.0, 12.0), gfid(8.0, 9.1, 9.9)
    one = claimed({"0": base, "4": variant})
    other = claimed({"0": gfid(10.1, 11.2, 12.5), "4": variant})
    assert len(evidence(one, other)) == 2
    assert len(evidence(one, one)) == 1


# Remarks


def test_remarks_stand_at_the_top_of_page_and_table_as_they_were_written() -> None:
    results = {**report("tokenizers"), "remarks": ["rFID no longer holds.", EVIL]}
    html = render_html(results, PICTURES).partition("<main>")[2]
    assert html.index("rFID no longer holds.") < html.index('id="answer"')
    assert "&lt;script&gt;x&lt;/script&gt; [a](b) | *c*" in html
    lines = render_markdown(results).splitlines()
    assert lines[4] == "> Remark: rFID no longer holds."
    assert lines[6] == r"> Remark: &lt;script>x&lt;/script> \[a\](b) \| \*c\* \# d"
    assert "% rFID no longer holds." in render_latex(results)
    without = render_html({**results, "remarks": []}, PICTURES).partition("<main>")[2]
    assert "Remark" not in without.partition("<script>")[0]


def test_remarks_of_each_result_stay_when_they_are_merged() -> None:
    one, other = {**report("tokenizers"), "remarks": ["old"]}, {**report("guidance"), "remarks": []}
    merged, _ = merge_results([(results_of(each), Pictures({})) for each in (other, one)], None)
    assert merged.remarks == ("tokenizers: old",)


@pytest.mark.parametrize("wrong", ["text", [1], {"a": "b"}])
def test_remarks_that_are_no_texts_are_one_line_of_error(wrong: Any, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({**report("tokenizers"), "remarks": wrong}))
    found = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert isinstance(found.exception, UserError)
    assert re.search(r"remarks(\[0\])?: found .*, expected a (list of )?text", str(found.exception))


# What some variants lack


def without(results: dict[str, Any], variant: str, metric: str) -> dict[str, Any]:
    runs = [
        {
            **run,
            "measurements": [
                m for m in run["measurements"] if (run["variant"], m["name"]) != (variant, metric)
            ],
        }
        for run in results["runs"]
    ]
    return {**results, "runs": runs}


def with_rates(results: dict[str, Any]) -> dict[str, Any]:
    """A second metric beside the first, the same for all."""
    runs = [
        {
            **run,
            "measurements": [
                *run["measurements"],
                {**run["measurements"][0], "name": "rate", "title": "rate"},
            ],
        }
        for run in results["runs"]
    ]
    return {**results, "runs": runs}


def test_a_significant_variant_is_not_hidden_where_another_lacks_the_metric() -> None:
    made = with_rates(
        with_values(
            base=[100.0, 101.0, 102.0], worse=[190.0, 191.5, 193.0], other=[99.0, 101.0, 103.0]
        )
    )
    results = without(made, "other", "rfid")
    assert any(sentence.startswith("Worse: worse (") for sentence in findings_of(results))
    row = next(
        line for line in render_markdown(results).splitlines() if line.startswith("| other |")
    )
    assert row.startswith("| other | – |")
    mixed = without(without(made, "other", "rfid"), "base", "rate")
    assert "rFD" in render_markdown(mixed)


def test_a_difference_without_a_verdict_says_so_beside_those_that_have_one() -> None:
    results = with_values(base=[100.0, 101.0, 102.0], other=[99.0, 101.0, 103.5], lonely=[95.0])
    for run in results["runs"]:
        run["measurements"][0]["half_width"] = 5.0
    row = next(
        line for line in render_markdown(results).splitlines() if line.startswith("| lonely |")
    )
    assert "no verdict" in row
    assert "no verdict" in render_html(results, PICTURES)


def test_a_variant_without_a_verdict_widens_no_interval() -> None:
    two = cells_of(with_values(base=[100.0, 101.0, 102.0], other=[99.0, 101.0, 103.5]))["other"][
        "rfid"
    ]
    more = cells_of(
        with_values(base=[100.0, 101.0, 102.0], other=[99.0, 101.0, 103.5], lonely=[95.0])
    )["other"]["rfid"]
    assert more.difference == two.difference


def test_names_show_as_they_are_in_the_markdown_table() -> None:
    results = with_values(base=[1.0, 2.0], other=[3.0, 4.0])
    text = json.dumps(results).replace('"other"', json.dumps("two\nlines `x` [a](b)"))
    table = [
        line for line in render_markdown(json.loads(text)).splitlines() if line.startswith("| ")
    ]
    assert table[-1].startswith("| two lines \\`x\\` \\[a\\](b) |")


def test_claims_of_a_process_on_a_baseline_of_zero_end_well(tmp_path: Path) -> None:
    results = report("prologue_count")
    for run in results["runs"]:
        for each in run["measurements"] if run["variant"] == results["baseline"] else ():
            each["value"] = 0.0
    (tmp_path / "results.json").write_text(json.dumps(results))
    command = [sys.executable, "-m", "prologue_bench.cli", "claims", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for form in ("--markdown", "--json"):
        assert CliRunner().invoke(cli, ["claims", str(tmp_path), form]).exit_code == 0
