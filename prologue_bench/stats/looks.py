"""Levels of intervals that are looked at again after every pair of seeds.

Seeds are added until a difference is decided, so its interval is looked at several times, and an
ordinary one would leave the truth out more often than it says. Here the intervals of all looks
hold at once (repeated confidence intervals, Jennison and Turnbull 1989), whatever makes the run
stop, so that the last one may be read as it is.

How much of the error may be spent up to each number of pairs is fixed beforehand (an error-spending
function, Lan and DeMets 1983), and by no largest number: a later run with more seeds goes on with
the same levels. The levels are exact for normal differences with unknown variance: the joint
distribution of the t statistics is computed, look by look, as for sequential t tests (Jennison and
Turnbull 1991), and no large-sample approximation is made.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import frozen

from prologue_bench.stats.student import critical, p_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PAIRS = 2
"""Of which a spread can be computed."""
MOST_SEEDS = 100
"""That may be looked at one by one, and are asked for."""
HALF_SPENT = 7
"""At so many pairs, half of the error is spent: few pairs decide little, and ten are a usual
limit."""
CELLS = 100
"""Of the distribution that is carried from look to look: levels are right to about a percent."""
ERRORS = tuple(10 ** (-each / 2) for each in range(12, -1, -1))
"""Between which p-values are interpolated, on logarithmic scales."""


@frozen
class Looks:
    """How the differences of a metric were looked at while seeds were added.

    The first look was at `first` pairs of seeds, the last at `most` or before, and there may have
    been one at each number between. `margin` is the share of the baseline within which a difference
    counts as none.
    """

    first: int
    most: int
    margin: float

    def level(self, error: float, pairs: int) -> float | None:
        """The error of one interval at so many pairs, if those of all looks err by `error` at most.

        With normal differences, the probability that any of the intervals leaves the truth out
        stays below `error`. None before the first look.
        """
        if pairs < self.first:
            return None
        return _Ladder.of(error, self.first).level(min(pairs, self.most))

    def p_value(self, alone: float, pairs: int) -> float:
        """The smallest error with which the interval at so many pairs leaves out zero.

        `alone` is the p-value that a single look would have. The result may be used whenever the
        looks end (repeated p-value, Jennison and Turnbull 1989).
        """
        pairs = min(pairs, self.most)
        levels = _levels(self.first, pairs)
        if alone < levels[0]:  # then no look adds to another: the error is that of their union
            return alone * ERRORS[0] / levels[0]
        above = min(bisect_right(levels, alone), len(levels) - 1)
        low, high = (math.log(levels[each]) for each in (above - 1, above))
        share = min(1.0, (math.log(alone) - low) / (high - low))
        return float(ERRORS[above - 1] ** (1 - share) * ERRORS[above] ** share)


def looks_of_both(one: Looks | None, other: Looks | None, pairs: int) -> Looks | None:
    """How a difference of so many pairs was looked at, whose sides were looked at in these ways.

    Looks of one side alone that began at more pairs than both sides have chose nothing.
    """
    if one is not None and other is not None:
        return Looks(
            min(one.first, other.first),
            max(one.most, other.most),
            min(one.margin, other.margin),
        )
    alone = one or other
    return None if alone is None or pairs < alone.first else alone


def spent(pairs: int) -> float:
    """The share of the error that looks at up to so many pairs may spend; 1 for ever so many."""
    return pairs**3 / (pairs**3 + HALF_SPENT**3)


@cache
def _levels(first: int, pairs: int) -> tuple[float, ...]:
    """The level at so many pairs for each of the ERRORS, so that p-values need no search."""
    return tuple(_Ladder.of(error, first).level(pairs) for error in ERRORS)


class _Ladder:
    """The levels of all looks from `first` pairs on, which err by `error` together at most.

    With x the differences of n pairs, r = sum(x) / sqrt(n sum(x²)) is the sine of an angle, and
    Student's t is its tangent times sqrt(n - 1). One more difference is the last coordinate of a
    uniform direction in n + 1 dimensions, sin(phi) with a density proportional to cos(phi)^(n - 1),
    which does not depend on r: r' = (sqrt(n) r cos(phi) + sin(phi)) / sqrt(n + 1). So the angles
    where no look has ended the run are a Markov chain; their distribution is kept in cells.
    """

    def __init__(self, error: float, first: int) -> None:
        import numpy as np

        self.error, self.first = error, first
        # Narrow cells at the end, where looks end the run.
        self.steps = 1 - np.linspace(1, 0, CELLS + 1) ** 3
        level = error * spent(first)
        self.levels = [level]
        self.edges = self.steps * math.atan(critical(level, first - 1) / math.sqrt(first - 1))
        self.masses = 2 * np.diff(_below(self.edges, first - 2))

    @staticmethod
    @cache
    def of(error: float, first: int) -> _Ladder:
        """The one of this error and first look, with the levels that it knows already."""
        return _Ladder(error, first)

    def level(self, pairs: int) -> float:
        """The level at so many pairs."""
        import numpy as np

        while len(self.levels) <= pairs - self.first:
            count = self.first + len(self.levels)
            step = _Step(self.edges, self.masses, count)
            bound = step.bound(self.error * (spent(count) - spent(count - 1)))
            self.levels.append(p_value(math.tan(bound) * math.sqrt(count - 1), count - 1))
            self.edges = self.steps * bound
            self.masses = -np.diff(step.beyond(self.edges))
        return self.levels[pairs - self.first]


class _Step:
    """From the angles of the looks before, of which masses lie between edges, to one more pair."""

    def __init__(self, edges: NDArray[Any], masses: NDArray[Any], count: int) -> None:
        import numpy as np

        self.masses, self.count = masses, count
        sines = math.sqrt(count - 1) * np.sin((edges[1:] + edges[:-1]) / 2)
        # sqrt(n) r cos(phi) + sin(phi) = size sin(phi + turn)
        self.sizes, self.turns = np.sqrt(1 + sines**2), np.arctan(sines)

    def beyond(self, angles: NDArray[Any]) -> NDArray[Any]:
        """The probability of going on so far and then to a larger angle, on either side."""
        import numpy as np

        reached = np.sin(angles)[:, None] * math.sqrt(self.count) / self.sizes
        start = np.arcsin(np.minimum(reached, 1.0))
        power = self.count - 2
        shares = sum(
            _below(np.pi - start - turns, power) - _below(start - turns, power)
            for turns in (self.turns, -self.turns)
        )
        found: NDArray[Any] = shares @ self.masses
        return found

    def bound(self, probability: float) -> float:
        """The angle that is exceeded with this probability."""
        import numpy as np

        low, high = 0.0, math.pi / 2
        while high - low > 1e-15:
            angles = np.linspace(low, high, 18)
            above = int((self.beyond(angles[1:-1]) > probability).sum())
            low, high = angles[above], angles[above + 1]
        return float(high)


def _below(angles: NDArray[Any], power: int) -> NDArray[Any]:
    """The share below each angle of a distribution on ±pi/2 whose density is cos(angle)^power."""
    import numpy as np

    angles = np.clip(angles, -np.pi / 2, np.pi / 2)
    cosines, sines = np.cos(angles), np.sin(angles)
    odd = power % 2
    integral, whole = (sines, 1.0) if odd else (angles, math.pi / 2)
    term, square = sines * (cosines**2 if odd else cosines), cosines**2
    for each in range(2 + odd, power + 1, 2):  # by parts; term is cos^(each - 1) sin
        integral = (term + (each - 1) * integral) / each
        whole *= (each - 1) / each
        term = term * square
    shares: NDArray[Any] = 0.5 + integral / (2 * whole)
    return shares
