"""How much trainings differ by seed, as docs/results.md tells of it."""

from __future__ import annotations

import math

import pytest
from attrs import evolve

from benchmarks.steadiness import row, steadiness, table
from prologue_bench.results.frame import summary
from prologue_bench.results.loading import load_results
from tests.conftest import ROOT

REPORTS = ROOT / "reports"
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("names", [("visual_dropout", "steady"), ("recipes",)])
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
    assert row("visual_dropout", one)[2] == "1"
    assert "nan" not in row("visual_dropout", one)


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
        f"an rFD of {micro['rfid'].mean:.0f} and a gFD of {micro['gfid'].mean:.0f}, the baseline "
        f"of `steady` {base['rfid'].mean:.0f} and {base['gfid'].mean:.0f}"
    ) in page
    assert f"-ELBO is {elbo.mean:.3f} ± {elbo.half_width:.3f} higher" in page
