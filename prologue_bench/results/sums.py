"""Numbers that others of their run come to, or bound, where all of these are there.

Numbers that were measured apart from one another, perhaps on two machines, are not held against
each other: `generation_gap_difference` misses the difference of its two distances by up to half a
percent. Seconds are not added up either, since a training may be run again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from attrs import frozen

from prologue_bench.contracts.stage_kinds import TRAIN_TOKENIZER, TRAINED
from prologue_bench.results import findings as parts
from prologue_bench.results.findings import Doubt, Findings, place_of
from prologue_bench.results.known import foreign_metrics, known_numbers
from prologue_bench.results.own_settings import foreign_components, own_component
from prologue_bench.results.ranges import AT, PERPLEXITY
from prologue_bench.results.schema import (
    MeasurementRecord,
    Results,
    RunRecord,
    SegmentRecord,
    SourceRecord,
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
LAYERS = re.compile(r"(?P<whole>attention_\d+)_layer_\d+")
"""Names of shares of one layer, of which the share without its layer is the mean."""
USE = "codebook_use_"
"""Begins the names of the share of a segment's codes that occur, as `PERPLEXITY` those of their
perplexity; `AT` follows where each token is taken alone."""
PER_DIMENSION = "_per_dimension"
"""Ends the names of numbers that others are, divided by the numbers of an image."""
TRAINING_FLOPS = "training_flops"
TERA = 1e12
Doubted = tuple[str, tuple[MeasurementRecord, ...]]
"""What is wrong, and the numbers that do not agree; the first is the one to name."""


def wrong_sums(results: Results, findings: Findings) -> None:
    """Tells numbers that their parts, or the values at their tokens, do not come to."""
    foreign = foreign_metrics(results)
    variants = {each.name: each for each in results.variants}
    # What a number says itself comes first: a wrong part is told, and not the sum too.
    checks = (
        *(_of_positions, _per_dimension, _of_parts, _of_images),
        *(_of_layers, _perplexities, _of_trainings),
    )
    for check in checks:
        doubts: list[Doubt] = []
        for run in results.runs:
            own = {
                each.name: each
                for each in known_numbers(run, foreign)
                if each.value is not None and not findings.refused(parts.number(run, each))
            }
            source = source_of(results, run.variant)
            has_layout = not findings.refused(parts.layout(run.variant))
            has_stages = not findings.refused(parts.stages(run))
            of = _Numbers(run, own, variants[run.variant], source, has_layout, has_stages)
            for problem, involved in check(of):
                place = place_of(run, involved[0].name)
                doubts.append((place, problem, *(parts.number(run, each) for each in involved)))
        findings.tell_together(doubts)


@frozen
class _Numbers:
    """The known numbers of a run that were not refused, by name, and what they are of."""

    run: RunRecord
    own: Mapping[str, MeasurementRecord]
    variant: VariantRecord
    source: SourceRecord
    has_layout: bool
    has_stages: bool
    """Whether the layout of the variant, and the stages of the run, were not refused."""

    @property
    def layout(self) -> Sequence[SegmentRecord]:
        return self.variant.layout if self.has_layout else ()


def _of_positions(of: _Numbers) -> Iterator[Doubted]:
    """Numbers that are neither the sum nor the mean of those of all tokens of their segment."""
    lengths = {segment.name: segment.length for segment in of.layout}
    for each in of.own.values():
        of_segment = each.positions_of or each.name.removeprefix(f"{USE}{AT}")
        if len(each.positions) != lengths.get(of_segment):
            continue
        total = math.fsum(each.positions)
        mean = total / len(each.positions)
        if not (_close(each, total) or _close(each, mean)):
            yield (
                f"found {_text(each)}, expected the sum or the mean of its positions, "
                f"{numbers.number(total)} or {numbers.number(mean)}",
                (each,),
            )


def _per_dimension(of: _Numbers) -> Iterator[Doubted]:
    """Numbers of a dimension that are not those of an image over its dimensions.

    Of a sum that its parts do not come to either, `_of_parts` tells.
    """
    dimensions = math.prod(of.source.data.shape)
    sums = {whole.name for _, (whole, *_) in _of_parts(of)}
    for name, each in of.own.items():
        if not name.endswith(PER_DIMENSION):
            continue
        whole = of.own.get(name.removesuffix(PER_DIMENSION))
        if whole is None or whole.name in sums:
            continue
        if not _close(each, expected := _value(whole) / dimensions):
            yield (
                f"found {_text(each)}, expected {numbers.number(expected)}: "
                f"{whole.name} over the {dimensions:,} dimensions of the data",
                (each, whole),
            )


def _of_parts(of: _Numbers) -> Iterator[Doubted]:
    segments = [segment.name for segment in of.layout]
    sums = {
        "rate": tuple(f"rate_{segment}" for segment in segments),
        **{
            whole.format(segment=segment): tuple(part.format(segment=segment) for part in parts)
            for whole, parts in SUMS.items()
            for segment in segments
        },
    }
    for name, added in sums.items():
        if name not in of.own or not added or not set(added) <= set(of.own):
            continue
        whole, each = of.own[name], [of.own[part] for part in added]
        total = math.fsum(map(_value, each))
        if not _close(whole, total):
            yield (
                f"found {_text(whole)}, expected {numbers.number(total)}, "
                f"the sum of {' and '.join(added)}",
                (whole, *each),
            )


def _of_images(of: _Numbers) -> Iterator[Doubted]:
    """Rates of one set of images that differ: alone, and within the ELBO."""
    within, alone = of.own.get("elbo_rate"), of.own.get(f"rate{PER_DIMENSION}")
    if within is None or alone is None or within.count != alone.count:
        return
    if not _close(within, _value(alone)):
        yield f"found {_text(within)}, expected {_text(alone)} as {alone.name}", (within, alone)


def _of_layers(of: _Numbers) -> Iterator[Doubted]:
    """Shares of attention that are not the mean of those of their layers."""
    layers: dict[str, list[MeasurementRecord | None]] = {}
    for each in of.run.measurements:
        if found := LAYERS.fullmatch(each.name):
            layers.setdefault(found["whole"], []).append(of.own.get(each.name))
    for name, found_layers in layers.items():
        known = [each for each in found_layers if each is not None]
        if (whole := of.own.get(name)) is None or len(known) < len(found_layers):
            continue
        mean = math.fsum(map(_value, known)) / len(known)
        if not _close(whole, mean):
            yield (
                f"found {_text(whole)}, expected {numbers.number(mean)}, the mean of its layers",
                (whole, *known),
            )


def _perplexities(of: _Numbers) -> Iterator[Doubted]:
    """Perplexities of more codes than occur, which none can be."""
    for segment in of.layout:
        for start in ("", AT):
            use = of.own.get(f"{USE}{start}{segment.name}")
            each = of.own.get(f"{PERPLEXITY}{start}{segment.name}")
            if use is None or each is None:
                continue
            pairs = [(_value(each), _value(use), "")]
            if len(each.positions) == len(use.positions):
                pairs += [
                    (one, share, f"token {place + 1}: ")
                    for place, (one, share) in enumerate(
                        zip(each.positions, use.positions, strict=True)
                    )
                ]
            for perplexity, share, where in pairs:
                codes = share / 100 * segment.vocabulary
                if perplexity > codes * (1 + CLOSE):
                    yield (
                        f"{where}found {numbers.number(perplexity)}, expected at most "
                        f"{numbers.number(codes)}, the codes that occur by {use.name}",
                        (each, use),
                    )
                    break


def _of_trainings(of: _Numbers) -> Iterator[Doubted]:
    """Operations that are not those of the trainings, where all of them are known to be there.

    A training may have been run again since, with the operations counted anew: those count that
    were finished before the number was measured.
    """
    if (whole := of.own.get(TRAINING_FLOPS)) is None or not of.has_stages:
        return
    stages, alone = of.run.stages, not _may_build_on_another(of.variant, of.source)
    trainings = [stage for stage in stages if stage.stage in TRAINED]
    tokenizers = [stage for stage in trainings if stage.stage == TRAIN_TOKENIZER]
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


def _may_build_on_another(variant: VariantRecord, source: SourceRecord) -> bool:
    """Whether the tokenizer may have a foundation, whose training counts too."""
    foreign = foreign_components(source)
    component = own_component("tokenizer", variant.settings.tokenizer.use, foreign)
    return component is None or component.builds_on


def _value(each: MeasurementRecord) -> float:
    assert each.value is not None, "numbers without are left out"
    return each.value


def _text(each: MeasurementRecord) -> str:
    return numbers.number(_value(each))


def _close(each: MeasurementRecord, expected: float) -> bool:
    return math.isclose(_value(each), expected, rel_tol=CLOSE, abs_tol=1e-9)
