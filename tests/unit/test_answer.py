"""What a report says first: the primary metric, ranks, sizes, and the same samples side by side."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from prologue_bench.cli.commands.plan import make_plan_with
from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.errors import UserError
from prologue_bench.pipeline.checks import check_measurement
from prologue_bench.pipeline.pictures import sheet, to_png
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.reporting.brief import brief
from prologue_bench.reporting.headline import (
    leaderboard_metrics,
    not_measured,
    primary_metric,
)
from prologue_bench.reporting.leaderboard import fairness, leaderboard
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.sections import missing_numbers
from prologue_bench.reporting.strips import strips
from prologue_bench.reporting.summary import MetricInfo, metric_infos, split_metrics
from prologue_bench.reporting.tables import render_markdown
from prologue_bench.reporting.verdict import headline
from prologue_bench.reporting.words import EXPLAINED, in_plain_words, kind_of, scale_notes
from prologue_bench.results.frame import measured, summary
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.schema import Results
from prologue_bench.stats.differences import Difference, Margin
from prologue_bench.stats.settling import seeds_to_settle
from prologue_bench.storage.store import Store
from prologue_bench.texts.numbers import number, plus_minus, to_digits
from tests.conftest import OLD_REPORTS, PUBLISHED, SMOKE
from tests.documents import results_of
from tests.factories.verdicts import report


def study(direction: str = "lower", **values: list[float]) -> dict[str, Any]:
    """Results of variants with one metric by training seed; `base` is the baseline."""
    runs = [
        {
            "variant": name,
            "seed": seed,
            "measurements": [{"name": "gfid", "title": "gFD", "direction": direction, "value": x}],
        }
        for name, of in values.items()
        for seed, x in enumerate(of)
    ]
    seeds = list(range(max(map(len, values.values()))))
    return {"runs": runs, "seeds": seeds, "baseline": "base", "equivalence_margin": 0.05}


def infos(results: Results) -> tuple[list[MetricInfo], list[MetricInfo]]:
    """The main metrics, and all."""
    rows = measured(results)
    found = in_plain_words(metric_infos(rows), results)
    return split_metrics(found, rows, results)[0], found


def answer(document: dict[str, Any]) -> tuple[str, dict[str, int]]:
    results = results_of(document)
    found = headline(summary(results), infos(results)[0], results)
    return found.sentence, dict(found.counts)


BASE = [100.0, 101.0, 102.0]


@pytest.mark.parametrize(
    ("variant", "direction", "sentence", "word"),
    [
        ([80.0, 81.1, 82.0], "lower", "v is better than base on the sample distance", "better"),
        ([80.0, 81.1, 82.0], "higher", "No variant is better than base on", "worse"),
        (
            [100.2, 101.1, 102.3],
            "lower",
            "every variant is equivalent to base within ±5%.",
            "equivalent",
        ),
        (BASE, "lower", "every variant is the same as base.", "same"),
        ([50.0, 130.0, 90.0], "lower", "No variant is shown to be better than base", "open"),
    ],
)
def test_the_answer_is_better_worse_same_or_open(
    variant: list[float], direction: str, sentence: str, word: str
) -> None:
    found, counts = answer(study(direction, base=BASE, v=variant))
    assert sentence in found
    assert counts == {word: 1}


def test_equal_values_are_told_from_equivalent_ones() -> None:
    document = study(base=BASE, copy=BASE, near=[100.2, 101.1, 102.3])
    found, counts = answer(document)
    assert found.endswith("every variant is the same as base or equivalent within ±5%.")
    assert counts == {"equivalent": 1, "same": 1}
    results = results_of({**document, "title": "Study"})
    page, markdown = render_html(results, Pictures({})), render_markdown(results)
    assert '<li class="equivalent"><b>1</b> equivalent</li>' in page
    assert '<li class="same"><b>1</b> same</li>' in page
    told = "- Equivalent within ±5%: near ("
    assert told in markdown
    assert markdown.count(", equivalent)") == 1
    assert "- Same: copy (" in markdown
    assert all(word not in markdown for word in (", same)", ", better)"))


def test_what_other_metrics_decide_is_said_beside_an_open_answer() -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0], w=[80.0, 150.0, 60.0])
    rates = {"base": [9.0, 9.1, 9.0], "v": [8.0, 8.1, 8.01], "w": [8.1, 8.2, 8.11]}
    for run in document["runs"]:
        value = rates[run["variant"]][run["seed"]]
        rate = {"name": "rate", "title": "rate", "direction": "lower", "value": value}
        run["measurements"].append(rate)
    results = results_of(document)
    found = headline(summary(results), infos(results)[0], results)
    assert found.tone == "open"
    decided, still_open = found.more
    assert decided == "Decided on other metrics: the rate (better: v by −11%, w by −9.9%)."
    assert still_open.startswith("Open: v")


def test_a_list_names_the_setting_once_and_a_percentage_in_points() -> None:
    names = {"base": BASE, "n=4": [50.0, 130.0, 90.0], "n=8": [80.0, 150.0, 60.0]}
    document = study(**names)
    for run in document["runs"]:
        value = {"base": 40.0, "n=4": 45.0, "n=8": 46.0}[run["variant"]] + run["seed"] % 2 * (
            1 + 0.1 * len(run["variant"])
        )
        title = "shape from visual (chance 25.0%)"
        probe = {"name": "factor_shape", "title": title, "unit": "%", "direction": "higher"}
        run["measurements"].append({**probe, "value": value})
    results = results_of(document)
    decided, still_open = headline(summary(results), infos(results)[0], results).more
    assert decided == (
        "Decided on other metrics: the shape probe on the visual tokens "
        "(better: n=4 by +4.97 points, 8 by +5.97 points)."
    )
    assert still_open.startswith("Open: n=4, ")
    assert "Also open: n=8 (" in still_open


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_verdict_that_rests_on_two_seeds_says_so(seeds: int) -> None:
    document = study(base=BASE[:seeds], v=[80.0, 81.001, 82.002][:seeds])
    results = results_of(document)
    found = headline(summary(results), infos(results)[0], results)
    assert found.tone == "better"
    assert any(text.startswith("Two training seeds") for text in found.more) == (seeds == 2)


def test_what_is_decided_is_said_before_what_is_open() -> None:
    document = study(base=BASE, worse=[150.0, 151.1, 152.0], v=[50.0, 130.0, 90.0])
    found = headline(
        summary(results_of(document)), infos(results_of(document))[0], results_of(document)
    )
    assert [text.partition(":")[0] for text in found.more] == ["Worse", "Open"]


FAILED = {"failures": {"train-tokenizer": "out of memory", "sample": "not run"}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            [FAILED] * 3,
            "Without any number: v, all its 3 runs failed (train-tokenizer: out of memory).",
        ),
        ([FAILED, {}, {}], "Without any number: v, 1 of its 3 runs failed (train-tokenizer: "),
        ([{"unfinished": True}] * 3, "Without any number: v, not finished yet."),
        ([{"left_out": {"gfid": "it draws none"}}] * 3, "Without any number: v (it draws none)."),
        ([{}] * 3, "Without any number: v."),
        (None, "Without any number: v, it has no run."),
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_variant_without_any_number_is_named_in_the_answer(
    changes: list[dict[str, Any]] | None, told: str, seeds: int
) -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0], w=[80.0, 81.0, 82.1])
    own = [run for run in document["runs"] if run["variant"] == "v"]
    for run, change in zip(own, changes or [{}] * 3, strict=True):
        run.update(measurements=[], **change)
    if changes is None:
        document["variants"] = [{"name": name} for name in ("base", "v", "w")]
    kept = [run for run in document["runs"] if run["seed"] < seeds]
    document["runs"] = [run for run in kept if changes is not None or run["variant"] != "v"]
    if seeds == 1:
        told = told.replace("all its 3 runs", "its run").replace("1 of its 3 runs", "its run")
    results = results_of(document)
    found = headline(summary(results), infos(results)[0], results)
    assert [text for text in found.more if text.startswith(told)]
    page = render_html(results, Pictures({}))
    assert told in page.partition('class="verdict')[2].partition("</div>")[0]
    assert [text for text in brief(results).sentences if text.startswith(told)]
    assert told in render_markdown(results)


def test_a_variant_that_failed_behind_what_it_shares_is_named_first() -> None:
    document = study(base=BASE, v=BASE, w=BASE)
    for run in document["runs"]:
        if run["variant"] == "v":
            run["failures"] = {"train-generator": "its loss was not finite"}
    found = headline(
        summary(results_of(document)), infos(results_of(document))[0], results_of(document)
    )
    assert found.tone == "same"
    told = "Failed: v, all its 3 runs failed (train-generator: its loss was not finite)."
    assert found.more[0] == told


def test_a_baseline_without_any_number_hides_no_numbers_of_others() -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0])
    for run in document["runs"]:
        (number,) = run["measurements"]
        run["measurements"] = [{**number, "name": each, "title": each} for each in "abcde"]
        if run["variant"] == "base":
            for each in run["measurements"]:
                each.update(value=None, reason="its loss is nan")
    results = results_of(document)
    rows = measured(results)
    main, _ = split_metrics(metric_infos(rows), rows, results)
    assert [info.name for info in main] == list("abcde")
    told = "a; b; c; and 2 more: no number of base, seeds 0, 1, 2: its loss is nan"
    assert missing_numbers(results) == [told]


def test_numbers_that_no_run_has_are_told_once() -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0])
    for run in document["runs"]:
        (number,) = run["measurements"]
        lacking = {**number, "value": None, "reason": "all images are alike"}
        run["measurements"] = [lacking, {**number, "name": "rate", "title": "rate"}]
    assert missing_numbers(results_of(document)) == [
        "gFD: no number in any run: all images are alike"
    ]


def test_a_variant_without_the_primary_number_is_named_in_the_answer() -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0], w=[80.0, 81.0, 82.1])
    for run in document["runs"]:
        if run["variant"] == "v":
            (number,) = run["measurements"]
            run["measurements"] = [
                {**number, "value": None, "reason": "all images are alike"},
                {**number, "name": "rate", "title": "rate"},
            ]
    results = results_of(document)
    found = headline(summary(results), infos(results)[0], results)
    told = "Without a number on the sample distance (gFD): v (all images are alike)."
    assert told in found.more


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (FAILED, "has no number: all its 3 runs failed (train-tokenizer: out of memory)."),
        ({"unfinished": True}, "has no number: not finished yet."),
        ({"left_out": {"gfid": "it draws none"}}, "has no number (it draws none)."),
        ({}, "has no number."),
        (None, "has no number: it has no run."),
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_baseline_without_any_number_is_the_answer(
    changes: dict[str, Any] | None, told: str, seeds: int
) -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0], w=[80.0, 81.0, 82.1])
    for run in document["runs"]:
        if run["variant"] == "base":
            run.update(measurements=[], **(changes or {}))
    document["variants"] = [{"name": name} for name in ("base", "v", "w")]
    document["runs"] = [
        run
        for run in document["runs"]
        if run["seed"] < seeds and (changes is not None or run["variant"] != "base")
    ]
    results = results_of(document)
    found = headline(summary(results), infos(results)[0], results)
    expected = f"No verdict: the baseline, base, {told}"
    assert found.sentence == expected.replace(
        "all its 3 runs", "its run" if seeds == 1 else "all its 3 runs"
    )
    assert not [text for text in found.more if "base" in text]
    page = render_html(results, Pictures({}))
    assert found.sentence in page.partition('class="verdict')[2].partition("</div>")[0]
    assert brief(results).sentences[0] == found.sentence
    assert found.sentence in render_markdown(results)


def test_a_baseline_without_the_primary_number_is_the_answer() -> None:
    document = study(base=BASE, v=[50.0, 130.0, 90.0])
    for run in document["runs"]:
        (number,) = run["measurements"]
        run["measurements"] = [{**number, "name": "rate", "title": "rate"}]
        if run["variant"] == "v":
            run["measurements"].append(number)
    results = results_of(document)
    primary = [info for info in infos(results)[1] if info.name == "gfid"]
    found = headline(summary(results), primary, results)
    what = "the sample distance (gFD)"
    assert found.sentence == f"No verdict: the baseline, base, has no number on {what}."


def test_one_seed_gives_no_verdict_no_rank_and_nothing_in_bold() -> None:
    document = study(base=[100.0], v=[50.0])
    assert answer(document) == ("One training seed: no verdict.", {})
    results = results_of(document)
    main, metrics = infos(results)
    board = leaderboard(results, summary(results), primary_metric(results, main), metrics)
    assert (board.ranks, board.best, board.names) == (None, {}, ("base", "v"))


def test_what_is_in_another_unit_has_no_rank_and_is_not_the_best() -> None:
    document = study(base=BASE, good=[80.0, 81.1, 82.0], small=[0.8, 0.81, 0.82])
    for run in document["runs"]:
        if run["variant"] == "small":
            run["measurements"][0]["unit"] = "per mille"
    results = results_of(document)
    main, metrics = infos(results)
    board = leaderboard(results, summary(results), primary_metric(results, main), metrics)
    assert board.ranks is not None
    assert {name: rank.place for name, rank in board.ranks.items()} == {"good": 1, "base": 2}
    assert board.best == {"gfid": "good"}
    assert "another unit" in render_html(results, Pictures({}))


def test_the_answer_comes_first_in_the_table_too() -> None:
    document = {**study(base=BASE, v=[80.0, 81.1, 82.0]), "remarks": ["old"]}
    lines = render_markdown(results_of(document)).splitlines()
    assert lines[2] == answer(document)[0].replace("_", r"\_")


def test_ranks_are_shared_where_differences_are_open() -> None:
    values = {
        "base": BASE,
        "noisy": [10.0, 150.0, 60.0],
        "good": [80.0, 81.1, 82.0],
        "best": [60.0, 61.0, 62.1],
        "bad": [140.0, 141.2, 142.0],
    }
    results = results_of(study(**values))
    main, metrics = infos(results)
    board = leaderboard(results, summary(results), primary_metric(results, main), metrics)
    assert board.ranks is not None
    assert {name: str(rank) for name, rank in board.ranks.items()} == {
        "best": "1=",
        "noisy": "1=",
        "good": "2",
        "base": "3",
        "bad": "4",
    }
    assert board.names == ("best", "noisy", "good", "base", "bad")
    assert board.best == {"gfid": "best"}, "not the noisy one, were its mean better"


def test_sizes_are_told_and_warned_of() -> None:
    document = study(base=BASE, v=BASE)
    segment = {"name": "visual", "length": 49, "vocabulary": 256}
    prologue = {"name": "prologue", "length": 8, "vocabulary": 128}
    document["variants"] = [
        {"name": "base", "layout": [segment], "parameters": {"tokenizer": 990, "generator": 10}},
        {"name": "v", "layout": [prologue, segment], "parameters": {"tokenizer": 1040}},
    ]
    stage = {"stage": "train-tokenizer", "key": "k", "flops": 2e12}
    for run in document["runs"]:
        run["stages"] = [stage, {**stage, "stage": "sample"}]
    results = results_of(document)
    board = leaderboard(results, summary(results), None, [])
    tokens, bits, parameters, flops = board.sizes
    assert tokens.texts == {"base": "49 × 256", "v": "8 × 128 + 49 × 256"}
    assert bits.values == {"base": 49 * 8.0, "v": 49 * 8.0 + 8 * 7}
    assert (parameters.is_matched, flops.values) == (True, {"base": 2.0, "v": 2.0})
    assert [size.title for size in board.unmatched] == ["Tokens × codes", "Code length"]
    assert "tokens (49 to 57, up to +16%)" in fairness(board)
    segments = [{**each, "layout": [segment]} for each in document["variants"]]
    for each in segments:
        each["parameters"] = {"tokenizer": 990, "generator": 10}
    twins = results_of({**document, "variants": segments})

    def with_losses(*losses: str) -> str:
        """What is said where each variant has this loss of reconstructions."""
        trained = [
            attrs.evolve(
                variant,
                settings=attrs.evolve(
                    variant.settings, tokenizer_training={"losses": [{"use": loss}] if loss else []}
                ),
            )
            for variant, loss in zip(twins.variants, losses, strict=True)
        ]
        found = attrs.evolve(twins, variants=tuple(trained))
        return fairness(leaderboard(found, {}, None, []))

    assert with_losses("", "").startswith("Fair: ")
    assert "not counted" not in with_losses("", "")
    uncounted = "Operations of losses (patchgan) are not counted."
    assert with_losses("patchgan", "patchgan").startswith("Fair: ")
    assert with_losses("patchgan", "patchgan").endswith(uncounted)
    assert with_losses("", "patchgan") == (
        "Not of one size: variants differ in their losses. Differences may come from that. "
        + uncounted
    )
    alike = results_of({**document, "variants": document["variants"][:1]})
    assert fairness(leaderboard(alike, {}, None, [])) == ""


def test_the_ablation_names_the_primary_metric_and_those_beside_it() -> None:
    results = load_results(OLD_REPORTS / "prologue_count")
    main, metrics = infos(results)
    primary = primary_metric(results, main)
    assert primary is not None
    assert primary.name == "gfid", "the first of samples, in results that name none"
    shown = [info.name for info in leaderboard_metrics(results, primary, main, metrics)]
    assert shown == ["gfid", "rfid", "rate", "probe_4", "layout_pixels_4"], "one of each kind"
    document = report("prologue_count")
    asked = results_of({**document, "primary": "rate", "leaderboard": ["training_flops", "gone"]})
    main, metrics = infos(asked)
    primary = primary_metric(asked, main)
    shown = [info.name for info in leaderboard_metrics(asked, primary, main, metrics)]
    assert shown == ["rate", "training_flops"]
    assert not_measured(asked, main, metrics) == ["leaderboard: gone was not measured."]
    (told,) = not_measured(results_of({**document, "primary": "gone"}), main, metrics)
    assert told.startswith("primary: gone was not measured")


def test_the_keys_are_checked_before_anything_is_run(load: Callable[..., Ablation]) -> None:
    with pytest.raises(UserError, match=r"leaderboard: found 6 measurements, expected at most 5"):
        load("leaderboard=[a, b, c, d, e, f]")
    with pytest.raises(UserError, match="leaderboard: expected each measurement once"):
        load("leaderboard=[rate, rate]")
    ablation = load("primary=rate", "leaderboard=[rate_visual]")
    assert (ablation.primary, ablation.leaderboard) == ("rate", ("rate_visual",))
    assert ablation.overrides.values == ("primary=rate", "leaderboard=[rate_visual]")
    lacks = "primary: found 'gfid', and 'gfid' is not among its metrics"
    with pytest.raises(UserError, match=lacks):
        check_measurement(ablation, "gfid", "primary")


def test_names_of_numbers_that_no_metric_gives_are_refused_with_their_line(
    tmp_path: Path, registry: Registry, store: Store
) -> None:
    path = tmp_path / "tiny.yaml"
    for key, line in (
        ("primary: gfdi", ": primary: unknown metric 'gfdi'; known: rate"),
        ("primary: gfid", ": primary: found 'gfid', and 'gfid' is not among its metrics, rate; "),
        ("leaderboard: [rte]", ": leaderboard[0]: unknown metric 'rte'; did you mean 'rate'"),
        (
            "leaderboard:\n  - rate_prologue\n  - training_flops",
            ": leaderboard[1]: found 'training_flops', and 'cost' is not among its metrics, rate; ",
        ),
    ):
        path.write_text(f"{SMOKE}{key}\n")
        with pytest.raises(UserError) as found:
            make_plan_with(load_ablation(path, registry), Workspace(store), ())
        number = SMOKE.count("\n") + 1 + key.count("\n")
        assert str(found.value).startswith(f"{path}:{number}{line}"), found.value
    path.write_text(f"{SMOKE}leaderboard: [rate_prologue, training_flops]\n")
    with_cost = Overrides(values=("metrics=[rate, cost]",))
    assert make_plan_with(load_ablation(path, registry, with_cost), Workspace(store), ())


def test_the_seeds_that_settle_a_difference_are_those_that_narrow_its_interval() -> None:
    found = Difference(mean=-1.0, half_width=2.0, basis="training seeds", count=3)
    seeds = seeds_to_settle(found)
    assert seeds is not None
    assert 3 < seeds < 10
    near = Difference(
        mean=0.0, half_width=2.0, basis="training seeds", count=3, margin=Margin(0.05, 1.0)
    )
    assert seeds_to_settle(near) == seeds, "as far from the margin as the other from zero"
    assert seeds_to_settle(Difference(mean=0.0, half_width=2.0, basis="images")) is None
    never = Difference(mean=1e-6, half_width=2.0, basis="training seeds", count=3)
    assert seeds_to_settle(never) is None


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (263.51, 31.2, "264"),
        (4.2223, 0.0054, "4.2223"),
        (1494.7, 161, "1,495"),
        (-0.0098, 0.0021, "−0.0098"),
        (12.3456, None, "12.35"),
        (2.5e-8, 1e-9, "0.00000002500"),
        (0.0, 1e-9, "0.000000"),
        (-0.0004, 0.12, "0.00"),
        (-0.4, 31.2, "0"),
        (-0.006, 0.12, "−0.01"),
    ],
)
def test_digits_follow_the_uncertainty(value: float, uncertainty: float, text: str) -> None:
    assert to_digits(value, uncertainty) == text


def test_numbers_have_one_minus_and_no_powers_of_ten() -> None:
    assert (number(-0.5), number(4.9e-6, 2)) == ("−0.5", "0.0000049")
    assert plus_minus(-9.67, 78.2) == "−10 ± 78"
    assert plus_minus(2.13, 2.11) == "+2.13 ± 2.11", "digits enough to see that it leaves out zero"


def test_every_metric_of_the_published_reports_is_explained_in_plain_words() -> None:
    for folder in [*PUBLISHED, *OLD_REPORTS.iterdir()]:
        results = load_results(folder)
        for info in infos(results)[1]:
            assert info.kind in EXPLAINED, info.name
            assert "EfficientNet" not in info.label
        assert scale_notes(results)
    titles = {
        "position_x from level-1 (chance 0)": "Position x probe on the level-1 tokens (chance 0)"
    }
    for title, plain in titles.items():
        (told,) = in_plain_words(
            [MetricInfo("m", title, "", "higher")], results_of(study(base=BASE))
        )
        assert told.label == plain
    assert kind_of("rate_of_a_plugin") == "rate"
    assert kind_of("edges") == ""


def test_strips_show_one_sample_in_each_row() -> None:
    document = study(base=BASE, v=BASE)
    height, width = results_of(document).origins[0].data.shape[1:]
    images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 3, height, width), np.uint8
    )
    png = to_png(sheet(images))
    pictures = Pictures({"originals": png, "reconstructions-0": png, "samples-1": png})
    found = {each.title: each for each in strips(results_of(document), pictures)}
    assert list(found) == ["Reconstructions", "Their errors", "Samples"]
    first, second = found["Reconstructions"].rows[:2]
    assert [row.label for row in (first, second)] == ["circle", "square"]
    assert second.tiles[2] is None, "no picture of the second variant"
    assert second.tiles[0] is not None
    assert second.tiles[0].box == f"{width + 2} 0 {width} {height}"
    assert found["Samples"].columns == ("base", "v")
    html = render_html(results_of(document), pictures)
    assert html.count(f'viewBox="{second.tiles[0].box}"') == 2 + 1 + 1
    held = re.findall(r'<image id="picture-([a-z0-9-]+)"', html)
    assert held == ["originals", "reconstructions-0", "samples-1"]
    assert strips(results_of(document), Pictures()) == []


def test_results_without_a_baseline_have_a_page_too() -> None:
    document = {**study(base=BASE, v=[80.0, 81.1, 82.0]), "baseline": None}
    html = render_html(results_of(document), Pictures())
    assert "No baseline: no verdict." in html
    empty = copy.deepcopy(document)
    for run in empty["runs"]:
        run["measurements"] = []
    assert "no metric was measured of which lower or higher is better" in render_html(
        results_of(empty), Pictures()
    )
