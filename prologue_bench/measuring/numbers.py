"""What one metric says of its inputs, as records; and what becomes of one that says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs
import torch

from prologue_bench.config.experiments import Resolved
from prologue_bench.contracts.checked import check_measurements
from prologue_bench.contracts.metric import Measurement, MetricInputs, PlannedInputs
from prologue_bench.errors import DoesNotApply, PrologueBenchError, StageError, UserError
from prologue_bench.guard import of_component, shown
from prologue_bench.pipeline.models import build_metric
from prologue_bench.results.measurements import written
from prologue_bench.results.schema import MeasurementRecord, ProtocolRecord

Advance = Callable[[str, int, int], None]
"""Is told a metric's name, how much of its work is done, and of how much."""


def measured(
    metric: Resolved,
    inputs: Callable[[], MetricInputs],
    planned: Callable[[MetricInputs], PlannedInputs],
    added: Mapping[str, str],
) -> list[MeasurementRecord]:
    """What a metric says of its inputs, with what was done to the images before in its protocol.

    Raises UserError or DoesNotApply before anything is computed, StageError after that.
    """
    who = metric.component.called("metric")
    with of_component(who):
        built = build_metric(metric)
        given = inputs()
        built.check(planned(given))
        with torch.inference_mode():
            found = check_measurements(built.measure(given), who)
    for each in found:
        try:
            written(each)
        except ValueError as error:
            raise StageError(f"{who}: {error}") from None
    return [record(each, added) for each in found]


def check_whole(name: str, value: object, least: int) -> None:
    """Raises UserError for an argument that is neither None nor a whole number from `least` on."""
    if value is not None and (
        not isinstance(value, int) or isinstance(value, bool) or value < least
    ):
        raise UserError(f"{name}: found {shown(value)}, expected a whole number from {least} on")


@contextmanager
def left_out(metric: Resolved, notes: list[str], explicit: bool) -> Iterator[None]:
    """A metric that nobody named is left out with a note where it cannot be measured."""
    try:
        yield
    except DoesNotApply as error:
        if explicit:
            raise UserError(f"{metric.name}: {error}") from None
        notes.append(f"{metric.name} is left out: {error}")
    except PrologueBenchError as error:
        if explicit:
            raise
        notes.append(f"{metric.name} is left out: {error}")


def record(found: Measurement, added: Mapping[str, str]) -> MeasurementRecord:
    """A measurement as results hold it, with more details of its protocol."""
    values = {each.name: getattr(found, each.name) for each in attrs.fields(Measurement)}
    protocol = ProtocolRecord(**attrs.asdict(found.protocol))
    protocol = attrs.evolve(protocol, details={**protocol.details, **added})
    return MeasurementRecord(**{**values, "protocol": protocol, "against": {}})
