"""What results say twice, in two ways that do not agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prologue_bench.results.plausibility import place_of
from prologue_bench.results.ranges import is_known
from prologue_bench.results.schema import (
    MeasurementRecord,
    Results,
    RunRecord,
    SearchRecord,
    SegmentRecord,
)
from prologue_bench.texts.numbers import number

CLOSE = 1e-6
"""Share of a sum that its parts may miss: some were added up in float32."""
SUMS: Mapping[str, tuple[str, ...]] = {
    "elbo": ("elbo_distortion", "elbo_rate"),
    "bits_positions_{segment}": ("bits_joint_{segment}", "redundancy_{segment}"),
}
"""Numbers that others add up to, of known protocols. The rate is that of its segments."""


def contradictions(results: Results) -> Iterator[str]:
    """A sentence for each pair that does not agree."""
    yield from _dates(results)
    layouts = {variant.name: variant.layout for variant in results.variants}
    for variant in results.variants:
        yield from (f"{variant.name}: {problem}" for problem in _grids(variant.layout))
    for run in results.runs:
        layout = layouts[run.variant]
        with_artifacts = any(each.artifact for each in run.measurements)
        for each in run.measurements:
            for problem in _tokens(each, layout):
                yield f"{place_of(run, each.name)}: {problem}"
            if with_artifacts and not each.artifact:
                yield (
                    f"{place_of(run, each.name)}: found no artifact, and others of the run have one"
                )
        for name, problem in _sums(run, layout):
            yield f"{place_of(run, name)}: {problem}"
        if run.search is not None and run.search.points:
            yield from (f"{place_of(run)}: {problem}" for problem in _choice(run.search))


def _dates(results: Results) -> Iterator[str]:
    """Times that are none."""
    times = {
        "created": results.created,
        **{f"source {source.label}: created": source.created for source in results.sources or ()},
        **{
            f"{place_of(run)}: reused.created": run.reused.created
            for run in results.runs
            if run.reused is not None
        },
        **{
            f"{place_of(run)}, {stage.stage}: finished": stage.finished
            for run in results.runs
            for stage in run.stages
            if stage.finished is not None
        },
    }
    for place, time in times.items():
        try:
            datetime.fromisoformat(time)
        except ValueError:
            yield f"{place}: found {time!r}, expected a time such as 2026-01-31T12:00:00+00:00"


def _grids(layout: Sequence[SegmentRecord]) -> Iterator[str]:
    for each in layout:
        # Each place of the grid has a token of each codebook.
        if each.grid is not None and each.length % math.prod(each.grid):
            rows, columns = each.grid
            yield (
                f"layout: found a grid of {rows} x {columns} for {each.length} tokens of "
                f"{each.name}, expected as many for each place"
            )


def _tokens(each: MeasurementRecord, layout: Sequence[SegmentRecord]) -> Iterator[str]:
    """What is wrong with the values at single tokens."""
    named = {segment.name: segment.length for segment in layout}
    if not layout or not each.positions:
        return
    if each.positions_of and each.positions_of not in named:
        yield (
            f"found positions of {each.positions_of!r}, expected one of {', '.join(named)}, "
            "the segments of the layout"
        )
    elif len(each.positions) > sum(named.values()):
        yield (
            f"found {len(each.positions)} positions, expected at most {sum(named.values())}, "
            "the tokens of the layout"
        )
    elif len(each.positions) == named.get(each.positions_of) and each.value is not None:
        total = math.fsum(each.positions)
        mean = total / len(each.positions)
        if is_known(each.protocol) and not (_close(each.value, total) or _close(each.value, mean)):
            yield (
                f"found {number(each.value)}, expected the sum or the mean of its positions, "
                f"{number(total)} or {number(mean)}"
            )


def _sums(run: RunRecord, layout: Sequence[SegmentRecord]) -> Iterator[tuple[str, str]]:
    """Numbers that are not the sum of their parts, where all of these are there."""
    found = {
        each.name: each.value
        for each in run.measurements
        if each.value is not None and is_known(each.protocol)
    }
    segments = [segment.name for segment in layout]
    sums = {
        "rate": tuple(f"rate_{segment}" for segment in segments),
        **{
            whole.format(segment=segment): tuple(part.format(segment=segment) for part in parts)
            for whole, parts in SUMS.items()
            for segment in segments
        },
    }
    for whole, parts in sums.items():
        if whole in found and parts and all(part in found for part in parts):
            total = math.fsum(found[part] for part in parts)
            if not _close(found[whole], total):
                yield (
                    whole,
                    f"found {number(found[whole])}, expected {number(total)}, "
                    f"the sum of {' and '.join(parts)}",
                )


def _choice(search: SearchRecord) -> Iterator[str]:
    """What is wrong with the settings that a search chose."""
    values = [each.value for each in search.points if each.point == search.chosen]
    if not values:
        yield "search.chosen: found settings that are none of the points that were tried"
        return
    direction = search.points[0].direction
    if direction not in ("lower", "higher"):
        return
    best = (min if direction == "lower" else max)(each.value for each in search.points)
    if best not in values:
        yield (
            f"search.chosen: found the point with {number(values[0])}, expected that with "
            f"{number(best)}: {direction} is better"
        )


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-9)
