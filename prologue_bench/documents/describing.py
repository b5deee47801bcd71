"""A value of somebody else's as a message shows it."""

from __future__ import annotations

import math
import reprlib
from typing import Any

from prologue_bench.errors import shortened


class _Short(reprlib.Repr):
    """Looks at no more of a value than it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = DESCRIBED

    def repr_int(self, value: int, level: int) -> str:
        """Python writes none of thousands of digits."""
        digits = int(value.bit_length() * math.log10(2))
        return repr(value) if digits < DESCRIBED else f"a whole number of about {digits} digits"


DESCRIBED = 60
"""Characters of a value that a message shows."""
_SHORT = _Short()


def describe(value: Any) -> str:
    """A value as a message shows it: short, with its kind."""
    if value is None:
        return "nothing"
    return f"{shortened(_SHORT.repr(value), DESCRIBED)} ({type(value).__name__})"
