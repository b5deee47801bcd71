"""What a number is called: after the features that it is measured over, and with what it may not be set beside."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

INCEPTION_DISTANCE = re.compile(r"\b[a-z]?([FK])ID\b")
"""The Fréchet and the kernel *Inception* distance, with a letter before it such as in rFID."""
UNCHECKED = "measured by a version that did not compare its protocol with the published one"


def over_features(title: str, features: str) -> str:
    """A title that names the features; FID and KID are the distances' names over Inception's features alone.

    >>> over_features("gFID, infinitely many", "EfficientNet-Lite0")
    'gFD (EfficientNet-Lite0), infinitely many'
    """
    if not features or f"({features})" in title:
        return title
    found = INCEPTION_DISTANCE.search(title)
    if found is None:
        return f"{title} ({features})"
    return f"{title[: found.end() - 2]}D ({features}){title[found.end() :]}"


def counterpart_of(title: str) -> str:
    """The published quantity of a title: "FID" of "rFID"."""
    found = INCEPTION_DISTANCE.search(title)
    return f"{found[1]}ID" if found else title


def caveats(results: Mapping[str, Any], metrics: Collection[str] | None = None) -> list[str]:
    """A sentence for each way in which numbers, or those of some metrics, differ from the published ones of a kind."""
    titles: dict[str, dict[str, str]] = {}
    for measurement in _measurements(results):
        protocol = measurement["protocol"]
        if metrics is not None and measurement["name"] not in metrics:
            continue
        if protocol.get("counterpart") and protocol["note"]:
            titles.setdefault(protocol["note"], {})[measurement["title"]] = protocol["counterpart"]
    return [
        f"{_and(list(counterparts))} {'is' if len(counterparts) == 1 else 'are'} not comparable with published "
        f"{_and(list(dict.fromkeys(counterparts.values())))}: {note}."
        for note, counterparts in titles.items()
    ]


def _and(texts: list[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def with_true_titles(results: dict[str, Any]) -> dict[str, Any]:
    """Results as written today: those of earlier versions called a distance FID over whatever features.

    Their protocols say over which; the names of measurements, by which settings and commands go, stay. Searches took
    their title from the metric that decided.
    """
    renamed: dict[str, str] = {}
    for measurement in _measurements(results):
        protocol = measurement["protocol"]
        protocol.update(published=protocol.get("published", False), note=protocol.get("note", ""))
        if "counterpart" in protocol:
            continue
        title, note = measurement["title"], protocol.get("note", "")
        features, told, _ = note.partition(" features ")
        if told:
            measurement["title"] = renamed[title] = over_features(title, features)
        if protocol.get("published") and not note:
            note = UNCHECKED
        protocol.update(published=False, note=note, counterpart=counterpart_of(title) if note else "")
    for run in results.get("runs", []):
        for point in (run.get("search") or {}).get("points", []):
            point["metric"] = renamed.get(point["metric"], point["metric"])
    return results


def _measurements(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (measurement for run in results.get("runs", []) for measurement in run.get("measurements", []))
