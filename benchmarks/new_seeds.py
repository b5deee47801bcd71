"""Whether the published differences hold with other training seeds.

    python benchmarks/new_seeds.py reports/prologue_count NEW

`NEW` has results of the same ablation with seeds of its own. For each metric but times, which are
the machine's, the mean difference from the baseline over the new seeds is held to two intervals:

- the simultaneous 95% interval of the report, which says where the true mean lies;
- the one in which a mean over m new seeds lies, as wide by sqrt(1 + n / m), with n published seeds:
  the report's does not allow for the noise of the new mean itself.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from prologue_bench.errors import UserError
from prologue_bench.results.frame import summary
from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import Results
from prologue_bench.stats.differences import Difference
from prologue_bench.stats.wording import difference_text
from prologue_bench.texts.numbers import signed


@frozen
class Again:
    """A published difference, and the one over new seeds."""

    variant: str
    metric: str
    published: Difference
    new: Difference

    @property
    def share(self) -> float:
        """Of half of the published interval, how far the new mean lies from its middle."""
        assert self.published.half_width is not None
        return abs(self.new.mean - self.published.mean) / self.published.half_width

    @property
    def expected(self) -> float:
        """The share within which 95% of new means lie."""
        return math.sqrt(1 + self.published.count / self.new.count)

    def __str__(self) -> str:
        where = "both" if self.share > self.expected else "the report's"
        return (
            f"{self.variant}, {self.metric}: published {difference_text(self.published)}, "
            f"new {signed(self.new.mean)} over {self.new.count} seeds: beyond {where}"
        )


def again(published: Results, new: Results) -> Iterator[Again]:
    """The differences that both have, and of which the published ones have an interval."""
    every = [each for run in published.runs for each in run.measurements]
    times = {each.name for each in every if each.unit in ("s", "images/s")}
    after = summary(new)
    for variant, row in summary(published).items():
        for metric, cell in row.items():
            other = after.get(variant, {}).get(metric)
            first, second = cell.difference, other.difference if other else None
            if first and second and first.leaves_zero_out is not None and metric not in times:
                yield Again(variant, metric, first, second)


def main() -> None:
    """Print each difference that lies outside, and how many lie within."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("published", type=Path)
    parser.add_argument("new", type=Path)
    folders = parser.parse_args()
    try:
        published, new = load_results(folders.published), load_results(folders.new)
    except UserError as error:
        parser.error(str(error))
    if shared := sorted(set(published.seeds) & set(new.seeds)):
        parser.error(f"found seeds {shared} in both, expected other seeds in {folders.new}")
    found = list(again(published, new))
    for each in found:
        if each.share > 1:
            print(each)
    within = sum(each.share <= 1 for each in found)
    expected = sum(each.share <= each.expected for each in found)
    print(
        f"{len(found)} differences: {within} in the report's intervals, {expected} where means "
        "over the new seeds are expected"
    )


if __name__ == "__main__":
    main()
