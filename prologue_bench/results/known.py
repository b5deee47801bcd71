"""Which numbers are this project's own metrics', of which it is known what they can be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from prologue_bench.results.own_settings import foreign_components
from prologue_bench.results.ranges import is_known
from prologue_bench.results.schema import MEASURE, MeasurementRecord, Results, RunRecord


def foreign_metrics(results: Results) -> set[str]:
    """What numbers of others' metrics are called; their protocols may have the names of ours."""
    return {
        name.replace("-", "_")
        for source in results.origins
        for kind, name in foreign_components(source)
        if kind == "metric"
    }


def known_numbers(run: RunRecord, foreign: Collection[str]) -> Iterator[MeasurementRecord]:
    """The numbers of a run that have a protocol of this project's metrics, and are theirs.

    Which metric a number is of, the stage that measured it says, and else how the number's name
    begins.
    """
    metrics = _metrics(run)
    for each in run.measurements:
        metric = metrics.get(each.artifact)
        theirs = metric in foreign or any(
            f"{each.name}_".startswith(f"{name}_") for name in foreign
        )
        if is_known(each.protocol) and not theirs:
            yield each


def measured_by(
    run: RunRecord, metric: str, numbers: Iterable[MeasurementRecord]
) -> list[MeasurementRecord]:
    """Those of a run's numbers that a metric measured."""
    metrics, name = _metrics(run), metric.replace("-", "_")
    return [
        each
        for each in numbers
        if name == metrics.get(each.artifact, name) and f"{each.name}_".startswith(f"{name}_")
    ]


def _metrics(run: RunRecord) -> dict[str, str]:
    """The metrics of a run by the keys of the stages that measured them, with underscores."""
    return {
        stage.key: stage.stage.removeprefix(MEASURE).replace("-", "_")
        for stage in run.stages
        if stage.stage.startswith(MEASURE)
    }
