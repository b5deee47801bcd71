"""Which models have collapsed, by what was measured of them.

A run has collapsed where its images are all alike, where all its tokens together take its generator
less than a bit per image, or where the codebook of each of its segments has collapsed. A variant
has where any of its runs has: such runs are near to their own reconstructions and cheap to code, so
that means over them are no merit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from attrs import frozen

from prologue_bench.results.schema import Numbers, RunNumbers
from prologue_bench.stats.collapse import ALIKE, BEGIN, LEAST_BITS, collapsed_segment
from prologue_bench.texts.ranges import seeds_text

RATE, BITS = "rate", "bits/image"
"""Name and unit of the number of bits that a generator needs for an image's tokens."""


@frozen
class Collapse:
    """In which of a variant's training seeds it has collapsed, and the first one's reason."""

    seeds: tuple[int, ...]
    measured: int
    """Training seeds in all."""
    reason: str

    def __str__(self) -> str:
        """Such as "in 1 of 3 seeds (seed 2: all images have the same features)"."""
        told = f"(seed {self.seeds[0]}: {self.reason})"
        if self.measured == 1:
            return f"in its one seed {told}"
        if len(self.seeds) == self.measured:
            return f"in all {self.measured} seeds {told}"
        return f"in {len(self.seeds)} of {self.measured} seeds {told}"


def collapsed(results: Numbers) -> dict[str, Collapse]:
    """The variants that have collapsed, by name."""
    found: dict[str, dict[int, str]] = {}
    seeds: dict[str, set[int]] = {}
    segments = {each.name: [one.name for one in each.layout] for each in results.variants}
    for run in results.runs:
        if run.measurements:
            seeds.setdefault(run.variant, set()).add(run.seed)
        if reason := next(_reasons(run, segments.get(run.variant, ())), ""):
            found.setdefault(run.variant, {}).setdefault(run.seed, reason)
    return {
        name: Collapse(tuple(sorted(reasons)), len(seeds[name]), reasons[min(reasons)])
        for name, reasons in found.items()
    }


def collapsed_parts(results: Numbers) -> dict[str, str]:
    """Of the variants that have not collapsed, what of them has: "prologue collapsed in seed 1"."""
    found = collapsed_segments(results)
    return {name: "; ".join(map(in_seeds, of, of.values())) for name, of in found.items()}


def collapsed_segments(results: Numbers) -> dict[str, dict[str, set[int]]]:
    """Of the variants that have not collapsed, the segments that have, and in which seeds."""
    whole = collapsed(results)
    found: dict[str, dict[str, set[int]]] = {}
    for run in results.runs:
        for segment in _segments(run):
            if run.variant not in whole:
                of_variant = found.setdefault(run.variant, {})
                of_variant.setdefault(segment, set()).add(run.seed)
    return found


def in_seeds(segment: str, seeds: Collection[int]) -> str:
    """Such as "prologue collapsed in seed 1"."""
    return f"{segment} collapsed in {seeds_text(seeds)}"


def _segments(run: RunNumbers) -> dict[str, str]:
    """The segments of a run whose codebooks have collapsed, with the reasons."""
    told = (each.warning for each in run.measurements)
    return {
        segment: warning.removeprefix(BEGIN)
        for warning in told
        if (segment := collapsed_segment(warning))
    }


def _reasons(run: RunNumbers, segments: Sequence[str]) -> Iterator[str]:
    """Why a run has collapsed; nothing where it has not."""
    found = _segments(run)
    if segments and all(segment in found for segment in segments):
        yield "; ".join(found[segment] for segment in segments)
    for each in run.measurements:
        if each.warning == ALIKE:
            yield ALIKE
        elif each.name == RATE and each.unit == BITS and _is_less(each.value, LEAST_BITS):
            yield f"its tokens take {each.value:.2f} bits per image"


def _is_less(value: float | None, least: float) -> bool:
    return value is not None and value < least
