"""Whether the variants of results can be ranked: finished runs, the same seeds and protocols."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from prologue_bench.results.plausibility import place_of
from prologue_bench.results.protocols import differences
from prologue_bench.results.schema import MeasurementRecord, Results, RunRecord
from prologue_bench.results.sources import source_of
from prologue_bench.texts.ranges import seeds_text

Numbers = list[tuple[RunRecord, MeasurementRecord]]
"""Of one metric, over runs."""
SAMPLING_SEED = "sampling.seed"
"""The detail of a protocol that differs between runs of several sampling seeds, and may."""


def unequal(results: Results) -> Iterator[str]:
    """A sentence for each way in which the runs of the variants are not alike."""
    yield from _doubles("seeds", results.seeds)
    yield from _doubles("sampling_seeds", results.sampling_seeds)
    for source in results.sources or ():
        yield from _doubles(f"source {source.label}: seeds", source.seeds)
    for run in results.runs:
        yield from _unfinished(run)
    for variant in results.variants:
        yield from _wrong_seeds(results, variant.name)
        yield from _copies([run for run in results.runs if run.variant == variant.name])
    for label in dict.fromkeys(source.label for source in results.origins):
        names = {each.name for each in results.variants if (each.source or "") == label}
        apart = (*results.varied, SAMPLING_SEED)
        yield from _unlike([run for run in results.runs if run.variant in names], apart)


def _doubles(what: str, seeds: Sequence[Hashable]) -> Iterator[str]:
    for seed in dict.fromkeys(each for each in seeds if seeds.count(each) > 1):
        yield f"{what}: found {seed} twice, expected each seed once"


def _unfinished(run: RunRecord) -> Iterator[str]:
    for stage, reason in run.failures.items():
        yield f"{place_of(run)}: {stage} failed: {reason}"
    if run.unfinished:
        yield f"{place_of(run)}: is unfinished; run the ablation again, which goes on from there"
    elif not run.measurements and not run.failures:
        yield f"{place_of(run)}: nothing was measured"


def _wrong_seeds(results: Results, variant: str) -> Iterator[str]:
    """Runs that are missing, and runs of seeds that the results do not name."""
    drawn = results.sampling_seeds or (0,)
    asked = {(seed, each) for seed in source_of(results, variant).seeds for each in drawn}
    there = {(run.seed, run.sampling_seed) for run in results.runs if run.variant == variant}
    for seed, sampling in sorted(asked - there):
        yield f"{variant}: has no run of seed {seed}, sampling seed {sampling}"
    for seed, sampling in sorted(there - asked):
        yield f"{variant}: has a run of seed {seed}, sampling seed {sampling}, not asked for"


def _copies(runs: Sequence[RunRecord]) -> Iterator[str]:
    """Runs of other artifacts with the same numbers to the last digit.

    Those of one artifact are one measurement, as of a frozen tokenizer.
    """
    firsts: dict[tuple[tuple[str, float | None], ...], RunRecord] = {}
    for run in runs:
        own = [
            each
            for each in run.measurements
            if each.artifact and each.direction != "neutral" and each.value is not None
        ]
        values = tuple((each.name, each.value) for each in own)
        first = firsts.setdefault(values, run)
        others = {each.artifact for each in first.measurements}
        if own and first is not run and not others & {each.artifact for each in own}:
            yield (
                f"{place_of(run)}: has the numbers of seed {first.seed}, "
                f"sampling seed {first.sampling_seed}, to the last digit"
            )


def _unlike(runs: Sequence[RunRecord], varied: Sequence[str]) -> Iterator[str]:
    """Metrics that were not measured alike in all runs. Details are not ranked, and may differ."""
    by_metric: dict[str, Numbers] = {}
    for run in runs:
        for each in run.measurements:
            if not each.detail and each.direction != "neutral":
                by_metric.setdefault(each.name, []).append((run, each))
    for metric, found in by_metric.items():
        yield from dict.fromkeys(_differing(metric, found, varied))
        for variant in dict.fromkeys(run.variant for run, _ in found):
            finished = [run.seed for run in runs if run.variant == variant and not _is_lacking(run)]
            there = {run.seed for run, _ in found if run.variant == variant}
            if missing := sorted(set(finished) - there):
                told = seeds_text(missing)
                yield f"{variant}, {metric}: not measured with {told}, but with others"


def _is_lacking(run: RunRecord) -> bool:
    """Whether a run is known to lack numbers, which was said already."""
    return bool(run.failures) or run.unfinished or not run.measurements


def _differing(metric: str, found: Numbers, varied: Sequence[str]) -> Iterator[str]:
    first, reference = found[0]
    for run, each in found[1:]:
        same = f"{metric}: {first.variant}" + (
            f" and {run.variant} differ" if run.variant != first.variant else " differs over seeds"
        )
        told = [
            f"{name}: {mine} and {theirs}"
            for name, mine, theirs in (
                ("title", reference.title, each.title),
                ("unit", reference.unit or "none", each.unit or "none"),
                ("direction", reference.direction, each.direction),
                ("count", reference.count, each.count),
            )
            if mine != theirs
        ]
        told += differences(reference.protocol, each.protocol, varied)
        if told:
            yield f"{same} in {'; '.join(told)}; expected one protocol"
