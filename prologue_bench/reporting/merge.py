"""Several results as one, so that one report shows them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prologue_bench.errors import UserError
from prologue_bench.reporting.pictures import VARIANT_PICTURES, Pictures
from prologue_bench.reporting.sections import remarks


def merge_results(
    parts: Sequence[tuple[Mapping[str, Any], Pictures]], baseline: str | None
) -> tuple[dict[str, Any], Pictures]:
    """All variants of all results, each named "results: variant", against one baseline.

    The baseline is a name so made, or else that of the first results that has one. What protocols or seeds do not
    allow to be compared, the report leaves out and says so. Raises UserError for an unknown baseline and for two
    results of one name.
    """
    names = [results["name"] for results, _ in parts]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two of the results are both called {name!r}; their variants could not be told apart")
    variants: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for results, pictures in parts:
        for index, variant in enumerate(results["variants"]):
            for kind in VARIANT_PICTURES:
                if f"{kind}-{index}" in pictures.files:
                    files[f"{kind}-{len(variants)}"] = pictures.files[f"{kind}-{index}"]
            variants.append({**variant, "name": merged_name(results, variant["name"])})
        runs += [{**run, "variant": merged_name(results, run["variant"])} for run in results["runs"]]
    first, first_pictures = parts[0]
    if "originals" in first_pictures.files and len({results["data"]["fingerprint"] for results, _ in parts}) == 1:
        files["originals"] = first_pictures.files["originals"]
    chosen = baseline or next(
        (merged_name(results, results["baseline"]) for results, _ in parts if results["baseline"]), None
    )
    if chosen is not None and chosen not in {variant["name"] for variant in variants}:
        raise UserError(
            f"--baseline {chosen}: no such variant; expected one of: {'; '.join(v['name'] for v in variants)}"
        )
    merged = {
        **first,
        "name": "-".join(names),
        "title": " · ".join(results["title"] for results, _ in parts),
        "description": "Several results in one report: " + ", ".join(names) + ".",
        "profile": ", ".join(dict.fromkeys(results["profile"] for results, _ in parts)),
        "baseline": chosen,
        "seeds": sorted({seed for results, _ in parts for seed in results["seeds"]}),
        "sampling_seeds": sorted({seed for results, _ in parts for seed in results.get("sampling_seeds", [])}),
        "varied": list(dict.fromkeys(key for results, _ in parts for key in results["varied"])),
        "created": max(results["created"] for results, _ in parts),
        "variants": variants,
        "runs": runs,
        "remarks": [f"{results['name']}: {remark}" for results, _ in parts for remark in remarks(results)],
        "references": list({r["name"]: r for results, _ in parts for r in results.get("references", [])}.values()),
    }
    return merged, Pictures(files)


def merged_name(results: Mapping[str, Any], variant: str) -> str:
    """The name of a variant among those of other results."""
    return f"{results['name']}: {variant}"
