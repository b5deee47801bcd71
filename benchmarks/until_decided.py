"""What `run --until-decided` decides on simulated ablations.

    python benchmarks/until_decided.py [--ablations 2000]

prints the tables of docs/metrics.md, "Seeds added until a metric is decided". In each ablation some
variants are compared with a baseline whose mean is 100; seeds are added one by one from 3 to 10.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from attrs import frozen
from numpy.random import Generator
from numpy.typing import NDArray

from prologue_bench.stats.differences import summarise
from prologue_bench.stats.intervals import LEVEL
from prologue_bench.stats.looks import Looks, spent
from prologue_bench.stats.measured import Measured
from prologue_bench.stats.student import critical, p_value

FIRST, MOST, MARGIN = 3, 10, 0.05
MEAN = 100.0
VARIANTS = 3
LOOKS = Looks(FIRST, MOST, MARGIN)
Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


def collapsing(random: Generator, shape: tuple[int, ...]) -> Values:
    """Normal, but one run in ten is six deviations worse; mean 0."""
    return random.standard_normal(shape) + 6.0 * (random.random(shape) < 0.1) - 0.6


NOISES = {
    "normal": lambda random, shape: random.standard_normal(shape),
    "heavy tails (Student's t, 3 degrees)": lambda random, shape: random.standard_t(3, shape),
    "skewed (exponential)": lambda random, shape: random.exponential(size=shape) - 1,
    "one run in ten collapses": collapsing,
}
"""Of mean 0 each; the deviation is set to 1 by `noise`."""


def noise(kind: str, random: Generator, shape: tuple[int, ...]) -> Values:
    """Noise of mean 0 and deviation 1."""
    deviation = {"heavy": math.sqrt(3), "one": math.sqrt(1 + 36 * 0.09)}.get(kind.split()[0], 1.0)
    values: Values = NOISES[kind](random, shape) / deviation
    return values


@frozen
class Study:
    """Ablations of one kind: in percent of the baseline but for the correlation.

    `spread` is the deviation over seeds of one variant, `shared` the correlation of two variants'
    runs of one seed, and `effect` how far the variants' means are from the baseline's. Of a
    `multiplied` effect, runs are their baseline's times it, and their own noise. With a `steady`
    baseline, noise is the variants' alone, and differences are as skewed as it.
    """

    effect: float = 0.0
    spread: float = 5.0
    shared: float = 0.5
    kind: str = "normal"
    variants: int = VARIANTS
    multiplied: bool = False
    steady: bool = False

    def values(self, random: Generator) -> Values:
        """Numbers of the baseline and the variants, [1 + variants, MOST]."""
        common = math.sqrt(self.shared) * noise(self.kind, random, (MOST,))
        own = noise(self.kind, random, (1 + self.variants, MOST))
        own[0] *= not self.steady
        values = MEAN + self.spread * (common + math.sqrt(1 - self.shared) * own)
        scale = values[0] / MEAN if self.multiplied else 1.0
        values[1:] += self.effect * scale
        return values


@frozen
class Found:
    """What became of ablations: shares of variants, of ablations, and seeds on average."""

    different: float
    within: float
    """The margin, whether zero is left out or not."""
    any_different: float
    any_within: float
    seeds: float


def decide(values: Values, looks: Looks) -> tuple[list[tuple[str, bool]], int]:
    """What the last look at one ablation [1 + V, MOST] says, and the seeds that it took.

    The verdict on each variant, and whether its interval lies within the margin, by the code that
    reports and claims have them from.
    """
    rules = {"m": {str(variant): looks for variant in range(len(values))}}
    for seeds in range(looks.first, looks.most + 1):
        cells = summarise(rows(values[:, :seeds]), "0", rules)
        if not any(row["m"].waits_for_seeds for row in cells.values()):
            break
    found = [(row["m"].verdict, row["m"].difference) for row in cells.values()]
    return [(verdict, each.is_equivalent) for verdict, each in found if each is not None], seeds


def decide_all(values: Values, looks: Looks) -> tuple[Flags, Flags, Values]:
    """As `decide`, for many ablations [A, 1 + V, MOST] at once.

    Which variants are called different, and which intervals lie within the margin [A, V], and the
    seeds [A]. The tests hold it to `decide`.
    """
    count, variants = len(values), values.shape[1] - 1
    different, within = np.zeros((2, count, variants), bool)
    seeds = np.zeros(count)
    going = np.ones(count, bool)
    for pairs in range(looks.first, looks.most + 1):
        base, others = values[going, :1, :pairs], values[going, 1:, :pairs]
        change = others - base
        mean, deviation = change.mean(-1), change.std(-1, ddof=1)
        level = looks.level((1 - LEVEL) / variants, pairs)
        assert level is not None, "the first look is at `first` pairs"
        half = critical(level, pairs - 1) * deviation / math.sqrt(pairs)
        share = looks.margin * base
        wider = np.maximum(*((change + sign * share).std(-1, ddof=1) for sign in (1, -1)))
        limit = abs(share.mean(-1)) - half * np.maximum(0, wider / deviation - 1)
        different[going] = abs(mean) > half
        within[going] = abs(mean) + half <= np.maximum(0, limit)
        seeds[going] = pairs
        going &= ~(different | within).all(axis=1)
    return different, within, seeds


def rows(values: Values) -> list[Measured]:
    """Numbers of variants [V, seeds] as results hold them."""
    return [
        Measured(
            variant=str(variant),
            seed=seed,
            sampling_seed=0,
            metric="m",
            title="m",
            value=float(value),
            unit="",
            direction="lower",
            count=1,
            half_width=None,
            protocol="p",
            detail=False,
            artifact="",
        )
        for variant, of_variant in enumerate(values)
        for seed, value in enumerate(of_variant)
    ]


def simulate(study: Study, ablations: int, looks: Looks = LOOKS, seed: int = 0) -> Found:
    """What the rule comes to in so many ablations."""
    random = np.random.default_rng(seed)
    values = np.array([study.values(random) for _ in range(ablations)])
    different, within, seeds = decide_all(values, looks)
    return Found(
        different=float(different.mean()),
        within=float(within.mean()),
        any_different=float(different.any(axis=1).mean()),
        any_within=float(within.any(axis=1).mean()),
        seeds=float(seeds.mean()),
    )


@frozen
class UnionLooks(Looks):
    """The same error spent, but looks corrected one by one (Bonferroni)."""

    def level(self, error: float, pairs: int) -> float | None:
        before = spent(pairs - 1) if pairs > self.first else 0.0
        return error * (spent(pairs) - before)


@frozen
class MartingaleLooks(Looks):
    """A mixture martingale of the t statistic, effects normal with a deviation of 10 (Lai 1976)."""

    def level(self, error: float, pairs: int) -> float | None:
        return _of_martingale(error, pairs)


@cache
def _of_martingale(error: float, pairs: int, variance: float = 10.0) -> float:
    freedom, scale = pairs - 1, 1 + pairs * variance
    low, high = 0.0, 1e8
    for _ in range(200):
        t = (low + high) / 2
        evidence = (freedom + 1) / 2 * (
            math.log1p(t * t / freedom) - math.log1p(t * t / freedom / scale)
        ) - math.log(scale) / 2
        low, high = (low, t) if evidence > -math.log(error) else (t, high)
    return max(p_value(high, freedom), 1e-15)


@frozen
class FixedLooks(Looks):
    """One look, which may spend the whole error."""

    def level(self, error: float, pairs: int) -> float | None:
        return error


RULES: Mapping[str, type[Looks]] = {
    "exact": Looks,
    "union of looks": UnionLooks,
    "mixture martingale": MartingaleLooks,
}


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n", flush=True)


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def wrong_verdicts(ablations: int) -> None:
    """How often any variant is called what it is not."""
    body = []
    for kind in NOISES:
        for study in (*nulls(kind), Study(0.0, 20.0, 0.0, kind, variants=1, steady=True)):
            found = simulate(study, ablations)
            text = percent(found.any_different), f"{found.seeds:.1f}"
            of = "variants" if study.steady else "all"
            body.append([*_named(study), of, *text])
    table([*HEAD, "noise of", "any called different", "seeds"], body)
    body = []
    for kind in NOISES:
        for study in edges(kind):
            found = simulate(study, ablations)
            how = "times 1.05" if study.multiplied else "plus 5"
            text = percent(found.any_within), f"{found.seeds:.1f}"
            body.append([*_named(study), how, *text])
    table([*HEAD, "effect", "any within the margin", "seeds"], body)


HEAD = ("noise", "variants", "spread", "correlation")


def nulls(kind: str) -> tuple[Study, ...]:
    """Ablations without any difference: of one variant and of several, with noise small and large.

    With little noise many are found to be equivalent.
    """
    return (
        Study(0.0, 20.0, 0.0, kind, variants=1),
        Study(0.0, 20.0, 0.8, kind),
        Study(0.0, 5.0, 0.9, kind),
    )


def edges(kind: str) -> tuple[Study, ...]:
    """Ablations whose variants all differ by exactly the margin."""
    margin = MARGIN * MEAN
    return (
        Study(margin, 3.0, 0.5, kind, variants=1),
        Study(margin, 3.0, 0.9, kind),
        Study(margin, 10.0, 0.99, kind),
        Study(margin, 10.0, 0.999, kind, variants=1),
        Study(margin, 10.0, 0.99, kind, multiplied=True),
    )


def _named(study: Study) -> tuple[str, ...]:
    return study.kind, str(study.variants), f"{study.spread:g}%", f"{study.shared:g}"


def power(ablations: int) -> None:
    """How many variants are decided, by how many seeds, and by which rule."""
    for variants in (1, VARIANTS):
        body = []
        for effect in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
            # Differences have a deviation of 20: no margin matters.
            study = Study(20 * effect, 20.0, 0.5, variants=variants)
            cells = [_shown(study, ablations, rule, equivalent=False) for rule in RULES.values()]
            body.append([f"{effect:g}", *cells, _fixed(study, ablations)])
        head = f"difference, in its deviations ({variants} variant{'s' * (variants > 1)})"
        table([head, *RULES, f"{MOST} seeds, no looks"], body)
    body = []
    for deviation in (1.0, 2.0, 3.0, 4.0, 6.0):
        study = Study(0.0, deviation, 0.5)
        cells = [_shown(study, ablations, rule, equivalent=True) for rule in RULES.values()]
        body.append([f"{deviation:g}%", *cells])
    table([f"deviation of no difference ({VARIANTS} variants)", *RULES], body)


def _shown(study: Study, ablations: int, rule: type[Looks], equivalent: bool) -> str:
    found = simulate(study, ablations, rule(FIRST, MOST, MARGIN))
    share = found.within if equivalent else found.different
    return f"{percent(share)} ({found.seeds:.1f} seeds)"


def _fixed(study: Study, ablations: int) -> str:
    once = simulate(study, ablations, FixedLooks(MOST, MOST, MARGIN))
    return percent(once.different)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ablations", type=int, default=2000)
    ablations = parser.parse_args().ablations
    print(f"{ablations} ablations each; intervals of {100 * LEVEL:g}%.\n")
    wrong_verdicts(ablations)
    power(ablations)


if __name__ == "__main__":
    main()
