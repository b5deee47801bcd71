"""First tokens that variants are compared on."""

from __future__ import annotations

from prologue_bench.contracts import PlannedInputs
from prologue_bench.errors import DoesNotApply


def check_prefixes(planned: PlannedInputs, longest: int) -> None:
    """Raises DoesNotApply where no number of first tokens, up to the longest, compares variants."""
    if not planned.prefixes:
        raise DoesNotApply(
            "no variant's tokens begin with a segment of their own, such as a prologue"
        )
    if min(planned.prefixes) > longest:
        raise DoesNotApply(
            f"found {planned.layout.length} tokens of an image, "
            f"expected more than the {min(planned.prefixes)} first ones that variants are compared "
            "on"
        )
