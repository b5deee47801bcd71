"""In what numbers differ from the published ones that they could be taken for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def caveats(results: Mapping[str, Any], metrics: Collection[str] | None = None) -> list[str]:
    """A sentence for each way in which numbers, or some metrics', differ from published ones."""
    titles: dict[str, dict[str, str]] = {}
    for measurement in measurements_of(results):
        protocol = measurement["protocol"]
        if metrics is not None and measurement["name"] not in metrics:
            continue
        if protocol.get("counterpart") and protocol["note"]:
            titles.setdefault(protocol["note"], {})[measurement["title"]] = protocol["counterpart"]
    return [
        f"{_and(list(counterparts))} {'is' if len(counterparts) == 1 else 'are'} not comparable "
        f"with published {_and(list(dict.fromkeys(counterparts.values())))}: {note}."
        for note, counterparts in titles.items()
    ]


def _and(texts: list[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def measurements_of(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All measurements of all runs."""
    return (
        measurement
        for run in results.get("runs", [])
        for measurement in run.get("measurements", [])
    )
