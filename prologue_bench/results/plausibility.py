"""Numbers that cannot be right, whatever was measured.

Bounds follow from units: a percentage is a share of a whole, and the tokens of an image can hold
no more bits than their layout has. No metric is known here by its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attrs import frozen

from prologue_bench.results.schema import MeasurementRecord, Results, RunRecord, SegmentRecord
from prologue_bench.texts.numbers import number

SLACK = 1e-9
"""Share of a bound by which rounding may pass it."""


@frozen
class Range:
    """Between which two numbers a value can be, and for which reason."""

    low: float
    high: float
    reason: str

    def problem(self, value: float) -> str:
        """What was expected; empty where the value is possible."""
        if value < self.low - SLACK * abs(self.low):
            return f"at least {number(self.low)}: {self.reason}"
        if value > self.high + SLACK * abs(self.high):
            return f"at most {number(self.high)}: {self.reason}"
        return ""


def place_of(run: RunRecord, metric: str = "") -> str:
    """A run, and a number of it, as messages name them."""
    sampling = f", sampling seed {run.sampling_seed}" if run.sampling_seed else ""
    return f"{run.variant}, seed {run.seed}{sampling}{f', {metric}' if metric else ''}"


def implausible(results: Results) -> Iterator[str]:
    """A sentence for each number that cannot be right."""
    layouts = {variant.name: variant.layout for variant in results.variants}
    for run in results.runs:
        for each in run.measurements:
            for problem in _problems(each, layouts[run.variant]):
                yield f"{place_of(run, each.name)}: {problem}"


def _problems(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> Iterator[str]:
    protocol = each.protocol
    if not protocol.name or not protocol.details:
        yield "found no protocol, expected its name and details: how was it measured?"
    if protocol.counterpart and protocol.published == bool(protocol.note):
        yield (
            f"its protocol must say either that it is published {protocol.counterpart}, "
            "or in a note how it differs"
        )
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
    possible = _range(each, layout)
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


def _range(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> Range | None:
    """What a number can be by its unit; None where that tells nothing."""
    if each.unit == "%":
        return Range(0, 100, "it is a percentage")
    if each.unit == "R²":
        return Range(-math.inf, 1, "it is a share of a variance")
    if each.unit in ("s", "TFLOP", "images", "images/s"):
        return Range(0, math.inf, f"it is an amount of {each.unit}")
    segments = [one for one in layout if one.name == each.positions_of] or layout
    if each.unit == "bits/image":
        most = sum(one.length * math.log2(one.vocabulary) for one in segments)
        told = "the tokens can hold no more, and a guess takes no more"
        return Range(0, most if segments else math.inf, told)
    if each.unit == "codes":
        codes = max((one.vocabulary for one in segments), default=math.inf)
        return Range(0, codes, "the codebook has no more codes")
    return None
