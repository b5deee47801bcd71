"""What the summary table shows of results, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from prologue_bench.results.collapse import collapsed
from prologue_bench.results.inside import warnings_of
from prologue_bench.results.schema import Results
from prologue_bench.stats.differences import Cell, Difference
from prologue_bench.stats.measured import Measured
from prologue_bench.stats.wording import difference_text, fewer_seeds
from prologue_bench.texts.ranges import seeds_text

ARROWS = {"lower": "↓", "higher": "↑", "neutral": ""}

SAME_WEIGHTS = "the same weights in every seed"
"""Stands in place of a spread where all seeds have one model and one measurement."""


@frozen
class MetricInfo:
    """How a metric is shown."""

    name: str
    title: str
    unit: str
    direction: str
    detail: bool = False
    plain: str = ""
    """The title in plain words, where it is another."""
    kind: str = ""
    """Under which the page explains it; empty of metrics that it does not know."""

    @property
    def label(self) -> str:
        """What a reader is told it is."""
        return self.plain or self.title

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS[self.direction]


def metric_infos(rows: Sequence[Measured]) -> list[MetricInfo]:
    """The metrics in order of appearance, each as its first number says."""
    firsts: dict[str, Measured] = {}
    for each in rows:
        firsts.setdefault(each.metric, each)
    return [
        MetricInfo(name, each.title, each.unit, each.direction, each.detail)
        for name, each in firsts.items()
    ]


def split_metrics(
    metrics: list[MetricInfo], rows: Sequence[Measured], results: Results
) -> tuple[list[MetricInfo], list[MetricInfo]]:
    """Those with a better direction that are no details, for the summary, and the rest.

    What the baseline lacks is left to the rest too, and without a baseline what some variants lack;
    of several results in one, all variants of one of them are enough. Variants without any number
    do not count.
    """
    measured = {each.variant for each in rows}
    by_source: dict[str | None, set[str]] = {}
    for variant in results.variants:
        if variant.name in measured:
            by_source.setdefault(variant.source, set()).add(variant.name)
    having: dict[str, set[str]] = {info.name: set() for info in metrics}
    for each in rows:
        having[each.metric].add(each.variant)
    shown = {
        name
        for name, variants in having.items()
        if any(of <= variants for of in by_source.values())
        or (results.baseline in variants and len(variants) > 1)
    }
    main = [
        info
        for info in metrics
        if info.direction != "neutral" and info.name in shown and not info.detail
    ]
    return main, [info for info in metrics if info not in main]


Cells = Mapping[str, Mapping[str, Cell]]


def findings(
    cells: Cells, metrics: Sequence[MetricInfo], results: Results, primary: MetricInfo | None
) -> list[str]:
    """What went wrong, and every variant with a verdict by metric, but for the primary one.

    That has a headline of its own.
    """
    others = [info for info in metrics if info != primary]
    return [*warnings(results), *verdicts(cells, others, results)]


def warnings(results: Results) -> list[str]:
    """What metrics and trainings warn of, such as a collapsed codebook, by variant."""
    found: dict[str, dict[str, dict[int, None]]] = {}
    for run in results.runs:
        told = tuple(each.warning for each in run.measurements if each.warning)
        for text in (*told, *warnings_of(run.inside, told)):
            found.setdefault(run.variant, {}).setdefault(text, {})[run.seed] = None
    return [
        f"{variant}: "
        + "; ".join(f"{seeds_text(seeds)}: {text}" for text, seeds in texts.items())
        + "."
        for variant, texts in found.items()
    ]


def named(results: Results) -> dict[str, str]:
    """The variants' names with what marks one: that it is the baseline, or has collapsed."""
    broken = collapsed(results)
    found = {}
    for variant in results.variants:
        name = variant.name
        marks = ["baseline"] * (name == results.baseline) + ["collapsed"] * (name in broken)
        found[name] = f"{name} ({', '.join(marks)})" if marks else name
    return found


def verdicts(cells: Cells, metrics: Sequence[MetricInfo], results: Results) -> list[str]:
    """Every variant that is better, worse or equivalent, by metric, and what is open.

    Nothing without any verdict: the headline says why.
    """
    if not is_judged(cells):
        return []
    baseline = results.baseline
    sentences: list[str] = []
    noise: list[str] = []
    unknown: list[str] = []
    for info in metrics:
        known = {
            name: by_metric[info.name]
            for name, by_metric in cells.items()
            if info.name in by_metric
        }
        title = f"{info.title} ({info.unit})" if info.unit else info.title
        for verdict in ("better", "worse"):
            names = [
                f"{name} ({difference_text(cell.difference)})"
                for name, cell in known.items()
                if cell.verdict == verdict and cell.difference is not None
            ]
            if names:
                sentences.append(f"{title}, {verdict} than {baseline}: {'; '.join(names)}.")
        if equivalent := _equivalent(known):
            sentences.append(f"{title}, equivalent to {baseline}{equivalent}.")
        verdicts = {cell.verdict for cell in known.values() if cell.difference is not None}
        if not verdicts & {"better", "worse", "equivalent"}:
            (noise if "noise" in verdicts else unknown if verdicts & {"unknown"} else []).append(
                info.title
            )
    if noise:
        sentences.append(f"No variant is distinguishable from {baseline}: {'; '.join(noise)}.")
    if unknown:
        sentences.append(f"No verdict, the noise of training is not known: {'; '.join(unknown)}.")
    return sentences


