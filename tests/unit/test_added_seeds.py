"""Seeds that are added until a metric is decided: the rule, its record, and the reports."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import Interrupted, UserError
from prologue_bench.pipeline.deciding import Rule, UndecidableError, look, until_decided
from prologue_bench.pipeline.executor import Outcome
from prologue_bench.pipeline.planner import Plan
from prologue_bench.regression.check import check_results, make_baseline
from prologue_bench.reporting.comparison import compare_results
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.tables import render_latex, render_markdown
from prologue_bench.results.checking import Mismatch
from prologue_bench.results.consistency import check_results as check_document
from prologue_bench.results.frame import looks_of, summary
from prologue_bench.results.loading import load_numbers, load_results
from prologue_bench.results.merge import merge_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.plain import plain, record
from prologue_bench.results.schema import AddedSeeds, Numbers, Results
from prologue_bench.results.strict import to_json
from prologue_bench.stats.looks import Looks
from prologue_bench.texts.numbers import plus_minus
from prologue_plugins.official import claims
from tests.documents import results_of, whole
from tests.factories.deciding import Series, added, results_by_seed
from tests.factories.verdicts import PICTURES

Load = Callable[..., Ablation]
BASE = [100.0, 104.0, 97.0, 99.0, 101.0, 98.0, 103.0, 100.0, 99.5, 102.0]
NOISE = [0.3, -0.2, 0.1, -0.3, 0.2, 0.1, -0.1, 0.2, -0.2, 0.0]
WIDE = [9.0, -8.0, 7.0, -9.0, 8.0, -7.0, 9.0, -8.0, 7.0, -8.5]
ALIKE = [base + noise for base, noise in zip(BASE, NOISE, strict=True)]
OTHER = [base - 10 + noise for base, noise in zip(BASE, NOISE, strict=True)]
UNCLEAR = [base + noise for base, noise in zip(BASE, WIDE, strict=True)]
MARKED = {"m": {"base": BASE[:5], "near": ALIKE[:5], "far": OTHER[:5], "unclear": UNCLEAR[:5]}}
"""At five seeds of which one variant is equivalent, one better and one undecided."""


def sequential(**fields: Any) -> Results:
    looks = added("m", (3, ["near", "unclear"]), (4, ["unclear"]), (5, ["unclear"]), most=5)
    document = results_by_seed(MARKED, **fields)
    return results_of({**document, "added_seeds": [looks]})


def deciding(
    load: Load,
    series: Series,
    most: int,
    seeds: int = 3,
    direction: str = "lower",
    metric: str = "m",
    stop_at: int = 0,
    unfinished_at: int = 0,
) -> tuple[Results, list[str], list[int], Outcome]:
    """The rule on runs that give these numbers: results, what is said, and seeds of each round."""
    ablation = load(f"seeds={list(range(seeds))}").with_more_seeds(most)
    said: list[str] = []
    rounds: list[int] = []

    def finish(part: Plan, outcome: Outcome) -> tuple[Results, Pictures]:
        rounds.append(len(part.ablation.seeds))
        if rounds[-1] == stop_at:
            raise Interrupted("stopped")
        cut = {name: values[: rounds[-1]] for name, values in series.items()}
        found = results_of(results_by_seed({"m": cut}, direction))
        if rounds[-1] == unfinished_at:
            found = evolve(found, runs=(*found.runs[:-1], evolve(found.runs[-1], unfinished=True)))
        return found, Pictures()

    outcome, rule = Outcome(), Rule(metric, most)
    plan = Plan(ablation, (), ())
    results, _ = until_decided(plan, seeds, rule, finish, said.append, outcome)
    return results, said, rounds, outcome


def looks(results: Results) -> list[tuple[int, tuple[str, ...]]]:
    return [(each.seeds, each.undecided) for each in results.added_seeds[0].looks]


def test_seeds_are_added_one_by_one_until_every_variant_is_decided(load: Load) -> None:
    results, said, rounds, _ = deciding(load, {"base": BASE, "near": ALIKE, "far": OTHER}, 10)
    assert rounds == list(range(3, rounds[-1] + 1))
    assert rounds[-1] < 10
    assert looks(results)[-1] == (rounds[-1], ())
    assert all(undecided for _, undecided in looks(results)[:-1])
    cells = summary(results)
    assert [cells[name]["m"].verdict for name in ("near", "far")] == ["equivalent", "better"]
    assert said[-1] == f"m, {rounds[-1]} seeds: decided"
    assert said[0].startswith("m, 3 seeds: undecided: ")


def test_the_limit_ends_it_and_a_higher_one_goes_on_with_the_same_looks(load: Load) -> None:
    series = {"base": BASE, "unclear": UNCLEAR}
    first, *_ = deciding(load, series, 4)
    assert looks(first) == [(3, ("unclear",)), (4, ("unclear",))]
    further, *_ = deciding(load, series, 6)
    assert further.added_seeds[0].looks[:2] == first.added_seeds[0].looks
    assert looks(further)[-1][0] == 6
    again, *_ = deciding(load, series, 6)
    assert again.added_seeds == further.added_seeds


def test_one_seed_gives_no_look(load: Load) -> None:
    results, _, rounds, _ = deciding(load, {"base": BASE, "far": OTHER}, 3, seeds=1)
    assert rounds == [1, 2, 3]
    assert [seeds for seeds, _ in looks(results)] == [2, 3]
    assert results.added_seeds[0].first == 2


def test_an_interrupted_run_makes_the_same_looks_when_it_goes_on(load: Load) -> None:
    series = {"base": BASE, "unclear": UNCLEAR}
    whole_run, said, *_ = deciding(load, series, 6)
    with pytest.raises(Interrupted):
        deciding(load, series, 6, stop_at=5)
    again, said_again, *_ = deciding(load, series, 6)
    assert again.added_seeds == whole_run.added_seeds
    assert said_again == said


def test_unfinished_runs_are_looked_at_and_end_it(load: Load) -> None:
    results, _, rounds, _ = deciding(load, {"base": BASE, "unclear": UNCLEAR}, 6, unfinished_at=4)
    assert rounds == [3, 4]
    assert looks(results)[-1] == (4, ("unclear",))
    assert "With 4 seeds, of which some are not finished, undecided: unclear." in (
        render_markdown(results)
    )


def test_sampling_seeds_are_no_pairs() -> None:
    document = results_by_seed({"m": {"base": BASE[:1], "unclear": UNCLEAR[:1]}})
    again = [
        {
            **run,
            "sampling_seed": 1,
            "measurements": [
                {**each, "value": each["value"] + index} for each in run["measurements"]
            ],
        }
        for index, run in enumerate(document["runs"])
    ]
    results = results_of({**document, "runs": [*document["runs"], *again]})
    _, pairs = look(results, AddedSeeds(metric="m", first=2, most=5, margin=0.05, looks=()), 1)
    assert pairs == {"unclear": 1}


def test_weights_that_are_the_same_in_every_seed_are_not_waited_for() -> None:
    document = results_by_seed({"m": {"base": [1.0] * 3, "frozen": [2.0] * 3}})
    for run in document["runs"]:
        for each in run["measurements"]:
            each["artifact"] = run["variant"]
    asked = AddedSeeds(metric="m", first=3, most=5, margin=0.05, looks=())
    looked, _ = look(results_of(document), asked, 3)
    assert looked.undecided == ()


def test_a_failed_seed_is_no_pair_and_a_round_without_a_new_pair_is_the_last(load: Load) -> None:
    gap: list[float | None] = [*UNCLEAR]
    gap[3] = None
    results, _, rounds, _ = deciding(load, {"base": BASE, "unclear": gap}, 8)
    assert rounds[-1] == 4, "the fourth seed gave no pair"
    found = summary(results)["unclear"]["m"].difference
    assert found is not None
    assert found.count == 3
    never = {"base": BASE, "unclear": [None] * 10}
    _, said, rounds, _ = deciding(load, never, 8)
    assert rounds == [3]
    assert said == ["m, 3 seeds: undecided: unclear"]


def test_a_failure_of_one_does_not_end_the_seeds_of_others(load: Load) -> None:
    series: dict[str, Sequence[float | None]] = {
        "base": BASE,
        "unclear": UNCLEAR,
        "broken": [None] * 10,
    }
    results, _, rounds, _ = deciding(load, series, 5)
    assert rounds == [3, 4, 5]
    assert looks(results)[-1][1] == ("unclear", "broken")


def test_what_seeds_cannot_decide_keeps_nobody_waiting(load: Load) -> None:
    constant = [value + 1 for value in BASE]
    _, _, rounds, _ = deciding(load, {"base": BASE, "constant": constant, "same": BASE}, 8)
    assert rounds == [3]


@pytest.mark.parametrize(
    ("direction", "metric", "message"),
    [
        ("neutral", "m", "--until-decided m: neither lower nor higher is better in it"),
        ("lower", "mm", "--until-decided: no measurement is called 'mm'; did you mean 'm'?"),
    ],
)
def test_what_was_measured_has_to_have_the_metric_and_a_direction(
    load: Load, direction: str, metric: str, message: str
) -> None:
    with pytest.raises(UndecidableError) as error:
        deciding(load, {"base": BASE, "far": OTHER}, 4, 3, direction, metric)
    assert message in str(error.value)
    assert str(error.value).endswith("; no seeds were added")
    assert error.value.results.runs, "what was run can be reported all the same"


def test_nothing_to_compare_is_said(load: Load) -> None:
    with pytest.raises(UndecidableError, match="no variant can be compared with base"):
        deciding(load, {"base": BASE}, 4)


@pytest.mark.parametrize(
    ("values", "metric", "most", "message"),
    [
        ([], "rat", 10, "--until-decided: unknown metric 'rat'; did you mean 'rate'?"),
        ([], "gfid", 10, "'gfid' is not among its metrics, rate; add it to `metrics`"),
        ([], "probe_4", 10, "'probe' is not among its metrics"),
        ([], "rate", 1, "--max-seeds 1: the ablation has 1 seed; expected a number from 2 to 100"),
        (["seeds=[0, 1, 2]"], "rate", 2, "--max-seeds 2: the ablation has 3 seeds"),
        (["baseline=null"], "rate", 10, "there is no baseline"),
        (["vary.tokenizer.prologue_tokens=[0]"], "rate", 10, "found one variant"),
    ],
)
def test_a_rule_that_decides_nothing_is_refused_before_anything_runs(
    load: Load, values: list[str], metric: str, most: int, message: str
) -> None:
    with pytest.raises(UserError) as error:
        Rule(metric, most).check(load(*values))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_of_a_metric_are_known_by_its_name(load: Load) -> None:
    for metric, number in (("rate", "rate_visual"), ("precision-recall", "recall")):
        Rule(number, 10).check(load(f"metrics=[{metric}]"))


def test_the_seeds_that_are_added_are_those_after_the_largest(load: Load) -> None:
    ablation = load("seeds=[4, 2]")
    more = ablation.with_more_seeds(4)
    assert more.seeds == (4, 2, 5, 6)
    assert [each.seed for each in more.experiments] == [4, 4, 2, 2, 5, 5, 6, 6]
    assert more.with_seeds((4, 2)).experiments == ablation.experiments
    assert [each.name for each in more.experiments[4:]] == [
        each.name for each in load("seeds=[5, 6]").experiments
    ]
    with pytest.raises(UserError, match="expected at most 500 runs"):
        ablation.with_more_seeds(300)
    with pytest.raises(UserError, match="no larger ones can be added"):
        load(f"seeds=[{2**53 - 1}]").with_more_seeds(2)


def test_the_margin_is_a_share_of_the_baseline(load: Load) -> None:
    assert load().equivalence_margin == 0.05
    assert load("equivalence_margin=0.1").equivalence_margin == 0.1
    for wrong in ("0", "1", "-0.1"):
        with pytest.raises(UserError, match="expected a share of the baseline between 0 and 1"):
            load(f"equivalence_margin={wrong}")


def test_reports_say_that_seeds_were_added_and_mark_by_the_corrected_interval() -> None:
    results = sequential()
    cells = summary(results)
    wanted = {"near": "equivalent", "far": "better", "unclear": "noise"}
    assert {name: cells[name]["m"].verdict for name in wanted} == wanted
    html, markdown, latex = (
        render_html(results, PICTURES),
        render_markdown(results),
        render_latex(results),
    )
    for text in (html, markdown, latex):
        assert "raining seeds were added until M was decided, 5 at most" in text
        assert "Looks were at 3, 4, 5 seeds. The limit is reached; undecided: unclear." in text
        assert "Jennison and Turnbull 1989" in text
    marks = {"near": ", equivalent", "far": "", "unclear": ", open"}
    for name, mark in marks.items():
        found = cells[name]["m"].difference
        assert found is not None
        assert found.half_width is not None
        told = plus_minus(found.mean, found.half_width)
        assert f"({told}{mark})" in markdown
        assert told in html
    assert "Equivalent within ±5%: near (" in markdown
    assert "$^\\approx$" in latex
    assert 'class="equivalent"' in html


def test_without_added_seeds_reports_say_nothing_of_looks_or_margins() -> None:
    results = evolve(sequential(), added_seeds=())
    page = render_html(results, PICTURES)
    without_style = re.sub(r"(?s)<style>.*?</style>", "", page)
    assert len(without_style) < len(page)
    for text in (without_style, render_markdown(results), render_latex(results), to_json(results)):
        assert "equivalent" not in text
        assert "seeds were added" not in text
        assert "added_seeds" not in text


def test_other_metrics_keep_their_intervals() -> None:
    both = {"m": MARKED["m"], "other": MARKED["m"]}
    looked = results_of({**results_by_seed(both), "added_seeds": [added("m", (5, []))]})
    plainly = evolve(looked, added_seeds=())
    for name in ("near", "far", "unclear"):
        assert summary(looked)[name]["other"] == summary(plainly)[name]["other"]
        assert summary(looked)[name]["m"] != summary(plainly)[name]["m"]
    assert "All other intervals are the usual ones" in render_markdown(looked)


def test_results_are_read_as_they_were_written_and_older_ones_have_no_looks(tmp_path: Path) -> None:
    results = sequential()
    (tmp_path / "results.json").write_text(to_json(results))
    assert load_results(tmp_path).added_seeds == results.added_seeds
    assert load_numbers(tmp_path).added_seeds == results.added_seeds
    older = plain(results)
    del older["added_seeds"]
    assert record(older, Results).added_seeds == ()


def test_looks_at_variants_that_are_not_there_are_no_results() -> None:
    wrong = {**results_by_seed(MARKED), "added_seeds": [added("m", (3, ["nobody"]))]}
    with pytest.raises(Mismatch, match="no variant of these results"):
        check_document(whole(wrong))
    wrong = {**results_by_seed(MARKED), "added_seeds": [added("m", first=4, most=3)]}
    with pytest.raises(Mismatch, match="less than `first`"):
        check_document(whole(wrong))
    wrong = {**results_by_seed(MARKED), "added_seeds": [added("m", source="nowhere")]}
    with pytest.raises(Mismatch, match="no source of these results"):
        check_document(whole(wrong))


def test_compare_is_corrected_where_either_side_was_looked_at() -> None:
    one = sequential()
    moved = {
        name: [value + 3 + index / 7 for index, value in enumerate(values)]
        for name, values in MARKED["m"].items()
    }
    other = results_of(results_by_seed({"m": moved}))
    for first, second in ((one, other), (other, one)):
        (corrected,) = compare_results(first, second)
        (usual,) = compare_results(*(evolve(each, added_seeds=()) for each in (first, second)))
        for ours, theirs in zip(corrected.rows, usual.rows, strict=True):
            assert ours.difference is not None
            assert theirs.difference is not None
            assert ours.difference.looks
            assert (ours.difference.half_width or 0) > (theirs.difference.half_width or 0)


def test_claims_have_the_interval_and_the_margin_of_the_report() -> None:
    results = _named(sequential(), "rfid")
    found = next(each for each in claims.examine(results) if each.number == "1b")
    cells = summary(results)
    for each in found.evidence:
        assert each.difference == cells[each.variant]["rfid"].difference
        assert "at all looks" in str(each)
    said = {each.variant: each.verdict() for each in found.evidence}
    assert said == {"near": "holds", "far": "contradicted", "unclear": "cannot tell"}


def _named(results: Results, name: str) -> Results:
    """With another name for the metric, and a prologue in all variants but the baseline."""
    runs = tuple(
        evolve(run, measurements=tuple(evolve(each, name=name) for each in run.measurements))
        for run in results.runs
    )
    variants = [plain(each) for each in results.variants]
    for each in variants:
        if each["name"] != "base":
            each["layout"].insert(0, {"name": "prologue", "length": 4, "vocabulary": 8})
    looks = tuple(evolve(each, metric=name) for each in results.added_seeds)
    document = {**plain(evolve(results, runs=runs, added_seeds=looks)), "variants": variants}
    return results_of(document)


def test_gates_allow_for_the_looks_also_those_of_a_baseline_that_was_blessed() -> None:
    results = sequential()
    blessed = record(plain(make_baseline(results, {}, "")), Numbers)
    assert blessed.added_seeds == results.added_seeds
    plainly = evolve(results, added_seeds=())

    def rise(new: Numbers, old: Numbers) -> float:
        found = next(each for each in check_results(new, old, []) if each.variant == "far")
        assert found.rise is not None
        return found.rise

    usual = rise(plainly, evolve(blessed, added_seeds=()))
    assert rise(plainly, blessed) == rise(results, evolve(blessed, added_seeds=())) > usual


def test_results_that_are_put_together_keep_their_looks_under_the_new_names() -> None:
    one, other = sequential(name="one"), evolve(sequential(name="two"), added_seeds=())
    merged, _ = merge_results([(one, Pictures()), (other, Pictures())], None)
    (found,) = merged.added_seeds
    assert (found.metric, found.source) == ("m", "one")
    assert found.looks[-1].undecided == ("one: unclear",)
    check_document(whole(plain(merged)))
    rule = Looks(3, 5, 0.05)
    of_one = [each.name for each in merged.variants if each.name.startswith("one: ")]
    assert looks_of(merged) == {"m": dict.fromkeys(of_one, rule)}
    assert "one: training seeds were added until M was decided" in render_markdown(merged)
    cell = summary(merged)["one: near"]["m"]
    assert cell.difference is not None
    assert cell.difference.looks


def test_a_quantity_that_gets_another_name_keeps_its_looks() -> None:
    def titled(results: Results, title: str) -> Results:
        runs = tuple(
            evolve(run, measurements=tuple(evolve(each, title=title) for each in run.measurements))
            for run in results.runs
        )
        return evolve(results, runs=runs)

    one = evolve(sequential(name="one"), added_seeds=())
    other = titled(sequential(name="two"), "N")
    merged, _ = merge_results([(one, Pictures()), (other, Pictures())], None)
    assert [each.metric for each in merged.added_seeds] == ["m, N"]
    assert "--until-decided m)" in render_markdown(merged)


def test_of_two_rules_for_one_metric_the_more_careful_one_holds() -> None:
    records: list[Mapping[str, Any]] = [added("m", first=5, most=8), added("m", margin=0.1)]
    results = results_of({**results_by_seed(MARKED), "added_seeds": records})
    assert set(looks_of(results)["m"].values()) == {Looks(3, 10, 0.05)}


def test_looks_of_one_part_take_no_interval_from_another_with_fewer_seeds() -> None:
    many = sequential(name="many")
    few = evolve(sequential(name="few"), added_seeds=())
    few = evolve(few, seeds=(0, 1), runs=tuple(run for run in few.runs if run.seed < 2))
    merged, _ = merge_results([(many, Pictures()), (few, Pictures())], None)
    alone, together = summary(few)["near"]["m"], summary(merged)["few: near"]["m"]
    assert alone.half_width is not None
    assert together.half_width == alone.half_width
    assert together.difference is not None
    assert together.difference.half_width is not None
    assert together.difference.looks is None, "two seeds were there before the first look"
    known = summary(merged)["many: near"]["m"].difference
    assert known is not None
    assert known.looks
