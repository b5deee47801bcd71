"""Numbers that cannot be right. Bounds are those of `results.ranges`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prologue_bench.results import findings as parts
from prologue_bench.results.findings import Doubt, Findings, place_of
from prologue_bench.results.known import foreign_metrics, known_numbers
from prologue_bench.results.possible_settings import impossible_details
from prologue_bench.results.ranges import Range, better, possible_range
from prologue_bench.results.schema import (
    MeasurementRecord,
    ProtocolRecord,
    Results,
    SegmentRecord,
)
from prologue_bench.texts.numbers import number

COUNTED = (
    *("samples", "resize", "neighbours", "subsets", "subset_size", "splits"),
    *("groups_per_class", "group_size"),
)
"""Details of known protocols that are counts of something."""
WIDEST = 100
"""Times a number that cannot be below 0, half of its interval may be: a mean's is about 2."""


def impossible_margins(results: Results) -> Iterator[str]:
    """A sentence for each margin of equivalence that is no share."""
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


def unmeasured(results: Results, findings: Findings) -> None:
    """Tells numbers that do not say how they were measured, or in a way that cannot be."""
    foreign = foreign_metrics(results)
    for run in results.runs:
        known = {each.name for each in known_numbers(run, foreign)}
        for each in run.measurements:
            for problem in _unmeasured(each, each.name in known):
                findings.tell(f"{place_of(run, each.name)}: {problem}", parts.number(run, each))


def _unmeasured(each: MeasurementRecord, is_known: bool) -> Iterator[str]:
    protocol = each.protocol
    if not protocol.name or not protocol.details:
        yield "found no protocol, expected its name and details: how was it measured?"
    if protocol.counterpart and protocol.published == bool(protocol.note):
        yield (
            f"its protocol must say either that it is published {protocol.counterpart}, "
            "or in a note how it differs"
        )
    if is_known:
        yield from _wrong_details(protocol)
    if each.value is None:
        if not each.reason:
            yield "found null without a reason, expected a number"
    elif each.count < 1:
        yield "counted 0, expected 1 or more: of how many is this number?"
    elif each.half_width and each.count == 1:
        yield "found an interval over images, which one alone does not have"


def _wrong_details(protocol: ProtocolRecord) -> Iterator[str]:
    """What of a known protocol's details cannot be."""
    for name in COUNTED:
        if isinstance(value := protocol.details.get(name), int) and value < 1:
            yield f"its protocol: {name}: found {value}, expected at least 1"
    if problem := impossible_details(protocol.details):
        yield f"its protocol: {problem}"


def implausible(results: Results, findings: Findings) -> None:
    """Tells numbers beyond what they can be."""
    foreign = foreign_metrics(results)
    layouts = {
        each.name: () if findings.refused(parts.layout(each.name)) else each.layout
        for each in results.variants
    }
    turned: list[Doubt] = []
    for run in results.runs:
        for each in known_numbers(run, foreign):
            if each.value is None or findings.refused(parts.number(run, each)):
                continue
            place, part = place_of(run, each.name), parts.number(run, each)
            if each.direction != (expected := better(each, layouts[run.variant]) or each.direction):
                text = f"found the direction {each.direction!r}, expected {expected!r}"
                turned.append((place, text, part))
            for problem in implausible_value(each, each.value, layouts[run.variant]):
                findings.tell(f"{place}: {problem}", part)
                break
    findings.tell_together(turned)


def implausible_value(
    each: MeasurementRecord, value: float, layout: Sequence[SegmentRecord]
) -> Iterator[str]:
    """What is wrong with a number, what else it is judged by first."""
    possible = possible_range(each, layout)
    if possible is None:
        return
    unit = f" {each.unit}" if each.unit else ""
    if problem := possible.problem(value):
        yield f"found {number(value)}{unit}, expected {problem}"
    for token, at_token in enumerate(each.positions):
        if problem := possible.problem(at_token):
            yield f"found {number(at_token)}{unit} at token {token}, expected {problem}"
    if each.half_width is not None:
        yield from _wrong_width(value, each.half_width, possible)


def _wrong_width(value: float, width: float, possible: Range) -> Iterator[str]:
    if width > possible.high - possible.low:
        yield (
            f"found ± {number(width)}, wider than all that is possible, "
            f"{number(possible.low)} to {number(possible.high)}"
        )
    elif possible.low == 0 and value and width > WIDEST * max(value, possible.slack):
        yield (
            f"found ± {number(width)}, expected at most {WIDEST} times the number, which is "
            "never below 0"
        )
