"""What reports say of seeds that were added until a metric was decided."""

from __future__ import annotations

from prologue_bench.results.frame import measured
from prologue_bench.results.schema import AddedSeeds, Results


def added_seeds(results: Results) -> list[str]:
    """A paragraph for each rule by which seeds were added: looks, end, and what is corrected."""
    titles = {each.metric: each.title for each in measured(results)}
    return [
        _paragraph(each, titles.get(each.metric, each.metric), results.baseline)
        for each in results.added_seeds
        if each.looks
    ]


def _paragraph(added: AddedSeeds, title: str, baseline: str | None) -> str:
    last = added.looks[-1]
    looks = ", ".join(str(each.seeds) for each in added.looks)
    of = f"{added.source}: t" if added.source else "T"
    level = "" if last.level is None else f"; alone, each is one of {100 * (1 - last.level):.4g}%"
    return (
        f"{of}raining seeds were added until {title} was decided, {added.most} at most "
        f"(--until-decided {added.metric.partition(',')[0]}): until the interval of each variant's "
        f"difference from {baseline} leaves zero out or lies within ±{100 * added.margin:g}% of "
        f"the baseline. Looks were at {looks} seeds. {_end(added)} "
        f"Intervals and verdicts of {title} are corrected for all looks: they hold at all of them "
        "at once (repeated confidence intervals of sequential t tests, Jennison and Turnbull 1989 "
        f"and 1991){level}. All other intervals are the usual ones, and do not count in that "
        f"{title} decided on the number of seeds."
    )


def _end(added: AddedSeeds) -> str:
    last = added.looks[-1]
    undecided = f"undecided: {', '.join(last.undecided)}"
    if not last.undecided:
        return f"With {last.seeds} seeds no variant is undecided."
    if last.seeds >= added.most:
        return f"The limit is reached; {undecided}."
    return f"With {last.seeds} seeds, of which some are not finished, {undecided}."
