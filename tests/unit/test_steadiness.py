"""How much trainings differ by seed, as docs/results.md tells of it."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from attrs import evolve

from benchmarks.steadiness import row, steadiness, table
from prologue_bench.config.ablation import load_ablation
from prologue_bench.registry import Registry
from prologue_bench.results.frame import summary
from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import with_baseline
from prologue_bench.stats.differences import Cell, Difference
from prologue_bench.stats.intervals import LEVEL
from prologue_bench.stats.looks import Looks
from prologue_bench.stats.student import critical
from tests.conftest import ROOT

REPORTS = ROOT / "reports"
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "names", [("visual_dropout", "steady"), ("recipes",), ("steady_steps",), ("steady_losses",)]
)
def test_the_page_shows_the_tables_that_the_script_prints(names: tuple[str, ...]) -> None:
    assert table({name: load_results(REPORTS / name) for name in names}) in PAGE


def test_variation_is_that_of_a_sample_and_unknown_of_one_seed() -> None:
    results = load_results(REPORTS / "visual_dropout")
    two = evolve(results, runs=tuple(run for run in results.runs if run.seed in (0, 3)))
    baseline = next(steadiness(two))
    low, high = sorted(baseline.rfd)
    assert baseline.variation == pytest.approx(
        (high - low) / math.sqrt(2) / ((high + low) / 2), rel=1e-12
    )
    assert not baseline.bits, "a baseline has no prologue"
    one = next(
        steadiness(evolve(results, runs=tuple(run for run in results.runs if run.seed == 0)))
    )
    assert math.isnan(one.variation)
    assert all(map(math.isnan, one.variation_interval()))
    assert row("visual_dropout", one)[2] == "1"
    assert "nan" not in row("visual_dropout", one)


def test_the_interval_of_a_variation_holds_the_true_one_as_often_as_it_says() -> None:
    generator = random.Random(7)
    one = next(steadiness(load_results(REPORTS / "visual_dropout")))
    held = 0
    for _ in range(2000):
        drawn = evolve(one, rfd=tuple(generator.gauss(200, 16) for _ in range(10)))
        low, high = drawn.variation_interval()
        held += low <= 16 / 200 <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_trainings_with_jumps_are_counted_once_each() -> None:
    found = {one.variant: one for one in steadiness(load_results(REPORTS / "visual_dropout"))}
    assert [seed for seed, jumps in enumerate(found["2d"].jumps) if jumps] == [1, 8]
    assert row("", found["2d"])[-1] == "2 of 10"


def test_the_pages_say_what_eight_tokens_do_to_a_baseline_that_is_trained_better() -> None:
    base, prologue = summary(load_results(REPORTS / "steady")).values()
    gfd, elbo = prologue["gfid"].difference, prologue["elbo"].difference
    assert gfd is not None
    assert elbo is not None
    told = f"{gfd.mean:.0f} ± {gfd.half_width:.0f}"
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    page = " ".join(PAGE.split())
    assert f"eight tokens raise it by {told}," in readme
    assert f"eight tokens raise gFD by {told}, over" in page
    assert f"rFD of {prologue['rfid'].mean:.0f} against {base['rfid'].mean:.0f}" in page
    micro = summary(load_results(REPORTS / "visual_dropout"))["dropout 1"]
    assert (
        f"an rFD of {micro['rfid'].mean:.0f} and a gFD of {micro['gfid'].mean:.0f} (ten seeds), "
        f"the baseline of `steady` {base['rfid'].mean:.0f} and {base['gfid'].mean:.0f} (six)"
    ) in page
    assert f"-ELBO is {elbo.mean:.3f} ± {elbo.half_width:.3f} higher" in page


def change(cells: Mapping[str, Cell], metric: str, digits: int = 1, rises: bool = False) -> str:
    """A difference without its sign, and its half-width."""
    difference = cells[metric].difference
    assert difference is not None
    assert difference.half_width is not None
    assert (difference.mean > 0) == rises
    return f"{abs(difference.mean):.{digits}f} ± {difference.half_width:.{digits}f}"


def _difference(cells: Mapping[str, Cell]) -> Difference:
    """That of gFD."""
    found = cells["gfid"].difference
    assert found is not None
    return found


def with_looks(cells: Mapping[str, Cell], first: int) -> float:
    """The half width of gFD's difference, had it been looked at from so many seeds on."""
    found = _difference(cells)
    alpha = (1 - LEVEL) / found.family
    wider = Looks(first, found.count, margin=0.05).level(alpha, found.count)
    assert wider is not None
    assert found.half_width is not None
    freedom = found.count - 1
    return found.half_width * critical(wider, freedom) / critical(alpha, freedom)


