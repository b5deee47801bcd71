"""Whether results can hold what a metric measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from prologue_bench.contracts.metric import Measurement
from prologue_bench.guard import brief
from prologue_bench.results.checking import Mismatch, check, check_plain
from prologue_bench.results.layouts import too_many_positions
from prologue_bench.results.schema import MeasurementRecord


def written(found: Measurement, lengths: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A measurement as plain values, as results hold it.

    Args:
        found: what a metric gave.
        lengths: tokens of each segment of the variant, where it has some, for numbers at tokens.

    Raises ValueError, with what was found and expected, for what no reader of results would take.
    """
    try:
        values: dict[str, Any] = json.loads(json.dumps(attrs.asdict(found), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{found.name}: cannot be written as JSON: {brief(error)}") from None
    try:
        check_plain(values)
        check(values, MeasurementRecord)
    except Mismatch as wrong:
        raise ValueError(f"{found.name}: {wrong}") from None
    if lengths and (
        problem := too_many_positions(found.positions_of, len(found.positions), lengths)
    ):
        raise ValueError(f"{found.name}: {problem}")
    return values
