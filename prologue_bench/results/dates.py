"""Times that are none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prologue_bench.results.findings import place_of
from prologue_bench.results.schema import Results


def wrong_dates(results: Results) -> Iterator[str]:
    """A sentence for each time that is none."""
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
