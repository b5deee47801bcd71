"""In what numbers differ from the published ones that they could be taken for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from prologue_bench.results.schema import MeasurementRecord, Numbers
from prologue_bench.texts.lines import joined


def caveats(
    measurements: Iterable[MeasurementRecord], metrics: Collection[str] | None = None
) -> list[str]:
    """A sentence for each way in which numbers, or some metrics', differ from published ones."""
    titles: dict[str, dict[str, str]] = {}
    for each in measurements:
        if metrics is not None and each.name not in metrics:
            continue
        if each.protocol.counterpart and each.protocol.note:
            titles.setdefault(each.protocol.note, {})[each.title] = each.protocol.counterpart
    return [
        f"{joined(list(counterparts))} {'is' if len(counterparts) == 1 else 'are'} not comparable "
        f"with published {joined(list(dict.fromkeys(counterparts.values())))}: {note}."
        for note, counterparts in titles.items()
    ]


def measurements_of(results: Numbers) -> Iterator[MeasurementRecord]:
    """All measurements of all runs."""
    return (each for run in results.runs for each in run.measurements)
