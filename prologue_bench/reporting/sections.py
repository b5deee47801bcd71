"""What a report says beside numbers: missing runs, protocols, settings, searches, wall times."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from prologue_bench.reporting.formatting import plain, setting_text
from prologue_bench.results.frame import flat_settings
from prologue_bench.results.left_out import notes_on
from prologue_bench.results.protocols import protocol_hash
from prologue_bench.results.sources import source_of


def failed_runs(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each reason why stages failed: variant, seed, those stages, and the number of the run.

    Stages that failed with one before them have its reason.
    """
    failed = []
    for number, run in enumerate(results["runs"]):
        stages: dict[str, list[str]] = defaultdict(list)
        for stage, reason in run["failures"].items():
            stages[reason].append(stage)
        failed += [
            {
                "run": number,
                "variant": run["variant"],
                "seed": run["seed"],
                "stage": ", ".join(of),
                "reason": reason,
            }
            for reason, of in stages.items()
        ]
        failed += [
            {
                "run": number,
                "variant": run["variant"],
                "seed": run["seed"],
                "stage": each["title"],
                "reason": each.get("reason", "not a finite number"),
            }
            for each in run["measurements"]
            if each["value"] is None
        ]
    return failed


def left_out(results: Mapping[str, Any]) -> list[str]:
    """Which metrics do not apply to which variants, and why; nothing in older results."""
    found = [
        (metric, run["variant"], reason)
        for run in results["runs"]
        for metric, reason in run.get("left_out", {}).items()
    ]
    return notes_on(found, len(results["variants"]))


def unfinished_runs(results: Mapping[str, Any]) -> list[str]:
    """Variants with the training seeds of which stages are still missing."""
    seeds: dict[str, list[str]] = defaultdict(list)
    for run in results["runs"]:
        if run.get("unfinished") and not run["failures"]:
            seeds[run["variant"]].append(str(run["seed"]))
    return [
        f"{variant}, seed{'s' * (len(of) > 1)} {', '.join(of)}" for variant, of in seeds.items()
    ]


def reused_runs(results: Mapping[str, Any]) -> dict[str, int]:
    """From which earlier results how many runs were taken."""
    origins = [run["reused"] for run in results["runs"] if run.get("reused")]
    return Counter(
        f"{origin['results']} of {origin['created'][:16].replace('T', ' ')} UTC"
        for origin in origins
    )


def protocols(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each protocol once, with the metrics measured by it."""
    found: dict[str, dict[str, Any]] = {}
    for run in results["runs"]:
        for measurement in run["measurements"]:
            protocol = measurement["protocol"]
            key = protocol_hash(protocol)
            entry = found.setdefault(key, {"hash": key, **protocol, "metrics": []})
            if measurement["name"] not in entry["metrics"]:
                entry["metrics"].append(measurement["name"])
    return list(found.values())


def stage_seconds(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean wall time of each stage by variant, over seeds."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in results["runs"]:
        for stage in run["stages"]:
            if stage["seconds"] is not None:
                seconds[stage["stage"]][run["variant"]].append(stage["seconds"])
    return {
        stage: {variant: sum(values) / len(values) for variant, values in by_variant.items()}
        for stage, by_variant in seconds.items()
    }


def setting_differences(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """The settings in which variants differ, one value a variant."""
    flat = [
        {**_data_of(variant, results), **flat_settings(variant)} for variant in results["variants"]
    ]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    shown = {key: [plain(settings.get(key)) for settings in flat] for key in keys}
    return {key: values for key, values in shown.items() if len(set(values)) > 1}


def _data_of(variant: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, str]:
    data = source_of(results, variant["name"])["data"]
    return {"data": f"{data['name']}, fingerprint {data['fingerprint']}"}


def searches(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each point of the sampling grid, its value for each variant, averaged over seeds.

    Beside each value stands in how many seeds the point was chosen. Empty where nothing was
    searched for.
    """
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for run in results["runs"]:
        search = run.get("search")
        for each in search["points"] if search else ():
            label = setting_text(each["point"])
            new: dict[str, Any] = {
                "point": label,
                "metric": each["metric"],
                "values": {},
                "chosen": {},
            }
            row = table.setdefault((each["metric"], label), new)
            row["values"].setdefault(run["variant"], []).append(each["value"])
            chosen = row["chosen"].get(run["variant"], 0) + (each["point"] == search["chosen"])
            row["chosen"][run["variant"]] = chosen
    return [
        {
            **row,
            "values": {name: sum(values) / len(values) for name, values in row["values"].items()},
        }
        for row in table.values()
    ]
