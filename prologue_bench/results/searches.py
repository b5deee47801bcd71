"""Searches of the sampling settings: their points, what they chose, and whether they were made."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from prologue_bench.config.settings import ALL_TOKENS, MOST_POINTS
from prologue_bench.contracts import over_features
from prologue_bench.contracts.stage_kinds import SEARCH
from prologue_bench.errors import listed
from prologue_bench.results.findings import Doubt, Findings, place_of, section, setting_text
from prologue_bench.results.known import foreign_metrics, known_numbers, measured_by
from prologue_bench.results.plausibility import implausible_value
from prologue_bench.results.ranges import better
from prologue_bench.results.schema import (
    MeasurementRecord,
    Results,
    RunRecord,
    SearchRecord,
    Settings,
)
from prologue_bench.results.sources import source_of, variants_of
from prologue_bench.texts.numbers import number
from prologue_bench.texts.settings import normal

DEFAULT = "default"
"""Stands in settings for the segments that are not named."""


def wrong_searches(results: Results, findings: Findings) -> None:
    """Tells searches that are not those of the settings, and settings for segments of none."""
    _named_segments(results, findings)
    sampling = {each.name: each.settings.sampling for each in results.variants}
    foreign = foreign_metrics(results)
    findings.tell_together(
        doubt
        for run in results.runs
        if not findings.refused(section(run.variant, "sampling"))
        for doubt in _of_run(run, sampling[run.variant], list(known_numbers(run, foreign)))
    )


def _of_run(
    run: RunRecord, sampling: Settings, numbers: Sequence[MeasurementRecord]
) -> Iterator[Doubt]:
    """The first thing that is wrong with the search of a run, whose known numbers are given."""
    place, part = place_of(run), ("search", run.place)
    settings = section(run.variant, "sampling")  # which may be what is wrong
    made = any(stage.stage == SEARCH for stage in run.stages)
    if run.search is None:
        # Where its artifact is gone, neither is there.
        if made:
            yield place, "search: found none, and among the stages one that made it", part
        return
    if not made:
        yield place, "search: found one, and among the stages none that made it", part
    elif "search" in sampling and sampling["search"] is None:
        yield place, "search: found one, expected none as in the settings", settings
    else:
        search = sampling.get("search")
        grid = search.get("grid") if isinstance(search, Mapping) else None
        points = next(_points(run.search, grid), None)
        if points is not None:
            yield place, points, settings
            return
        metric = search.get("metric") if isinstance(search, Mapping) else None
        name = metric.get("use") if isinstance(metric, Mapping) else None
        of = measured_by(run, name, numbers) if isinstance(name, str) else ()
        problems = itertools.chain(_came_to(run.search, numbers, of), _choice(run.search, of))
        if problem := next(problems, None):
            yield place, problem, part


def _points(search: SearchRecord, grid: Any) -> Iterator[str]:
    """Points that are not those of the grid, each as often as there."""
    if not isinstance(grid, Mapping) or not all(isinstance(each, list) for each in grid.values()):
        return
    if math.prod(map(len, grid.values())) > MOST_POINTS:
        return
    expected = [dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())]
    found = [each.point for each in search.points]
    tried, asked = (Counter(map(normal, points)) for points in (found, expected))
    for point in (*expected, *found):
        is_tried, is_asked = tried[normal(point)], asked[normal(point)]
        if is_tried != is_asked:
            yield (
                f"search: found the point {setting_text(point, 100)} {_times(is_tried)}, "
                f"expected it {_times(is_asked)} as in the grid of the settings"
            )
            return


def _times(count: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _came_to(
    search: SearchRecord, numbers: Sequence[MeasurementRecord], of: Sequence[MeasurementRecord]
) -> Iterator[str]:
    """What is wrong with what the points came to.

    Args:
        search: the search.
        numbers: the known numbers of its run.
        of: those of the metric that the settings search by.
    """
    metrics = dict.fromkeys(point.metric for point in search.points)
    if len(metrics) > 1:
        yield f"search: found points of {listed(metrics)}, expected one metric"
    # The search may have other features than the run's own number of the metric.
    if of and not {_stem(each) for each in metrics} <= {_stem(each.title) for each in of}:
        yield f"search: found points of {listed(metrics)}, expected {of[0].title} by the settings"
    like = next((each for each in (*of, *numbers) if each.title in metrics), None)
    if like is None:
        return
    for point in search.points:
        expected = better(like, ()) or point.direction
        if point.direction not in (None, expected):
            yield (
                f"search: found the direction {point.direction!r}, "
                f"expected {expected!r} as of {like.name}"
            )
        one = attrs.evolve(like, value=point.value, half_width=None, positions=())
        for problem in implausible_value(one, point.value, ()):
            yield f"search: the point {setting_text(point.point, 100)}: {problem}"


def _stem(title: str) -> str:
    """A title without its features, such as "gFD" of "gFD (EfficientNet-Lite0)" and of "gFID"."""
    return over_features(title, "any").partition(" (")[0]


def _choice(search: SearchRecord, of: Sequence[MeasurementRecord]) -> Iterator[str]:
    """What is wrong with the settings that a search chose; see `_came_to`."""
    values = [each.value for each in search.points if each.point == search.chosen]
    if not search.points:
        return
    if not values:
        yield "search.chosen: found settings that are none of the points that were tried"
        return
    # Older files do not tell the direction.
    direction = search.points[0].direction or next((better(each, ()) for each in of), None)
    if direction not in ("lower", "higher"):
        return
    best = (min if direction == "lower" else max)(each.value for each in search.points)
    if best not in values:
        yield (
            f"search.chosen: found the point with {number(values[0])}, expected that with "
            f"{number(best)}: {direction} is better"
        )


def _named_segments(results: Results, findings: Findings) -> None:
    """Tells temperatures and guidance for segments that no variant of the same run has.

    A search may try them: its grid is one for all variants, here and elsewhere.
    """
    for variant in results.variants:
        alike = variants_of(results, source_of(results, variant.name))
        known = {segment.name: None for each in alike for segment in each.layout}
        sampling = variant.settings.sampling
        if not known or findings.refused(section(variant.name, "sampling")):
            continue
        for setting in ("temperature", "guidance"):
            named = sampling.get(setting)
            for name in named if isinstance(named, Mapping) else ():
                if name not in (*known, DEFAULT, ALL_TOKENS):
                    findings.tell(
                        f"{variant.name}: sampling.{setting}: found the segment {name!r}, "
                        f"expected one that a variant has: {listed(known)}",
                        section(variant.name, "sampling"),
                    )
