"""Student's t distribution.

It is computed here because to import it from scipy takes longer than all else that `compare` does.
`tests/unit/test_student.py` holds it to scipy's.
"""

from __future__ import annotations

import math
from functools import cache

PRECISION = 1e-16


def p_value(t: float, degrees_of_freedom: int) -> float:
    """How likely |T| >= |t| is, with so many degrees of freedom.

    That is the regularised incomplete beta function I_x(n/2, 1/2) at x = n / (n + t²) (Abramowitz
    and Stegun 26.7.1 and 26.5.27). Its relative error is that of floats, also far out.
    """
    square = t * t
    if square == 0 or math.isinf(square):
        return float(square == 0)
    whole = degrees_of_freedom + square
    return _incomplete_beta(degrees_of_freedom / 2, 0.5, degrees_of_freedom / whole, square / whole)


@cache
def critical(alpha: float, degrees_of_freedom: int) -> float:
    """The t that |T| reaches with a probability of `alpha`, which is above 0 and below 1."""
    low, high = 0.0, 1.0
    while p_value(high, degrees_of_freedom) > alpha:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        is_below = p_value(middle, degrees_of_freedom) > alpha
        low, high = (middle, high) if is_below else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b) by its series (DLMF 8.17.8); `rest` is 1 - x, without what rounding takes of it."""
    if x > (a + 1) / (a + b + 2):  # there the series of the rest converges faster
        return 1 - _incomplete_beta(b, a, rest, x)
    term = total = 1.0
    count = 0
    while term > PRECISION * total:
        term *= x * (a + b + count) / (a + 1 + count)
        total += term
        count += 1
    scale = math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b)
    return total * math.exp(a * math.log(x) + b * math.log(rest) + scale)
