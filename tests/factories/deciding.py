"""Results of seeds that were added until a metric was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Series = Mapping[str, Sequence[float | None]]
"""Numbers of a metric by variant, a number for each seed; None where the run failed."""


def results_by_seed(
    metrics: Mapping[str, Series], direction: str = "lower", **fields: Any
) -> dict[str, Any]:
    """Results of the variants "base" and others, with fields of the document put over them."""
    variants = list(next(iter(metrics.values())))
    seeds = range(len(next(iter(metrics.values()))["base"]))
    runs = []
    for seed in seeds:
        for variant in variants:
            measurements = [
                {"name": name, "title": name.upper(), "value": value, "direction": direction}
                for name, series in metrics.items()
                if (value := series[variant][seed]) is not None
            ]
            failures = {} if measurements else {"measure m": "out of memory"}
            run = {"variant": variant, "seed": seed, "failures": failures}
            runs.append({**run, "measurements": measurements})
    return {"baseline": "base", "seeds": list(seeds), "runs": runs, **fields}


def added(metric: str, *looks: tuple[int, list[str]], **fields: Any) -> dict[str, Any]:
    """A record of looks: at how many seeds, and who was undecided."""
    told = [{"seeds": seeds, "level": 0.01, "undecided": names} for seeds, names in looks]
    return {"metric": metric, "first": 3, "most": 10, "margin": 0.05, "looks": told, **fields}
