"""Tables and findings of results."""

from __future__ import annotations

from typing import Any

from prologue_bench.reporting.headline import primary_metric
from prologue_bench.reporting.summary import findings, metric_infos, split_metrics
from prologue_bench.reporting.verdict import headline
from prologue_bench.reporting.words import in_plain_words
from prologue_bench.results.frame import measured
from prologue_bench.results.pictures import Pictures
from prologue_bench.stats.differences import Cell, summarise
from prologue_bench.stats.measured import Measured
from tests.conftest import OLD_REPORTS
from tests.documents import loaded, results_of


def rows(
    values: dict[str, list[float]], direction: Any = "lower", protocol: Any = "p"
) -> list[Measured]:
    return [
        Measured(
            variant=variant,
            seed=seed,
            sampling_seed=0,
            metric="m",
            title="m",
            value=value,
            unit="",
            direction=direction,
            count=1,
            half_width=None,
            protocol=protocol(variant) if callable(protocol) else protocol,
            detail=False,
            artifact="",
        )
        for variant, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    ]


PICTURES = Pictures({"originals": b""})


def report(name: str) -> dict[str, Any]:
    return loaded(OLD_REPORTS / name)


def cells_of(results: dict[str, Any]) -> dict[str, dict[str, Cell]]:
    return summarise(measured(results_of(results)), results["baseline"])


def findings_of(results: dict[str, Any]) -> list[str]:
    """The headline, what it adds, and the findings on all other metrics."""
    found = results_of(results)
    table = measured(found)
    main, _ = split_metrics(in_plain_words(metric_infos(table), found), table, found)
    cells = summarise(table, found.baseline)
    told = headline(cells, main, found)
    return [
        told.sentence,
        *told.more,
        *findings(cells, main, found, primary_metric(found, main)),
    ]
