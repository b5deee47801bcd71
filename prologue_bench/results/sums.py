"""Numbers that are the sum of others of their run, where all of these are there.

Numbers that were measured apart from one another, perhaps on two machines, are not held against
each other: `generation_gap_difference` misses the difference of its two distances by up to half a
percent. Seconds are not added up either, since a training may be run again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prologue_bench.results.findings import Findings, number, place_of
from prologue_bench.results.known import foreign_metrics, known_numbers
from prologue_bench.results.own_settings import Foreign, foreign_components, own_component
from prologue_bench.results.schema import (
    MeasurementRecord,
    Results,
    StageRecord,
    VariantRecord,
)
from prologue_bench.results.sources import source_of
from prologue_bench.texts import numbers

CLOSE = 1e-6
"""Share of a sum that its parts may miss: some were added up in float32."""
SUMS: Mapping[str, tuple[str, ...]] = {
    "elbo": ("elbo_distortion", "elbo_rate"),
    "bits_positions_{segment}": ("bits_joint_{segment}", "redundancy_{segment}"),
}
"""Numbers that others add up to. Rates are those of the segments."""
PER_DIMENSION = "_per_dimension"
"""Ends the names of numbers that others are, divided by the numbers of an image."""
TRAINING_FLOPS, TRAINED = "training_flops", ("train-tokenizer", "train-generator")
TERA = 1e12
Doubted = tuple[str, tuple[MeasurementRecord, ...]]
"""What is wrong, and the numbers that do not agree; the first is the one to name."""


def wrong_sums(results: Results, findings: Findings) -> None:
    """Tells numbers that their parts, or the values at their tokens, do not come to."""
    foreign = foreign_metrics(results)
    variants = {each.name: each for each in results.variants}
    for run in results.runs:
        variant, source = variants[run.variant], source_of(results, run.variant)
        own = {
            each.name: each
            for each in known_numbers(run, foreign)
            if each.value is not None and not findings.refused(number(run, each))
        }
        alone = not _may_build_on_another(variant, foreign_components(source))
        # What one number says itself comes first: a wrong part is told, and not the sum too.
        for problem, involved in itertools.chain(
            _of_positions(own, variant),
            _per_dimension(own, math.prod(source.data.shape)),
            _of_parts(own, variant),
            _of_trainings(own, run.stages, alone),
        ):
            doubted = [number(run, each) for each in involved]
            if not any(map(findings.refused, doubted)):
                findings.tell(f"{place_of(run, involved[0].name)}: {problem}", *doubted)


Numbers = Mapping[str, MeasurementRecord]
"""Of a run, by name."""


def _of_positions(own: Numbers, variant: VariantRecord) -> Iterator[Doubted]:
    """Numbers that are neither the sum nor the mean of those of all tokens of their segment."""
    lengths = {segment.name: segment.length for segment in variant.layout}
    for each in own.values():
        if len(each.positions) != lengths.get(each.positions_of):
            continue
        total = math.fsum(each.positions)
        mean = total / len(each.positions)
        if not (_close(each, total) or _close(each, mean)):
            yield (
                f"found {_text(each)}, expected the sum or the mean of its positions, "
                f"{numbers.number(total)} or {numbers.number(mean)}",
                (each,),
            )


def _per_dimension(own: Numbers, dimensions: int) -> Iterator[Doubted]:
    for name, each in own.items():
        whole = own.get(name.removesuffix(PER_DIMENSION)) if PER_DIMENSION in name else None
        if whole is not None and not _close(each, _value(whole) / dimensions):
            yield (
                f"found {_text(each)}, expected {numbers.number(_value(whole) / dimensions)}, "
                f"{whole.name} over the {dimensions:,} dimensions of an image",
                (each, whole),
            )


def _of_parts(own: Numbers, variant: VariantRecord) -> Iterator[Doubted]:
    segments = [segment.name for segment in variant.layout]
    sums = {
        "rate": tuple(f"rate_{segment}" for segment in segments),
        **{
            whole.format(segment=segment): tuple(part.format(segment=segment) for part in parts)
            for whole, parts in SUMS.items()
            for segment in segments
        },
    }
    for name, parts in sums.items():
        if name not in own or not parts or not all(part in own for part in parts):
            continue
        whole, added = own[name], [own[part] for part in parts]
        total = math.fsum(map(_value, added))
        if not _close(whole, total):
            yield (
                f"found {_text(whole)}, expected {numbers.number(total)}, "
                f"the sum of {' and '.join(parts)}",
                (whole, *added),
            )


def _of_trainings(own: Numbers, stages: Sequence[StageRecord], alone: bool) -> Iterator[Doubted]:
    """Operations that are not those of the trainings, where all of them are known to be there.

    A training may have been run again since, with the operations counted anew: those count that
    were finished before the number was measured.
    """
    if (whole := own.get(TRAINING_FLOPS)) is None:
        return
    trainings = [stage for stage in stages if stage.stage in TRAINED]
    tokenizers = [stage for stage in trainings if stage.stage == TRAINED[0]]
    measured = next((stage for stage in stages if stage.key == whole.artifact), None)
    flops = [stage.flops for stage in trainings]
    known = [each for each in flops if each is not None]
    is_whole = len({stage.stage for stage in trainings}) == whole.count and len(known) == len(flops)
    if measured is None or not is_whole or not (alone or len(tokenizers) > 1):
        return
    total = sum(known) / TERA
    if all(_is_before(each, measured) for each in trainings) and not _close(whole, total):
        yield (
            f"found {_text(whole)}, expected {numbers.number(total)}, "
            f"the sum of {' and '.join(dict.fromkeys(each.stage for each in trainings))}",
            (whole,),
        )


def _is_before(one: StageRecord, other: StageRecord) -> bool:
    """Whether a stage is known to have been finished before another."""
    try:
        times = [datetime.fromisoformat(each.finished or "") for each in (one, other)]
        return times[0] <= times[1]
    except (ValueError, TypeError):  # no time, or one without its zone
        return False


def _may_build_on_another(variant: VariantRecord, foreign: Foreign) -> bool:
    """Whether the tokenizer may have a foundation, whose training counts too."""
    component = own_component("tokenizer", variant.settings.tokenizer.use, foreign)
    return component is None or component.builds_on


def _value(each: MeasurementRecord) -> float:
    assert each.value is not None, "numbers without are left out"
    return each.value


def _text(each: MeasurementRecord) -> str:
    return numbers.number(_value(each))


def _close(each: MeasurementRecord, expected: float) -> bool:
    return math.isclose(_value(each), expected, rel_tol=CLOSE, abs_tol=1e-9)
