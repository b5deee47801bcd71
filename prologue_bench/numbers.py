"""Numbers as they come from libraries, as Python's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

LARGEST_INTEGER = 2**53 - 1
"""JSON's readers hold larger ones as floats, and torch none over 2^63."""


def plain_number(value: Any) -> Any:
    """A float or an int of a number of any library.

    One of numpy and torch may be an array without dimensions. What is no number is left as it is,
    for whoever checks it. An int that no float can hold is infinite.
    """
    found = value
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        found = value.item()
    if isinstance(found, bool) or not isinstance(found, Real):
        return found if isinstance(found, bool) else value
    try:
        return (
            int(found)
            if isinstance(found, Integral) and math.isfinite(float(found))
            else float(found)
        )
    except OverflowError:
        return math.inf


def plain_value(value: Any) -> Any:
    """As `plain_number`, also within lists and mappings.

    What is not finite becomes a text, as JSON has no such number.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each) for each in value]
    number = plain_number(value)
    return str(number) if isinstance(number, float) and not math.isfinite(number) else number
