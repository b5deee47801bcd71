"""What is computed here and not by scipy, which takes long to import, against scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from prologue_bench.reporting.comparison import agreement
from prologue_bench.stats.student import critical, p_value

FREEDOM = st.integers(1, 500)


@given(st.floats(-1e6, 1e6), FREEDOM)
def test_p_values_are_those_of_scipy_also_far_out(t: float, freedom: int) -> None:
    expected = 2 * special.stdtr(freedom, -abs(t))
    assert p_value(t, freedom) == pytest.approx(expected, rel=1e-10, abs=1e-300)


@given(FREEDOM, st.integers(1, 100))
def test_critical_values_are_those_of_scipy(freedom: int, family: int) -> None:
    expected = special.stdtrit(freedom, 1 - 0.05 / (2 * family))
    assert critical(0.05 / family, freedom) == pytest.approx(expected, rel=1e-10)


def test_nothing_is_certain_at_zero_and_everything_at_infinity() -> None:
    assert p_value(0.0, 3) == 1.0
    assert p_value(math.inf, 3) == p_value(1e300, 3) == 0.0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_runs_rank_as_alike_as_scipy_says(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    found = agreement(pairs)
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic)
