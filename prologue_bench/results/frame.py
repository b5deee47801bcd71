"""Results as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from prologue_bench.results.documents import RESULTS as RESULTS
from prologue_bench.results.protocols import protocol_hash
from prologue_bench.stats.intervals import known_width
from prologue_bench.texts.settings import flat_values


def measured_seeds(runs: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[int]:
    """The seeds of which something was measured: what means are over.

    All of them where nothing was.
    """
    return [
        seed for seed in seeds if any(run["seed"] == seed and run["measurements"] for run in runs)
    ] or list(seeds)


def flat_settings(variant: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of one of the results' variants by dotted name."""
    return flat_values(variant["settings"])


COLUMNS = ("title", "value", "unit", "direction", "count", "half_width", "protocol", "detail")


def frame(results: Mapping[str, Any]) -> pd.DataFrame:
    """One row a measurement: variant, seed, sampling_seed, metric and what COLUMNS names.

    `protocol` is equal where numbers may be compared: settings of sampling that the ablation varies
    on purpose are left out of it. `artifact` is equal where a number is one and the same
    measurement; empty in results that do not say.
    """
    varied = results.get("varied", ())
    rows = [
        {
            "variant": run["variant"],
            "seed": run["seed"],
            "sampling_seed": run.get("sampling_seed", 0),
            "metric": measurement["name"],
            **{name: measurement.get(name) for name in COLUMNS},
            "value": math.nan if measurement["value"] is None else measurement["value"],
            "protocol": protocol_hash(measurement["protocol"], varied),
            "detail": measurement.get("detail", False),
            "artifact": measurement.get("artifact", ""),
            "half_width": known_width(measurement.get("half_width")),
        }
        for run in results["runs"]
        for measurement in run["measurements"]
        if measurement["value"] is not None  # a failed number
    ]
    return pd.DataFrame(
        rows, columns=["variant", "seed", "sampling_seed", "metric", *COLUMNS, "artifact"]
    )
