"""How much the trainings of each variant differ from seed to seed, and what its prologues hold.

    python benchmarks/steadiness.py reports/visual_dropout reports/steady

One row per report and variant: the mean L1 of the last tenth of the trainings' steps, the mean and
the coefficient of variation (standard deviation over mean) of rFD with its 95% interval, the
largest squared error where it was measured, the fewest and the most joint bits of the prologue over
the test images, and in how many trainings L1 jumps.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from scipy import stats

from prologue_bench.errors import UserError
from prologue_bench.results.inside import JUMPS, last
from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import Results, RunRecord
from prologue_bench.texts.markdown import markdown_line

BITS = "bits_joint_prologue"
NONE = "–"


@frozen
class Steadiness:
    """What the trainings of one variant have in common, and in what they differ."""

    variant: str
    l1: tuple[float, ...]
    """Of training images. One per seed, as what follows."""
    rfd: tuple[float, ...]
    errors: tuple[float, ...]
    bits: tuple[float, ...]
    jumps: tuple[int, ...]

    @property
    def variation(self) -> float:
        """The coefficient of variation of rFD, a share; NaN of fewer than two seeds."""
        if len(self.rfd) < 2:
            return float("nan")
        return statistics.stdev(self.rfd) / statistics.fmean(self.rfd)

    def variation_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Where the variation of all seeds lies; NaNs of fewer than two seeds.

        The sum of squares over the variance of normal values follows a chi-squared distribution.
        The noise of the mean is left out: it adds little to a variation of a few percent.
        """
        degrees = len(self.rfd) - 1
        if degrees < 1:
            return float("nan"), float("nan")
        tails = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], degrees)
        low, high = (self.variation * math.sqrt(degrees / float(each)) for each in tails)
        return low, high


def steadiness(results: Results) -> Iterator[Steadiness]:
    """One for each variant that has an rFD."""
    for variant in results.variants:
        runs = [run for run in results.runs if run.variant == variant.name]
        if rfd := _values(runs, "rfid"):
            yield Steadiness(
                variant=variant.name,
                l1=tuple(found for run in runs for found in _l1(run)),
                rfd=rfd,
                errors=_values(runs, "mse"),
                bits=_values(runs, BITS),
                jumps=tuple(int(last(run.inside, JUMPS) or 0) for run in runs if run.inside),
            )


def _l1(run: RunRecord) -> Iterator[float]:
    """Of the last tenth of the steps, where the curve is there."""
    points = run.curves.get("train-tokenizer", {}).get("loss_l1", ())
    known = [each for each in points[-max(1, len(points) // 10) :] if each is not None]
    if known:
        yield statistics.fmean(known)


def _values(runs: list[RunRecord], name: str) -> tuple[float, ...]:
    found = [each.value for run in runs for each in run.measurements if each.name == name]
    return tuple(value for value in found if value is not None)


def row(report: str, one: Steadiness) -> list[str]:
    """Its cells."""
    low, high = one.variation_interval()
    spread = (
        f"{100 * one.variation:.1f}% ({100 * low:.1f} to {100 * high:.1f})"
        if len(one.rfd) > 1
        else NONE
    )
    return [
        markdown_line(report),
        markdown_line(one.variant),
        str(len(one.rfd)),
        f"{statistics.fmean(one.l1):.4f}" if one.l1 else NONE,
        f"{statistics.fmean(one.rfd):.0f}",
        spread,
        f"{max(one.errors):.4f}" if one.errors else NONE,
        " to ".join(dict.fromkeys(f"{end(one.bits):.1f}" for end in (min, max) if one.bits))
        or NONE,
        f"{sum(map(bool, one.jumps))} of {len(one.jumps)}" if one.jumps else NONE,
    ]


HEAD = [
    *("report", "variant", "seeds", "L1 in training", "rFD", "its variation"),
    *("largest squared error", "joint bits", "trainings that jump"),
]


def table(reports: dict[str, Results]) -> str:
    """The Markdown table of reports by name."""
    rows = [row(name, one) for name, results in reports.items() for one in steadiness(results)]
    rule = ["---", "---", *["---:"] * (len(HEAD) - 2)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [HEAD, rule, *rows])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("reports", type=Path, nargs="+")
    folders: list[Path] = parser.parse_args().reports
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):  # then the paths tell them apart
        names = list(map(str, folders))
    try:
        print(table(dict(zip(names, map(load_results, folders), strict=True))))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
