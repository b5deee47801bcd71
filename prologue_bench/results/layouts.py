"""Token layouts: what the tokenizer's settings, the grid, positions and protocols say of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from prologue_bench.contracts import Segment
from prologue_bench.errors import UserError
from prologue_bench.results import findings as parts
from prologue_bench.results.findings import Doubt, Findings, place_of
from prologue_bench.results.known import foreign_metrics, known_numbers
from prologue_bench.results.own_settings import foreign_components, own_class, read_settings
from prologue_bench.results.ranges import segment_of
from prologue_bench.results.schema import Results, RunRecord, SegmentRecord, VariantRecord
from prologue_bench.results.sources import source_of

Segments = Sequence[Segment | SegmentRecord]
"""In the order in which they are generated."""
OF_LEADING = "token-entropy"
"""The protocol that only segments have that others follow."""


def wrong_layouts(results: Results, findings: Findings) -> None:
    """Tells layouts that contradict what else is known of them, and positions beyond them.

    Only the first mistake of a layout is told.
    """
    foreign = foreign_metrics(results)
    wrong: list[Doubt] = []
    beyond: list[Doubt] = []
    for variant in results.variants:
        own = [run for run in results.runs if run.variant == variant.name]
        tokenizer = parts.section(variant.name, "tokenizer")
        try:
            expected = None if findings.refused(tokenizer) else _by_settings(results, variant)
        except UserError as error:
            wrong.append((variant.name, str(error), tokenizer, parts.layout(variant.name)))
            continue
        problems = itertools.chain(
            _unlike(variant.layout, expected),
            _grids(variant.layout),
            _out_of_order(own, variant.layout, foreign),
        )
        first = next(problems, None)
        if first is not None:
            wrong.append((variant.name, f"layout: {first}", parts.layout(variant.name)))
        else:
            beyond += _beyond(own, variant.layout)
    findings.tell_together(wrong)
    findings.tell_together(beyond)


def _by_settings(results: Results, variant: VariantRecord) -> Segments | None:
    """The segments that the tokenizer's settings give; None where these do not tell it.

    Raises UserError where the data cannot have such tokens.
    """
    source, found = source_of(results, variant.name), variant.settings.tokenizer
    cls = own_class("tokenizer", found.use, foreign_components(source))
    # What an older file does not name is not known: defaults of today may not be its own.
    if cls is None or not set(attrs.fields_dict(cls)) <= set(found.settings):
        return None
    settings = read_settings(cls, found.settings, "tokenizer")
    segments: Segments | None = None
    if hasattr(settings, "segments"):
        segments = settings.segments(source.data.shape)
    return segments


def _grids(layout: Sequence[SegmentRecord]) -> Iterator[str]:
    for each in layout:
        # Each place of the grid has a token of each codebook.
        if each.grid is not None and each.length % math.prod(each.grid):
            rows, columns = each.grid
            yield (
                f"found a grid of {rows} x {columns} for {each.length} tokens of "
                f"{each.name}, expected as many for each place"
            )


def _unlike(layout: Sequence[SegmentRecord], expected: Segments | None) -> Iterator[str]:
    """Segments that are not those that the tokenizer's settings give, or in another order."""
    if expected is None:
        return
    for text in (_tokens, _grid):
        found, asked = ({each.name: text(each) for each in one} for one in (layout, expected))
        for name in dict.fromkeys((*asked, *found)):
            here, there = found.get(name, NO_TOKENS), asked.get(name, NO_TOKENS)
            if here != there:
                yield f"found {here} of {name}, expected {there} by the tokenizer's settings"
    names, order = ([each.name for each in one] for one in (layout, expected))
    if names != order:
        yield (
            f"found {' before '.join(names)}, "
            f"expected {' before '.join(order)} by the tokenizer's settings"
        )


NO_TOKENS = "no tokens"


def _tokens(segment: Segment | SegmentRecord) -> str:
    return f"{segment.length} tokens with {segment.vocabulary} codes"


def _grid(segment: Segment | SegmentRecord) -> str:
    return "a grid of {} x {}".format(*segment.grid) if segment.grid else "no grid"


def _out_of_order(
    runs: Sequence[RunRecord], layout: Sequence[SegmentRecord], foreign: Collection[str]
) -> Iterator[str]:
    """A last segment with a number that only segments have that others follow."""
    for each in (each for run in runs for each in known_numbers(run, foreign)):
        segment = segment_of(each, layout) if each.protocol.name == OF_LEADING else None
        if segment is not None and segment == layout[-1]:
            yield (
                f"found {segment.name} last, expected another segment behind it: "
                f"{each.name} is measured of those that others follow"
            )
            return


def _beyond(runs: Sequence[RunRecord], layout: Sequence[SegmentRecord]) -> Iterator[Doubt]:
    """Numbers with values at tokens that the layout does not have."""
    lengths = {segment.name: segment.length for segment in layout}
    for run in runs:
        for each in run.measurements if layout else ():
            if problem := too_many_positions(each.positions_of, len(each.positions), lengths):
                yield place_of(run, each.name), problem, parts.number(run, each)


def too_many_positions(name: str, found: int, lengths: Mapping[str, int]) -> str:
    """What is wrong with so many numbers at the tokens of a segment, or of all where none is named.

    Empty if nothing is: they may end before the segment does.
    """
    if not found:
        return ""
    if name and name not in lengths:
        known = ", ".join(lengths)
        return f"found positions of {name!r}, expected one of {known}, the segments of the layout"
    most = lengths[name] if name else sum(lengths.values())
    if found > most:
        tokens = f"the tokens of {name or 'the layout'}"
        return f"found {found} positions, expected at most {most}, {tokens}"
    return ""