def _equivalent(cells: Mapping[str, Cell]) -> str:
    """The margin, and the variants that are equivalent by it; empty where none is."""
    found = {
        name: cell.difference
        for name, cell in cells.items()
        if cell.verdict == "equivalent" and cell.difference is not None
    }
    shares = {each.margin.share for each in found.values() if each.margin is not None}
    named = "; ".join(f"{name} ({difference_text(each)})" for name, each in found.items())
    return f" within ±{100 * max(shares):g}%: {named}" if shares else ""


def is_judged(cells: Cells) -> bool:
    """Whether there are verdicts: any difference has an interval over training seeds."""
    return any(
        _leaves_zero_out(cell) is not None for row in cells.values() for cell in row.values()
    )


def _leaves_zero_out(cell: Cell) -> bool | None:
    return cell.difference.leaves_zero_out if cell.difference is not None else None


def why_not_judged(cells: Cells, results: Results) -> str:
    """Why no difference has a verdict, where the baseline has numbers or there is none."""
    baseline = results.baseline
    if max((cell.seeds for row in cells.values() for cell in row.values()), default=1) < 2:
        return "One training seed: no verdict."
    if baseline is None:
        return "No baseline: no verdict."
    return (
        f"No variant has two training seeds in common with {baseline} whose differences vary: "
        "no verdict."
    )


def most_seeds(cells: Cells) -> int:
    """The training seeds of the cells with the most."""
    return max((cell.seeds for row in cells.values() for cell in row.values()), default=1)


def reading(cells: Cells) -> str:
    """How to read a cell of the summary: what is behind the mean and the difference."""
    seeds = most_seeds(cells)
    fewer = any(fewer_seeds(cell, seeds) for row in cells.values() for cell in row.values())
    bases = {difference.basis for difference in _differences(cells)}
    between = "below or in brackets the difference from the baseline"
    if is_judged(cells) or seeds > 1:
        return (
            f"Each cell: mean and standard deviation (SD) over {seeds} training seeds"
            f"{', or as many as it says' * fewer}; "
            f"{between}, paired by seed, with its 95% interval (Student's t{_family(cells)}). "
            f"{'A difference is over the seeds that both have. ' * fewer}"
            f"{verdict_text(cells)}"
        )
    if "sampling seeds" in bases:
        return (
            "One training seed, so there is no verdict: means over sampling seeds; "
            f"{between} with its 95% interval over those (Student's t{_family(cells)}), "
            "without the noise of training."
        )
    if "images" in bases:
        return (
            f"One training seed, so there is no verdict; {between}, "
            "where it is known with its 95% interval over images alone "
            f"(bootstrap{_family(cells)}), without the noise of training and sampling."
        )
    return (
        f"One training seed, so there is no verdict; {between}. Run with more seeds for intervals."
    )


def verdict_text(cells: Cells) -> str:
    """What makes a difference better or worse, in words."""
    if not is_judged(cells):
        return "No verdicts: no difference has an interval over training seeds."
    if any(cell.verdict == "baseline collapsed" for row in cells.values() for cell in row.values()):
        return "No verdicts: the baseline has collapsed, so that differences from it tell nothing."
    shares = {each.margin.share for each in _differences(cells) if each.margin is not None}
    margin = " or ".join(f"±{100 * share:g}%" for share in sorted(shares))
    equivalent = f"one within {margin} of the baseline is equivalent; " if shares else ""
    return (
        f"A difference is better or worse where its interval leaves zero out; {equivalent}"
        "else it is open: it may be noise. Intervals hold at once within one metric, "
        "not over several."
    )


def _family(cells: Cells) -> str:
    """How intervals are corrected, in words."""
    sizes = {difference.family for difference in _differences(cells)}
    largest = max(sizes, default=1)
    if largest == 1:
        return ""
    return (
        f", for each metric simultaneous over {'up to ' * (len(sizes) > 1)}{largest} variants by "
        "Bonferroni"
    )


def _differences(cells: Cells) -> list[Difference]:
    return [
        cell.difference
        for row in cells.values()
        for cell in row.values()
        if cell.difference is not None
    ]
