"""Intervals that are looked at again with every seed, against simulation and other computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prologue_bench.stats.differences import Cell, Difference, summarise
from prologue_bench.stats.looks import Looks, spent
from prologue_bench.stats.settling import narrowing, seeds_to_settle
from tests.factories.verdicts import rows

LOOKS = Looks(first=3, most=10, margin=0.05)
NUMBERS = st.lists(
    st.tuples(st.floats(-3, 3), st.floats(90, 110)), min_size=3, max_size=6, unique=True
)


def difference(base: list[float], other: list[float], looks: Looks | None = LOOKS) -> Difference:
    return _known(cell(base, other, looks).difference)


def cell(base: list[float], other: list[float], looks: Looks | None = LOOKS) -> Cell:
    rules = {} if looks is None else {"m": {"base": looks, "other": looks}}
    return summarise(rows({"base": base, "other": other}), "base", rules)["other"]["m"]


def _known(found: Difference | None) -> Difference:
    assert found is not None
    return found


@pytest.mark.parametrize("first", [2, 3, 5])
@pytest.mark.parametrize("error", [0.05, 0.3])
def test_all_looks_together_err_as_often_as_is_spent(first: int, error: float) -> None:
    """By 200,000 sequences of normal differences, of which each is looked at with every pair."""
    random = np.random.default_rng(first)
    values = random.standard_normal((200_000, 10))
    looks = Looks(first, 10, 0.05)
    wrong = np.zeros(len(values), bool)
    for pairs in range(first, 11):
        seen = values[:, :pairs]
        t = seen.mean(1) / seen.std(1, ddof=1) * math.sqrt(pairs)
        level = looks.level(error, pairs)
        assert level is not None
        wrong |= abs(t) > stats.t.isf(level / 2, pairs - 1)
        expected = error * spent(pairs)
        noise = math.sqrt(expected * (1 - expected) / len(values))
        assert wrong.mean() == pytest.approx(expected, abs=4 * noise)


def test_levels_do_not_depend_on_the_limit() -> None:
    """So a later run may go on with a higher one, whatever the earlier looks said."""
    further = Looks(3, 40, 0.05)
    assert [LOOKS.level(0.05, n) for n in range(3, 11)] == [
        further.level(0.05, n) for n in range(3, 11)
    ]
    assert LOOKS.level(0.05, 40) == LOOKS.level(0.05, 10), "no look was beyond the limit"
    assert LOOKS.level(0.05, 3) == pytest.approx(0.05 * spent(3))
    assert LOOKS.level(0.05, 2) is None
    assert spent(10) < spent(1000) < 1


def test_the_interval_is_that_of_the_level_and_wider_than_without_looks() -> None:
    base, other = [100.0, 104.0, 97.0, 99.0], [98.0, 101.0, 97.5, 96.0]
    found, alone = difference(base, other), difference(base, other, None)
    level = LOOKS.level(0.05, 4)
    assert level is not None
    expected = stats.ttest_rel(other, base).confidence_interval(1 - level)
    assert found.half_width == pytest.approx((expected.high - expected.low) / 2)
    assert found.half_width is not None
    assert alone.half_width is not None
    assert found.half_width > alone.half_width
    assert found.p_value is not None
    assert alone.p_value is not None
    assert found.p_value > alone.p_value
    assert (found.looks, alone.looks) == (LOOKS, None)
    assert alone.margin is None, "without looks nothing is called equivalent"


@pytest.mark.parametrize(("seeds", "mean"), [(3, 1.0), (3, 2.0), (5, 0.5), (10, 0.5)])
def test_the_seeds_that_settle_a_difference_are_those_at_whose_look_it_would_be(
    seeds: int, mean: float
) -> None:
    """With the level that the look at so many pairs has, and not that of a single look."""
    spread = np.arange(seeds) - (seeds - 1) / 2
    other = 100 + mean + spread / np.std(spread, ddof=1)
    found = difference([100.0] * seeds, list(map(float, other)), Looks(3, seeds, 1e-6))

    def width(count: int) -> float:
        level = Looks(3, count, 1e-6).level(0.05, count)
        assert level is not None
        return float(stats.t.ppf(1 - level / 2, count - 1)) / math.sqrt(count)

    expected = next(count for count in range(seeds + 1, 200) if width(count) < mean)
    assert seeds_to_settle(found) == expected


@given(st.sampled_from([3, 5, 10]), st.floats(1e-9, 1), st.sampled_from([1e-5, 0.004, 0.05, 0.7]))
@settings(deadline=None)
def test_p_values_are_below_an_error_where_the_interval_of_that_error_leaves_zero_out(
    pairs: int, alone: float, error: float
) -> None:
    level = LOOKS.level(error, pairs)
    assert level is not None
    found = LOOKS.p_value(alone, pairs)
    assert alone <= found <= 1
    if alone < 0.9 * level:
        assert found < error
    if alone > 1.1 * level:
        assert found > error


def test_nothing_is_said_before_the_first_look_and_other_metrics_are_as_ever() -> None:
    early = cell([100.0, 104.0], [98.0, 101.0])
    assert (early.verdict, early.waits_for_seeds) == ("unknown", True)
    assert _known(early.difference).half_width is None
    assert early.half_width is None
    one = cell([100.0], [98.0])
    assert _known(one.difference).half_width is None
    frame = rows({"base": [1.0, 2.0, 4.0], "other": [1.1, 2.3, 4.2]})
    assert summarise(frame, "base", {"another": {"base": LOOKS, "other": LOOKS}}) == summarise(
        frame, "base"
    )


def test_what_lies_within_the_margin_is_equivalent_and_what_leaves_zero_out_is_not_so_called() -> (
    None
):
    base = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2]
    near = cell(base, [100.1, 101.0, 99.1, 100.4, 99.4, 100.3])
    assert (near.verdict, near.waits_for_seeds) == ("equivalent", False)
    small = cell(base, [value + 2 + 0.01 * index for index, value in enumerate(base)])
    assert small.verdict == "worse", "small, but beyond the noise"
    far = cell(base, [110.0, 95.0, 104.0, 92.0, 103.0, 99.0])
    assert (far.verdict, far.waits_for_seeds) == ("noise", True)
    same = cell(base, base)
    assert (same.verdict, same.waits_for_seeds) == ("same", False)
    constant = cell([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert (constant.verdict, constant.waits_for_seeds) == ("unknown", False), (
        "no number of seeds gives it an interval"
    )


@given(NUMBERS, st.floats(-7, 7))
@settings(deadline=None)
def test_equivalence_implies_both_tests_against_the_share_of_the_baseline(
    pairs: list[tuple[float, float]], shift: float
) -> None:
    """Against scipy: one-sided t tests of difference - 5% of the baseline, and of their sum."""
    base = np.array([value for _, value in pairs])
    change = np.array([0.02 * noise + shift for noise, _ in pairs])
    found = difference(list(base), list(base + change))
    if not found.is_equivalent:
        return
    level = LOOKS.level(0.05, len(pairs))
    assert level is not None
    for bound, side in ((change - 0.05 * base, "less"), (change + 0.05 * base, "greater")):
        assert stats.ttest_1samp(bound, 0, alternative=side).pvalue <= level / 2 * (1 + 1e-9)


def test_the_noise_of_the_baseline_narrows_the_margin() -> None:
    change = [0.1, -0.2, 0.15, -0.1, 0.05]
    steady = [100.0] * 5
    noisy = [60.0, 140.0, 110.0, 80.0, 110.0]

    def limit(base: list[float]) -> float:
        found = difference(base, [value + each for value, each in zip(base, change, strict=True)])
        assert found.margin is not None
        assert found.margin.share == 0.05
        assert found.half_width is not None
        return found.margin.limit(found.half_width)

    assert limit(steady) == pytest.approx(5.0)
    assert limit(noisy) < 4.0
    assert limit([-value for value in steady]) == pytest.approx(5.0)


def test_a_noisy_baseline_does_not_ask_for_more_seeds_than_settle_a_difference() -> None:
    """Its margin widens as the interval narrows: what is not known of the baseline shrinks too."""
    base, other = [100.0, 112.0, 90.0], [97.0, 118.0, 88.0]
    found = difference(base, other)
    assert found.margin is not None
    assert found.half_width is not None
    assert found.margin.wider > 0
    seeds = seeds_to_settle(found)
    assert seeds is not None
    width = found.half_width * narrowing(found, seeds)
    assert abs(found.mean) + width <= found.margin.limit(width)
    wider = found.half_width * narrowing(found, seeds - 1)
    assert abs(found.mean) + wider > found.margin.limit(wider)
    fixed = found.margin.limit(found.half_width)
    assert abs(found.mean) + width > fixed, "as it was counted, more seeds would be asked for"
