"""Several results as one, so that one report shows them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prologue_bench.errors import UserError, listed
from prologue_bench.results.pictures import VARIANT_PICTURES, Pictures
from prologue_bench.results.sources import remarks, sources

Part = tuple[Mapping[str, Any], Pictures]


def labels_of(results: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> list[str]:
    """What each result is called among others: its name, or where two share one, its folder.

    Raises UserError where the folders do not tell them apart either, as for one folder given twice.
    """
    names = [each["name"] for each in results]
    found = []
    for name, folder in zip(names, folders, strict=True):
        alike = [
            other.resolve() for other, named in zip(folders, names, strict=True) if named == name
        ]
        if len(alike) > 1:
            name = _shortest_end(folder.resolve(), alike, name)
        found.append(name)
    if len(set(found)) < len(found):
        raise UserError(
            f"two of the results are both called {_twice(found)!r}; "
            "give one of the folders another name"
        )
    return found


def _shortest_end(folder: Path, others: Sequence[Path], name: str) -> str:
    """The last parts of a path that no other path ends in."""
    for count in range(1, len(folder.parts) + 1):
        if sum(other.parts[-count:] == folder.parts[-count:] for other in others) == 1:
            return "/".join(folder.parts[-count:])
    raise UserError(
        f"two of the results are both called {name!r}; their variants could not be told apart"
    )


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def merge_results(
    parts: Sequence[Part], baseline: str | None, labels: Sequence[str] | None = None
) -> tuple[dict[str, Any], Pictures]:
    """All variants of all results, each named "label: variant", against one baseline.

    The labels are the results' names unless they are given. The baseline is a name so made, or else
    that of the first results that has one. Every variant names its source, which holds data,
    profile, seeds, components, software and hardware. What protocols or seeds do not allow to be
    compared, the report leaves out and says so; numbers of other data are never compared. Raises
    UserError for an unknown baseline, for two results of one name, and for results that hold a run
    twice.
    """
    labels = [results["name"] for results, _ in parts] if labels is None else labels
    if len(set(labels)) < len(labels):
        raise UserError(
            f"two of the results are both called {_twice(labels)!r}; "
            "their variants could not be told apart"
        )
    origins = [
        {**source, "label": merged_name(label, source["label"]) if source["label"] else label}
        for (results, _), label in zip(parts, labels, strict=True)
        for source in sources(results)
    ]
    apart = len({origin["data"]["fingerprint"] for origin in origins}) > 1
    variants: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    titles: dict[str, str] = {}
    for (results, _), label in zip(parts, labels, strict=True):
        _check_runs(results, label)
        data = {}
        for variant in results["variants"]:
            source = merged_name(label, variant["source"]) if variant.get("source") else label
            variants.append(
                {**variant, "name": merged_name(label, variant["name"]), "source": source}
            )
            data[variant["name"]] = next(
                each["data"] for each in origins if each["label"] == source
            )
        for run in results["runs"]:
            record = {**_by_title(run, titles), "variant": merged_name(label, run["variant"])}
            runs.append(_of_its_data(record, data[run["variant"]]) if apart else record)
    merged = {
        "schema": parts[0][0]["schema"],
        "name": "-".join(results["name"] for results, _ in parts),
        "title": " · ".join(results["title"] for results, _ in parts),
        "description": f"Several results in one report: {', '.join(labels)}.",
        "baseline": _baseline(parts, labels, baseline, [variant["name"] for variant in variants]),
        "seeds": _union(parts, "seeds"),
        "sampling_seeds": _union(parts, "sampling_seeds"),
        "varied": list(dict.fromkeys(key for results, _ in parts for key in results["varied"])),
        "created": max(results["created"] for results, _ in parts),
        "variants": variants,
        "runs": runs,
        "references": _references(parts),
        "remarks": [
            *(
                f"{label}: {remark}"
                for (results, _), label in zip(parts, labels, strict=True)
                for remark in remarks(results)
            ),
            *_other_versions(origins),
        ],
        "sources": origins,
    }
    return merged, _pictures(parts, origins)


def merged_name(label: str, variant: str) -> str:
    """The name of a variant among those of other results."""
    return f"{label}: {variant}"


def _check_runs(results: Mapping[str, Any], label: str) -> None:
    """Raises UserError for results that hold a run twice: tables would show only the last."""
    seen = set()
    for run in results["runs"]:
        place = (run["variant"], run["seed"], run.get("sampling_seed", 0))
        if place in seen:
            raise UserError(
                f"{label}: holds the run of {run['variant']}, seed {run['seed']} twice; "
                "expected it once"
            )
        seen.add(place)


def _by_title(run: Mapping[str, Any], titles: dict[str, str]) -> dict[str, Any]:
    """The run with another name for what has the name of another quantity.

    Such as a distance over other features.
    """
    found = []
    for each in run["measurements"]:
        name, title = each["name"], each["title"]
        found.append(
            {
                **each,
                "name": name if titles.setdefault(name, title) == title else f"{name}, {title}",
            }
        )
    return {**run, "measurements": found}


def _of_its_data(run: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The run with its data in every protocol, also of numbers of no image, such as costs."""
    found = []
    for each in run["measurements"]:
        details = each["protocol"]["details"]
        if data["fingerprint"] not in details.values():
            details = {**details, "data": f"{data['name']}, {data['fingerprint']}"}
        found.append({**each, "protocol": {**each["protocol"], "details": details}})
    return {**run, "measurements": found}


