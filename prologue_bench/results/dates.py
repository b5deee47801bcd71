"""Times that are none, or cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prologue_bench.results.findings import Findings, place_of
from prologue_bench.results.schema import Results

CLOCKS = timedelta(days=1)
"""By which the clocks of two machines may differ, and times without a zone."""


def wrong_dates(results: Results, findings: Findings) -> None:
    """Tells times that are none, that are yet to come, and of parts that are newer than the whole.

    Stages of one run may have been run again in any order.
    """
    findings.tell_together((place, problem) for place, problem in _problems(results))


def _problems(results: Results) -> Iterator[tuple[str, str]]:
    now = datetime.now(UTC)
    for place, text, whole in _times(results):
        try:
            time = _time(text)
        except ValueError:
            yield place, f"found {text!r}, expected a time such as 2026-01-31T12:00:00+00:00"
            continue
        if time - now > CLOCKS:
            yield f"{place} {text}", "expected a time that has passed"
        elif whole is not None and time - whole > CLOCKS:
            yield f"{place} {text}", f"expected a time before {results.created}, of the results"


def _times(results: Results) -> Iterator[tuple[str, str, datetime | None]]:
    """Places and times, and which time they cannot be later than."""
    created = results.created
    try:
        written = _time(created)
    except ValueError:
        written = None
    yield "created", created, None
    for source in results.sources or ():
        yield f"source {source.label}: created", source.created, written
    for run in results.runs:
        if run.reused is not None:
            yield f"{place_of(run)}: reused.created", run.reused.created, written
        for stage in run.stages:
            if stage.finished is not None:
                yield f"{place_of(run)}, {stage.stage}: finished", stage.finished, written


def _time(text: str) -> datetime:
    """In universal time, as which a time without a zone is taken."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
