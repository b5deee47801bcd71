"""Numbers that cannot be right, whatever was measured.

Bounds are those of `results.ranges` and, of settings, those that settings are checked by when an
ablation is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from prologue_bench.config.sections import merge, nested
from prologue_bench.config.settings import GeneratorTraining, Sampling, TokenizerTraining
from prologue_bench.config.structure import structure
from prologue_bench.errors import UserError
from prologue_bench.results.ranges import Range, possible_range
from prologue_bench.results.schema import (
    MeasurementRecord,
    Results,
    RunRecord,
    Scalar,
    SegmentRecord,
    VariantRecord,
)
from prologue_bench.texts.numbers import number

COUNTED = (
    *("samples", "resize", "neighbours", "subsets", "subset_size", "splits"),
    *("groups_per_class", "group_size"),
)
"""Details of protocols that are counts of something."""


def place_of(run: RunRecord, metric: str = "") -> str:
    """A run, and a number of it, as messages name them."""
    sampling = f", sampling seed {run.sampling_seed}" if run.sampling_seed else ""
    return f"{run.variant}, seed {run.seed}{sampling}{f', {metric}' if metric else ''}"


def implausible(results: Results) -> Iterator[str]:
    """A sentence for each number and setting that cannot be right."""
    yield from _wrong_margins(results)
    for variant in results.variants:
        yield from _wrong_settings(variant)
    layouts = {variant.name: variant.layout for variant in results.variants}
    for run in results.runs:
        for each in run.measurements:
            for problem in _problems(each, layouts[run.variant]):
                yield f"{place_of(run, each.name)}: {problem}"


def _wrong_margins(results: Results) -> Iterator[str]:
    margins = {"equivalence_margin": results.equivalence_margin}
    margins |= {
        f"added_seeds[{index}].margin": added.margin
        for index, added in enumerate(results.added_seeds)
    }
    for name, margin in margins.items():
        if margin is not None and not 0 < margin < 1:
            yield (
                f"{name}: found {number(margin)}, expected more than 0 and less than 1: "
                "it is a share of the baseline"
            )


def _wrong_settings(variant: VariantRecord) -> Iterator[str]:
    found = variant.settings
    for name, cls, values in (
        ("tokenizer_training", TokenizerTraining, found.tokenizer_training),
        ("generator_training", GeneratorTraining, found.generator_training),
        ("sampling", Sampling, found.sampling),
    ):
        if problem := _impossible(cls, values, name):
            yield f"{variant.name}: {problem}"


def _impossible(cls: type[Any], values: Mapping[str, Any], where: str) -> str:
    """Why settings can be none of a class; empty where they can. Those of others are left alone."""
    known = {field.name for field in attrs.fields(cls)}
    try:
        structure(cls, {name: values[name] for name in values if name in known}, where)
    except UserError as error:
        return str(error)
    return ""


def _wrong_details(details: Mapping[str, Scalar]) -> Iterator[str]:
    """What of a protocol's details cannot be."""
    for name in COUNTED:
        if isinstance(value := details.get(name), int) and value < 1:
            yield f"its protocol: {name}: found {value}, expected at least 1"
    sampling: dict[str, Any] = {}
    told: list[str] = []
    for name, value in details.items():
        section, _, path = name.partition(".")
        # A search is told as texts, and the variant's settings have it.
        if section != "sampling" or "search" in path.split(".")[:-1]:
            continue
        if any(path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in told):
            yield f"its protocol: {name}: found a value, and values below or above its name"
            return
        told.append(path)
        sampling = merge(sampling, nested(path, value))
    if problem := _impossible(Sampling, sampling, "sampling"):
        yield f"its protocol: {problem}"


def _problems(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> Iterator[str]:
    protocol = each.protocol
    if not protocol.name or not protocol.details:
        yield "found no protocol, expected its name and details: how was it measured?"
    if protocol.counterpart and protocol.published == bool(protocol.note):
        yield (
            f"its protocol must say either that it is published {protocol.counterpart}, "
            "or in a note how it differs"
        )
    yield from _wrong_details(protocol.details)
    if each.value is None:
        if not each.reason:
            yield "found null without a reason, expected a number"
        return
    if each.count < 1:
        yield "counted 0, expected 1 or more: of how many is this number?"
    drawn = protocol.details.get("samples")
    if isinstance(drawn, int) and not isinstance(drawn, bool) and each.count > drawn:
        yield f"measured on {each.count}, more than the {drawn} samples of its protocol"
    unit = f" {each.unit}" if each.unit else ""
    possible = possible_range(each, layout)
    if possible is not None:
        if problem := possible.problem(each.value):
            yield f"found {number(each.value)}{unit}, expected {problem}"
        for token, value in enumerate(each.positions):
            if problem := possible.problem(value):
                yield f"found {number(value)}{unit} at token {token}, expected {problem}"
    if each.half_width is not None:
        yield from _wrong_width(each, each.half_width, possible)


def _wrong_width(each: MeasurementRecord, width: float, possible: Range | None) -> Iterator[str]:
    if width > 0 and each.count == 1:
        yield "found an interval over images, which one alone does not have"
    if possible is not None and width > possible.high - possible.low:
        yield (
            f"found ± {number(width)}, wider than all that is possible, "
            f"{number(possible.low)} to {number(possible.high)}"
        )
