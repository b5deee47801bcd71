"""Results as strict JSON: null where a number is not finite, and the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

NULLS = "nulls"
"""Under which results say, by place, what stood where null stands now."""


def to_json(results: Mapping[str, Any]) -> str:
    """A JSON document that every reader takes: no NaN, no Infinity, no number of a library's type.

    A measurement whose value is not finite has null and a `reason` beside it; other places are
    listed under NULLS.
    """
    nulls: dict[str, str] = dict(results.get(NULLS) or {})
    found = {key: _strict(value, key, nulls) for key, value in results.items() if key != NULLS}
    for run in found["runs"]:
        for measurement in run["measurements"]:
            if measurement["value"] is None:
                measurement.setdefault("reason", "the value is not a finite number")
            if None in (measurement.get("positions") or ()):
                measurement["positions"] = []
        if run.get("search"):
            run["search"]["points"] = [
                each for each in run["search"]["points"] if each["value"] is not None
            ]
    if nulls:
        found[NULLS] = nulls
    return json.dumps(found, separators=(",", ":"), allow_nan=False)


def _strict(value: Any, place: str, nulls: dict[str, str]) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _strict(each, f"{place}.{key}", nulls) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_strict(each, f"{place}[{index}]", nulls) for index, each in enumerate(value)]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            nulls[place] = f"found {number}, which JSON does not have"
            return None
        return number
    return str(value)