def summary_table(report: str) -> list[list[str]]:
    """The titles of a report's summary, and its rows: one per variant."""
    shown = (REPORTS / report / "results.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown]
    titles = next(place for place, row in enumerate(rows) if CHANGED["gFD"] in row)
    table_of = [row for row in rows[titles:] if len(row) == len(rows[titles])]
    assert len(table_of) == 2 + len(load_results(REPORTS / report).variants)
    return [table_of[0], *table_of[2:]]


def gradients(results: Results) -> dict[str, float]:
    """The mean norm of the encoder's gradient, by variant."""
    found: dict[str, list[float]] = {}
    for run in results.runs:
        known = [each for each in run.inside.get("gradient/encoder", ()) if each is not None]
        found.setdefault(run.variant, []).append(statistics.fmean(known))
    return {variant: statistics.fmean(means) for variant, means in found.items()}


def check_rows(report: str, section: str, columns: Sequence[int]) -> None:
    """That a section of the page shows these columns of all rows of a report's summary."""
    shown = PAGE.partition(section)[2].splitlines()
    for cells in summary_table(report)[1:]:
        assert f"| {' | '.join(cells[column] for column in columns)} |" in shown


def pages() -> tuple[str, str]:
    """docs/results.md and README.md without line ends."""
    return (
        " ".join(PAGE.split()),
        " ".join((ROOT / "README.md").read_text(encoding="utf-8").split()),
    )


def test_the_pages_say_what_a_prologue_does_at_equal_operations() -> None:
    results = load_results(REPORTS / "steady_budget")
    _, fewer, joint, post = summary(results).values()
    page, readme = pages()
    gap = "generation_gap"
    assert (
        f"a gFD {change(fewer, 'gfid', rises=True)} lower and samples "
        f"{change(fewer, gap, rises=True)} closer to reconstructions"
    ) in page
    assert post["gfid"].verdict == "equivalent"
    assert f"tokens that are added is {change(post, 'gfid')} lower, which may be noise" in page
    assert (
        f"gains {change(fewer, 'gfid', 0, True)} of that from as many operations of the "
        f"generator, and the rest, {change(post, 'gfid', 0)}, may be noise"
    ) in readme
    assert joint[gap].verdict == "better"
    before = summary(load_results(REPORTS / "steady_tokenizers"))["prologue"]
    assert f"closer by {change(joint, gap)}, and not by {change(before, gap)}" in page
    gains = [
        change(cells, metric).partition(" ")[0]
        for metric in (gap, "rate")
        for cells in (joint, before)
    ]
    assert (
        f"{gains[0]} of {gains[1]} in the distance from reconstructions and {gains[2]} of "
        f"{gains[3]} bits in the rate, both beyond the noise"
    ) in page
    assert {joint[metric].verdict for metric in (gap, "rate")} == {"better"}
    whole = {
        (run.variant, each.name): each.value or 0.0
        for run in results.runs
        for each in run.measurements
    }
    spent = [f"{whole[name, 'training_flops']:.0f}" for name in summary(results)]
    assert f"take {spent[0]} TFLOP for the baseline with 7,730 steps, {spent[2]} for joint" in page
    assert f"training and {spent[3]} for Prologue-Post" in page
    flops = {
        (run.variant, stage.stage): stage.flops or 0.0
        for run in results.runs
        for stage in run.stages
    }
    control, short, long = (
        flops[name, "train-generator"]
        for name in ("2d, 7,730 steps", "2d, 6,000 steps", "prologue-post")
    )
    assert abs(control / long - 1) < 1e-3
    assert f"takes {100 * (long / short - 1):.0f}% more operations of the generator" in page
    check_rows("steady_budget", "### At equal operations of", (0, 3, 5, 9))


def test_the_pages_say_what_a_prologue_does_that_is_added_afterwards() -> None:
    found = summary(load_results(REPORTS / "steady_tokenizers"))
    base, joint, post, onestage = found.values()
    page, readme = pages()
    gfd = [cells["gfid"].mean for cells in (base, post, onestage)]
    share = 100 * (gfd[0] - gfd[1]) / gfd[0]
    assert {cells["gfid"].verdict for cells in (joint, onestage)} == {"worse"}
    assert post["gfid"].verdict == "better"
    assert f"lower gFD by {change(post, 'gfid')} ({share:.1f}%, six seeds)" in page
    assert f"they lower it by {change(post, 'gfid', 0)} ({share:.1f}%), over six seeds" in readme
    assert f"gFD falls from {gfd[0]:.0f} to {gfd[1]:.0f} in the mean, in five of six seeds" in page
    clothes = post["gfid_fashion_mnist_cnn"]
    assert (
        f"gFD does not move (−{change(post, 'gfid_fashion_mnist_cnn', 3)}, of "
        f"{base['gfid_fashion_mnist_cnn'].mean:.3f})"
    ) in page
    assert clothes.verdict == "noise"
    pairs = {
        (run.variant, run.seed): each.value or 0.0
        for run in load_results(REPORTS / "steady_tokenizers").runs
        for each in run.measurements
        if each.name == "gfid"
    }
    falls = [pairs["2d", seed] - pairs["prologue-post", seed] for seed in (0, 1, 3, 4, 5, 8)]
    assert sum(fall > 1 for fall in falls) == 5
    assert sum(abs(fall) < 1 for fall in falls) == 1
    assert (
        f"the class in {post['probe_8'].mean:.0f}% of the images against "
        f"{joint['probe_8'].mean:.0f}%, the joint bits are {post['bits_joint_prologue'].mean:.1f} "
        f"against {joint['bits_joint_prologue'].mean:.1f}, and the layout persistence is "
        f"{post['layout_pixels_8'].mean:.2f} against {joint['layout_pixels_8'].mean:.2f}"
    ) in page
    wider = [with_looks(cells, first=3) for cells in (post, onestage)]
    assert f"1a-post would be open (−11.2 ± {wider[0]:.0f})" in page
    assert f"so would 2b (+154 ± {wider[1]:.0f})" in page
    for cells, width in zip((post, onestage), wider, strict=True):
        assert width > abs(_difference(cells).mean)
    gaps = [change(cells, "generation_gap") for cells in (post, joint)]
    assert f"by {gaps[0]} against {gaps[1]}" in page
    assert (
        f"a rate of {joint['rate'].mean:.1f} bits in place of {post['rate'].mean:.1f}, and harder "
        f"to decode, with an rFD of {joint['rfid'].mean:.0f} in place of {base['rfid'].mean:.0f}"
    ) in page
    assert (
        f"rises by {change(post, 'rate', rises=True)} bits, as with `micro`: the visual tokens "
        f"take {change(post, 'rate_visual')} bits fewer, and the prologue takes "
        f"{post['rate_prologue'].mean:.1f}"
    ) in page
    assert (
        f"raises gFD by {change(onestage, 'gfid', 0, True)}, from {gfd[0]:.0f} to {gfd[2]:.0f}: "
        f"gFD minus rFD by {change(onestage, 'generation_gap_difference', 0, True)}, and rFD, "
        f"open, by {change(onestage, 'rfid', 0, True)}"
    ) in page


def test_the_page_says_how_many_operations_longer_sequences_take() -> None:
    flops = {
        run.variant: stage.flops or 0.0
        for run in load_results(REPORTS / "prologue_count").runs
        for stage in run.stages
        if stage.stage == "train-generator"
    }
    base, *more = flops.values()
    shares = [f"{100 * (each / base - 1):.0f}" for each in more]
    assert f"takes {shares[0]}, {shares[1]} and {shares[2]}% more operations" in pages()[0]
    # By the logarithm of the operations, as the page scales it: 7% for 29%.
    falls = [
        fall - 7 * math.log(each / base) / math.log(1.29)
        for fall, each in zip((17, 17, 12), more, strict=True)
    ]
    assert "something like {:.0f}, {:.0f} and {:.0f}%".format(*falls) in pages()[0]


def test_the_page_says_how_near_longer_trainings_come_to_the_aims() -> None:
    longer = {one.variant: one for one in steadiness(load_results(REPORTS / "steady_steps"))}[
        "2d, 8,000 steps"
    ]
    assert len(longer.rfd) == 10
    assert f"rFD differs by {100 * longer.variation:.1f}% in place of 5%" in pages()[0]
    assert max(longer.errors) < 0.028
    assert not any(longer.jumps)


def test_the_pages_say_what_a_smaller_weight_of_the_loss_does() -> None:
    results = load_results(REPORTS / "steady_weight")
    cells = summary(results)
    base, heavy, light, post = (
        cells[name]
        for name in ("2d", "prologue, weight 3", "prologue, weight 0.1", "prologue-post")
    )
    other = summary(with_baseline(results, "prologue, weight 3"))["prologue, weight 0.1"]
    page, readme = pages()
    told = {metric: change(light, metric, 0) for metric in ("rfid", "gfid")}
    assert {light[metric].verdict for metric in told} == {"noise"}
    for metric, name in (("rfid", "rFD is"), ("gfid", "gFD")):
        means = f"{light[metric].mean:.0f} against"
        assert f"{name} {means}" in page
        assert f"{base[metric].mean:.0f} (−{told[metric]}, open)" in page
    assert f"it is {told['gfid']} lower, open" in page
    assert f"gFD is {told['gfid']} lower, open" in readme
    assert other["gfid"].verdict == other["rfid"].verdict == "better"
    assert f"in place of 3, gFD is {change(other, 'gfid', 0)} lower" in page
    assert (
        f"rFD is {change(other, 'rfid', 0)} lower and gFD {change(other, 'gfid', 0)} "
        "(`prologue-bench report reports/steady_weight"
    ) in page
    assert other["rate"].verdict == "worse"
    assert f"leaves it as it is (+{change(light, 'rate', 1, True)}, open)" in page
    assert (
        f"rate is {light['rate'].mean:.1f} bits against {base['rate'].mean:.1f} "
        f"(+{change(light, 'rate', 1, True)}, open), {change(other, 'rate', 1, True)} above"
    ) in page
    assert f"tokens take {change(light, 'rate_visual')} bits fewer, and the prologue takes" in page
    assert f"the prologue takes {light['rate_prologue'].mean:.1f}." in page
    probes = {f"{each['probe_8'].mean:.0f}%" for each in (light, heavy)}
    assert probes == {"67%"}
    bits = [f"{each['bits_joint_prologue'].mean:.1f}" for each in (light, heavy)]
    assert f"the joint bits are {bits[0]} and {bits[1]}" in page
    assert f"whose gFD is {post['gfid'].mean:.0f}" in page


def test_the_page_says_how_large_the_encoder_s_gradients_are() -> None:
    found = gradients(load_results(REPORTS / "steady_weight"))
    base, heavy, light = (
        found[name] for name in ("2d", "prologue, weight 3", "prologue, weight 0.1")
    )
    page = pages()[0]
    assert f"its gradient there has a norm of {heavy:.2f}, in the mean" in page
    assert f"learns from reconstruction alone, one of {base:.3f}." in page
    assert f"With a weight of 0.1 the norm is {light:.3f}." in page


def test_the_page_shows_rows_of_the_report_on_the_weight() -> None:
    check_rows("steady_weight", "## A weight that leaves", (0, 1, 3, 4, 6, 10, 13))


def test_the_page_says_what_a_prologue_does_beside_tokenizers_that_train_twice_as_long() -> None:
    results = load_results(REPORTS / "steady_long")
    base, light, longer = summary(results).values()
    beside = summary(with_baseline(results, "2d, 7,730 steps"))["prologue, weight 0.1"]
    page, gap = pages()[0], "generation_gap"
    assert len(results.seeds) == 4
    assert f"rFD is {light['rfid'].mean:.0f} against {base['rfid'].mean:.0f}" in page
    assert f"(+{change(light, 'rfid', 0, True)}), and the squared error is equivalent" in page
    assert {light["mse"].verdict, light["rate"].verdict} == {"equivalent"}
    assert light[gap].verdict == light["probe_8"].verdict == longer["gfid"].verdict == "better"
    share = 100 * (1 - light[gap].mean / base[gap].mean)
    assert f"come {change(light, gap)} closer to reconstructions ({share:.0f}%)" in page
    assert f"the probe reads {change(light, 'probe_8', 1, True)} points more" in page
    assert f"gFD is {light['gfid'].mean:.0f} against {base['gfid'].mean:.0f}" in page
    assert light["gfid"].verdict == "noise"
    assert f"(−{change(light, 'gfid', 0)}, open)" in page
    assert f"and {change(light, 'gfid', 0)} lower where tokenizers" in page
    assert f"gFD is {change(longer, 'gfid')} lower and samples {change(longer, gap)} closer" in page
    assert f"the prologue's are {change(beside, gap)} closer, open" in page
    assert beside[gap].verdict == "noise"
    check_rows("steady_long", "### With twice as many steps", (0, 1, 3, 4, 6, 10, 12))


def test_the_pages_say_what_a_prologue_does_with_all_of_the_paper_s_losses() -> None:
    results, gap = load_results(REPORTS / "steady_losses"), "generation_gap"
    base, heavy = summary(results).values()
    fewer, beside = list(summary(load_results(REPORTS / "steady_losses_budget")).values())[1:]
    page, readme = pages()
    assert len(results.seeds) == 10
    assert heavy["rfid"].verdict == beside["rfid"].verdict == "equivalent"
    assert heavy["gfid"].verdict == heavy["rate"].verdict == heavy[gap].verdict == "better"
    gfd = change(heavy, "gfid", 0)
    means = f"from {base['gfid'].mean:.0f} to {heavy['gfid'].mean:.0f}"
    share = 100 * (1 - heavy["gfid"].mean / base["gfid"].mean)
    assert f"a prologue lowers gFD by {share:.0f}%" in page
    assert f"lower gFD by {gfd}, {means}, and the rate by {change(heavy, 'rate')} bits" in page
    assert f"lowers gFD by {gfd}, {means}, over ten seeds" in readme
    assert f"come {change(heavy, gap)} closer to reconstructions" in page
    assert f"rFD is {heavy['rfid'].mean:.0f} against {base['rfid'].mean:.0f}" in page
    assert f"(+{change(heavy, 'rfid', 1, True)}, equivalent)" in page
    for metric, words in (
        ("mse", "squared error is {:.0f}%"),
        ("rfid_fashion_mnist_cnn", ", {:.0f}%;"),
    ):
        assert heavy[metric].verdict == "worse"
        assert words.format(100 * (heavy[metric].mean / base[metric].mean - 1)) in page
    assert beside["gfid"].verdict == "better"
    alone, wider = (with_looks(cells, first=3) for cells in (heavy, beside))
    assert alone < abs(_difference(heavy).mean), "beyond the noise of all looks"
    assert wider < abs(_difference(beside).mean)
    assert f"is wider: ± {alone:.1f} in place of ± {_difference(heavy).half_width:.1f}" in page
    assert f"gFD is {change(beside, 'gfid')} lower (± {wider:.1f} if all looks" in page
    looks = "also beyond the noise of the four looks"
    assert f"it is {change(beside, 'gfid')} lower, {looks}" in readme
    assert f"that were taken (± {wider:.1f})" in readme
    assert f"is left, {change(beside, 'gfid')}, is beyond the noise, also if all looks" in page
    assert f"`--until-decided` does (± {wider:.1f})" in page
    assert f"More steps gain {change(fewer, 'gfid', rises=True)} of the" in page
    assert beside["rate"].verdict == beside[gap].verdict == "better"
    assert f"the rate {change(beside, 'rate')} bits, and samples come {change(beside, gap)}" in page
    without, with_it = gradients(results).values()
    assert (
        f"has a norm of {without:.2f} in the mean, and that with the prologue one of {with_it:.2f}"
        in page
    )
    check_rows("steady_losses", "## With all of the paper's losses", (0, 1, 3, 4, 6, 10, 12))
    check_rows("steady_losses_budget", "At equal operations of the generator, 7,730", (0, 3, 5, 9))


def test_the_pages_say_what_is_left_where_all_search_the_same_temperatures() -> None:
    found = summary(load_results(REPORTS / "steady_losses_search"))["prologue, weight 3"]
    page, readme = pages()
    wider = with_looks(found, first=3)
    assert wider < abs(_difference(found).mean)
    gfd, gap = change(found, "gfid"), change(found, "generation_gap")
    assert f"search the same temperatures, too, it is {gfd} lower" in page
    assert f"gFD is {gfd} lower (± {wider:.1f} if all looks are allowed for), and samples" in page
    assert f"samples come {gap} closer to reconstructions. The control was" in page
    assert f"and {gfd} lower where all search the same temperatures" in readme
    check_rows("steady_losses_search", "Profile `steady`, as `micro`, searches", (0, 3, 5, 9))


def test_the_profile_with_all_losses_is_the_recipe_of_the_published_runs(tmp_path: Path) -> None:
    registry = Registry.load()
    published = ROOT / "ablations" / "steady_losses.yaml"
    document = yaml.safe_load(published.read_text(encoding="utf-8"))
    del document["tokenizer_training"]
    text = yaml.safe_dump({**document, "profile": "steady-losses"}, sort_keys=False)
    again = tmp_path / "again.yaml"
    again.write_text(text, encoding="utf-8")
    pairs = zip(
        *(load_ablation(path, registry).experiments for path in (published, again)), strict=True
    )
    for one, other in pairs:
        assert other != one
        assert evolve(other, sampling=one.sampling) == one, "the temperatures alone are others"


EIGHT_TOKENS = (
    ("[all of the paper's losses](#with-all-of-the-papers-losses)", "steady_losses", 1),
    ("the same, beside as many operations", "steady_losses_budget", 2),
    ("the same, and one grid of temperatures", "steady_losses_search", 2),
    ("[L1 alone](#a-recipe-that-trains-the-baseline-better)", "steady", 1),
    ("[L1 alone, weight 0.1](#a-weight-that-leaves-reconstruction-alone)", "steady_weight", 3),
    ("[the same, twice the steps](#with-twice-as-many-steps-of-the-tokenizer)", "steady_long", 1),
    (
        "[L1 alone, added afterwards](#a-prologue-that-costs-the-decoder-nothing)",
        "steady_tokenizers",
        2,
    ),
    (
        "[the same, beside as many operations](#at-equal-operations-of-the-generator)",
        "steady_budget",
        3,
    ),
)
"""How the tokens are trained, the report, and its variant by number."""
CHANGED = {
    "gFD": "gFD (EfficientNet-Lite0) ↓",
    "rFD": "rFD (EfficientNet-Lite0) ↓",
    "samples from reconstructions": "FD of samples from reconstructions (EfficientNet-Lite0) ↓",
    "rate (bits)": "rate ↓ (bits/image)",
}


def answer() -> str:
    """The table of docs/results.md that says what eight tokens change, setting by setting."""
    head = ["how they are trained", "seeds", "gFD without", *CHANGED]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for setting, report, variant in EIGHT_TOKENS:
        titles, base, *others = summary_table(report)
        own = others[variant - 1]
        changes = [
            own[titles.index(title)].partition("(")[2].rstrip(")") for title in CHANGED.values()
        ]
        seeds = len(load_results(REPORTS / report).seeds)
        without = base[titles.index(CHANGED["gFD"])].partition(",")[0]
        same = ["0" if "same" in change else change for change in changes]
        lines.append([setting, str(seeds), without, *same])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def test_the_page_begins_with_what_eight_tokens_change() -> None:
    assert answer() in PAGE
