"""Whether the variants of results can be ranked: finished runs, the same seeds and protocols."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

from prologue_bench.results.findings import Findings, number, place_of
from prologue_bench.results.protocols import differences, fields
from prologue_bench.results.schema import MeasurementRecord, Results, RunRecord
from prologue_bench.results.sources import source_of, variants_of
from prologue_bench.texts.ranges import seeds_text

Numbers = list[tuple[RunRecord, MeasurementRecord]]
"""Of one metric, over runs."""
SAMPLING_SEED = "sampling.seed"
"""The detail of a protocol that differs between runs of several sampling seeds, and may."""


def unequal(results: Results, findings: Findings) -> None:
    """Tells each way in which the runs of the variants are not alike."""
    for problem in _twice(results):
        findings.tell(problem)
    findings.tell_together(
        (place_of(run), problem) for run in results.runs for problem in _unfinished(run)
    )
    findings.tell_together(
        (variant.name, problem)
        for variant in results.variants
        for problem in _wrong_seeds(results, variant.name)
    )
    for problem in _alike_and_unlike(results, findings):
        findings.tell(problem)


def _twice(results: Results) -> Iterator[str]:
    yield from _doubles("seeds", results.seeds)
    yield from _doubles("sampling_seeds", results.sampling_seeds)
    for source in results.sources or ():
        yield from _doubles(f"source {source.label}: seeds", source.seeds)


def _alike_and_unlike(results: Results, findings: Findings) -> Iterator[str]:
    for variant in results.variants:
        yield from _copies([run for run in results.runs if run.variant == variant.name])
    for source in results.origins:
        names = {each.name for each in variants_of(results, source)}
        apart = (*results.varied, SAMPLING_SEED)
        runs = [run for run in results.runs if run.variant in names]
        yield from _unlike(runs, apart, findings)


def _doubles(what: str, seeds: Sequence[Hashable]) -> Iterator[str]:
    for seed in dict.fromkeys(each for each in seeds if seeds.count(each) > 1):
        yield f"{what}: found {seed} twice, expected each seed once"


def _unfinished(run: RunRecord) -> Iterator[str]:
    for reason in dict.fromkeys(run.failures.values()):
        # Those behind a stage that failed have its reason.
        stage, *behind = (each for each, why in run.failures.items() if why == reason)
        more = f" and {len(behind)} more" if behind else ""
        yield f"{stage}{more} failed: {reason}"
    if run.unfinished:
        yield "is unfinished; run the ablation again, which goes on from there"
    elif _is_without_numbers(run) and not run.failures:
        yield "nothing was measured"


def _wrong_seeds(results: Results, variant: str) -> Iterator[str]:
    """Runs that are missing, and runs of seeds that the results do not name.

    Which sampling seeds were asked is not known where results name none, since settings may have
    one, and where they were put together, since each part may have had others.
    """
    own = [run for run in results.runs if run.variant == variant]
    there = {(run.seed, run.sampling_seed) for run in own}
    # Results that were written before the end name those seeds alone that have numbers.
    begun = {(run.seed, run.sampling_seed) for run in own if run.unfinished}
    named = results.sampling_seeds if results.sources is None else ()
    drawn = named or {sampling for _, sampling in there} or {0}
    asked = {(seed, each) for seed in source_of(results, variant).seeds for each in drawn}
    for lacking in _by_sampling(asked - there):
        yield f"has no run of {lacking}"
    for unasked in _by_sampling(there - asked - begun):
        yield f"has a run of {unasked}, not asked for"


def _by_sampling(seeds: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Training seeds and sampling seeds as texts, one for each sampling seed."""
    by_sampling: dict[int, list[int]] = {}
    for seed, sampling in sorted(seeds):
        by_sampling.setdefault(sampling, []).append(seed)
    for sampling, training in by_sampling.items():
        yield f"{seeds_text(training)}, sampling seed {sampling}"


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


def _unlike(runs: Sequence[RunRecord], varied: Sequence[str], findings: Findings) -> Iterator[str]:
    """Metrics that were not measured alike in all runs. Details are not ranked, and may differ."""
    by_metric: dict[str, Numbers] = {}
    for run in runs:
        for each in run.measurements:
            if not each.detail:
                by_metric.setdefault(each.name, []).append((run, each))
    for metric, found in by_metric.items():
        directions = Counter(each.direction for _, each in found)
        if directions.most_common(1)[0][0] == "neutral":
            continue
        own = [(run, each) for run, each in found if not findings.refused(number(run, each))]
        yield from dict.fromkeys(_differing(metric, own, varied))
        for variant in dict.fromkeys(run.variant for run, _ in found):
            finished = [run.seed for run in runs if run.variant == variant and not _is_lacking(run)]
            there = {run.seed for run, _ in found if run.variant == variant}
            if missing := sorted(set(finished) - there):
                told = seeds_text(missing)
                yield f"{variant}, {metric}: not measured with {told}, but with others"


def _is_lacking(run: RunRecord) -> bool:
    """Whether a run is known to lack numbers, which was said already."""
    return bool(run.failures) or run.unfinished or _is_without_numbers(run)


def _is_without_numbers(run: RunRecord) -> bool:
    return all(each.value is None for each in run.measurements)


def _differing(metric: str, found: Numbers, varied: Sequence[str]) -> Iterator[str]:
    """Numbers that were not measured as most are, or, of equally many, as the first."""
    ways = [_way(each, varied) for _, each in found]
    usual = max(ways, key=Counter(ways).__getitem__, default=())
    for (run, each), way in zip(found, ways, strict=True):
        if way == usual:
            continue
        first, reference = found[ways.index(usual)]
        same = f"{metric}: {first.variant}" + (
            f" and {run.variant} differ" if run.variant != first.variant else " differs over seeds"
        )
        told = [
            f"{name}: {mine} and {theirs}"
            for name, mine, theirs in zip(COMPARED, usual, way, strict=False)
            if mine != theirs
        ]
        told += differences(reference.protocol, each.protocol, varied)
        yield f"{same} in {'; '.join(told)}; expected one protocol"


COMPARED = ("title", "unit", "direction", "count")


def _way(each: MeasurementRecord, varied: Sequence[str]) -> tuple[object, ...]:
    """How a number was measured, as something to compare."""
    details = fields(each.protocol, varied).items()
    told = frozenset((name, value) for name, value in details if value is not None)
    return each.title, each.unit or "none", each.direction, each.count, told
