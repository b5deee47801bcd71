"""Published differences held to those of other seeds, as docs/results.md tells of them."""

from __future__ import annotations

from attrs import evolve

from benchmarks.new_seeds import again
from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import Results
from tests.conftest import ROOT

SAME = {"2d": "prologue_tokens=0", "dropout 0.5": "prologue_tokens=8"}
"""Variants of the report on dropout, and what they are called in that on the count."""
ONLY_THERE = ["conditional_entropy_visual", "conditional_entropy_alike_visual"]
"""Metrics that the report on dropout lacks. They hold, as the command on the page shows."""
NAMED = " ".join((ROOT / "docs" / "results.md").read_text(encoding="utf-8").split())


def renamed(results: Results, seeds: range) -> Results:
    """What the report on dropout has of the other's variants, over some seeds."""
    return evolve(
        results,
        baseline=SAME["2d"],
        seeds=list(seeds),
        variants=[evolve(each, name=SAME.get(each.name, each.name)) for each in results.variants],
        runs=[
            evolve(run, variant=SAME[run.variant])
            for run in results.runs
            if run.variant in SAME and run.seed in seeds
        ],
    )


def test_the_page_says_how_many_differences_hold_with_other_seeds() -> None:
    published = load_results(ROOT / "reports" / "prologue_count")
    dropout = load_results(ROOT / "reports" / "visual_dropout")
    for seeds, text in (
        (range(5, 10), "Of {all} differences, {within} lie within the intervals of the report"),
        (
            range(5, 8),
            "{within} of {all} lie within the report's intervals. Means over three seeds have "
            "noise of their own; where that is allowed for, {expected} do.",
        ),
    ):
        found = list(again(published, renamed(dropout, seeds)))
        more = len(ONLY_THERE)
        told = {
            "all": more + len(found),
            "within": more + sum(each.share <= 1 for each in found),
            "expected": more + sum(each.share <= each.expected for each in found),
        }
        assert text.format(**told) in NAMED
    falls = {each.metric: each for each in again(published, renamed(dropout, range(5, 10)))}
    for metric, told in (
        ("rate", "The rate falls by {new:.1f} bits (published: {old:.1f} ± {width:.1f})"),
        ("generation_gap", "samples from reconstructions by {new:.1f} ({old:.1f} ± {width:.1f})"),
        ("generation_gap_fashion_mnist_cnn", "by {new:.3f} in place of {old:.3f} ± {width:.3f}"),
        ("generation_gap_difference", "falls by {new:.1f}, where it rose by"),
    ):
        each = falls[metric]
        old, width = -each.published.mean, each.published.half_width
        assert told.format(new=-each.new.mean, old=old, width=width) in NAMED


def test_what_lies_outside_is_told_with_both_differences() -> None:
    published = load_results(ROOT / "reports" / "prologue_count")
    dropout = load_results(ROOT / "reports" / "visual_dropout")
    found = {each.metric: each for each in again(published, renamed(dropout, range(5, 10)))}
    assert str(found["generation_gap_difference"]).endswith("over 5 seeds: beyond both")
    assert "training_seconds" not in found
