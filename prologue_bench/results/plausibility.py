"""Numbers that cannot be right. Bounds are those of `results.ranges`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prologue_bench.contracts.components import OWN
from prologue_bench.results.possible_settings import impossible_details, impossible_settings
from prologue_bench.results.ranges import Range, is_known, possible_range
from prologue_bench.results.schema import (
    MeasurementRecord,
    ProtocolRecord,
    Results,
    RunRecord,
    SegmentRecord,
)
from prologue_bench.texts.numbers import number

COUNTED = (
    *("samples", "resize", "neighbours", "subsets", "subset_size", "splits"),
    *("groups_per_class", "group_size"),
)
"""Details of known protocols that are counts of something."""


def place_of(run: RunRecord, metric: str = "") -> str:
    """A run, and a number of it, as messages name them."""
    sampling = f", sampling seed {run.sampling_seed}" if run.sampling_seed else ""
    return f"{run.variant}, seed {run.seed}{sampling}{f', {metric}' if metric else ''}"


def implausible(results: Results) -> Iterator[str]:
    """A sentence for each number and setting that cannot be right."""
    yield from _wrong_margins(results)
    yield from impossible_settings(results)
    layouts = {variant.name: variant.layout for variant in results.variants}
    foreign = _foreign_metrics(results)
    for run in results.runs:
        for each in run.measurements:
            own = not any(f"{each.name}_".startswith(f"{name}_") for name in foreign)
            for problem in _problems(each, layouts[run.variant], own):
                yield f"{place_of(run, each.name)}: {problem}"


def _foreign_metrics(results: Results) -> set[str]:
    """What numbers of others' metrics are called; their protocols may have the names of ours."""
    return {
        each.name.replace("-", "_")
        for source in results.origins
        for each in source.components
        if each.kind == "metric" and not each.origin.startswith(OWN)
    }


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


def _wrong_details(protocol: ProtocolRecord) -> Iterator[str]:
    """What of a known protocol's details cannot be."""
    for name in COUNTED:
        if isinstance(value := protocol.details.get(name), int) and value < 1:
            yield f"its protocol: {name}: found {value}, expected at least 1"
    if problem := impossible_details(protocol.details):
        yield f"its protocol: {problem}"


def _problems(each: MeasurementRecord, layout: Sequence[SegmentRecord], own: bool) -> Iterator[str]:
    protocol = each.protocol
    if not protocol.name or not protocol.details:
        yield "found no protocol, expected its name and details: how was it measured?"
    if protocol.counterpart and protocol.published == bool(protocol.note):
        yield (
            f"its protocol must say either that it is published {protocol.counterpart}, "
            "or in a note how it differs"
        )
    known = own and is_known(protocol)
    if known:
        yield from _wrong_details(protocol)
    if each.value is None:
        if not each.reason:
            yield "found null without a reason, expected a number"
        return
    if each.count < 1:
        yield "counted 0, expected 1 or more: of how many is this number?"
    drawn = protocol.details.get("samples") if known else None
    if isinstance(drawn, int) and not isinstance(drawn, bool) and each.count > drawn:
        yield f"measured on {each.count}, more than the {drawn} samples of its protocol"
    unit = f" {each.unit}" if each.unit else ""
    possible = possible_range(each, layout) if own else None
    if possible is not None:
        if problem := possible.problem(each.value):
            yield f"found {number(each.value)}{unit}, expected {problem}"
        for token, value in enumerate(each.positions):
            if problem := possible.problem(value):
                yield f"found {number(value)}{unit} at token {token}, expected {problem}"
    if each.half_width is not None:
        yield from _wrong_width(each, each.half_width, possible)


WIDEST = 100
"""Times a number that cannot be below 0, half of its interval may be: a mean's is about 2."""


def _wrong_width(each: MeasurementRecord, width: float, possible: Range | None) -> Iterator[str]:
    if width > 0 and each.count == 1:
        yield "found an interval over images, which one alone does not have"
    if possible is None:
        return
    if width > possible.high - possible.low:
        yield (
            f"found ± {number(width)}, wider than all that is possible, "
            f"{number(possible.low)} to {number(possible.high)}"
        )
    elif possible.low == 0 and each.value and width > WIDEST * max(each.value, possible.slack):
        yield (
            f"found ± {number(width)}, expected at most {WIDEST} times the number, which is "
            "never below 0"
        )
