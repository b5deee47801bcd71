"""Tables and findings of results."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prologue_bench.reporting.summary import findings, metric_infos, split_metrics
from prologue_bench.results.frame import frame
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.stats.differences import Cell, summarise
from tests.conftest import ROOT


def rows(
    values: dict[str, list[float]], direction: str = "lower", protocol: Any = "p"
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": variant,
            "seed": seed,
            "sampling_seed": 0,
            "metric": "m",
            "title": "m",
            "value": value,
            "unit": "",
            "direction": direction,
            "count": 1,
            "protocol": protocol(variant) if callable(protocol) else protocol,
        }
        for variant, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    )


PICTURES = Pictures({"originals": b""})


def report(name: str) -> dict[str, Any]:
    return load_results(ROOT / "reports" / name)


def cells_of(results: dict[str, Any]) -> dict[str, dict[str, Cell]]:
    return summarise(frame(results), results["baseline"])


def findings_of(results: dict[str, Any]) -> list[str]:
    table = frame(results)
    main, _ = split_metrics(metric_infos(table), table, results)
    return findings(summarise(table, results["baseline"]), main, results)