def _baseline(
    parts: Sequence[Part], labels: Sequence[str], asked: str | None, names: Sequence[str]
) -> str | None:
    own = [
        merged_name(label, results["baseline"])
        for (results, _), label in zip(parts, labels, strict=True)
        if results["baseline"] is not None
    ]
    chosen = asked if asked is not None else next(iter(own), None)
    if chosen is not None and chosen not in names:
        raise UserError(f"--baseline {chosen}: no such variant; expected one of: {listed(names)}")
    return chosen


def _union(parts: Sequence[Part], key: str) -> list[int]:
    return sorted({seed for results, _ in parts for seed in results.get(key, [])})


def _references(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Each card of published results once, with the rows of all."""
    found: dict[str, dict[str, Any]] = {}
    for results, _ in parts:
        for card in results.get("references", []):
            before = found.get(card["name"], {"rows": {}})
            found[card["name"]] = {**card, "rows": {**before["rows"], **card["rows"]}}
    return list(found.values())


def _other_versions(origins: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each component that is of other versions in other results."""
    versions: dict[tuple[str, str], dict[int, list[str]]] = {}
    for origin in origins:
        for each in origin.get("components", []):
            versions.setdefault((each["kind"], each["name"]), {}).setdefault(
                each["version"], []
            ).append(origin["label"])
    return [
        f"{kind} {name} is of version "
        + " and ".join(f"{version} in {', '.join(labels)}" for version, labels in found.items())
        + "; differences may come from that."
        for (kind, name), found in versions.items()
        if len(found) > 1
    ]


def _pictures(parts: Sequence[Part], origins: Sequence[Mapping[str, Any]]) -> Pictures:
    """The grids of all variants under their new numbers, and the originals.

    Those are there once, or for each data set.
    """
    files: dict[str, bytes] = {}
    variants = 0
    originals: dict[str, tuple[int, bytes]] = {}
    for results, pictures in parts:
        for index in range(len(results["variants"])):
            for kind in VARIANT_PICTURES:
                if f"{kind}-{index}" in pictures.files:
                    files[f"{kind}-{variants + index}"] = pictures.files[f"{kind}-{index}"]
        variants += len(results["variants"])
    place = 0
    for results, pictures in parts:
        for index, source in enumerate(sources(results)):
            content = pictures.files.get(f"originals-{index}", pictures.files.get("originals"))
            if content is not None:
                originals.setdefault(source["data"]["fingerprint"], (place, content))
            place += 1
    apart = len({origin["data"]["fingerprint"] for origin in origins}) > 1
    for number, content in originals.values():
        files[f"originals-{number}" if apart else "originals"] = content
    return Pictures(files)
