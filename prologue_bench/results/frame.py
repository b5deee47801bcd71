"""Results as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from prologue_bench.results.collapse import collapsed
from prologue_bench.results.plain import plain
from prologue_bench.results.protocols import protocol_hash
from prologue_bench.results.schema import Numbers, RunNumbers, Settings, VariantRecord
from prologue_bench.stats.differences import Cell, summarise
from prologue_bench.stats.intervals import known_width
from prologue_bench.stats.looks import Looks, looks_of_both
from prologue_bench.stats.measured import Measured
from prologue_bench.texts.settings import flat_values

if TYPE_CHECKING:
    import pandas as pd


def measured_seeds(runs: Sequence[RunNumbers], seeds: Sequence[int]) -> list[int]:
    """The seeds of which something was measured: what means are over.

    All of them where nothing was.
    """
    return [
        seed for seed in seeds if any(run.seed == seed and run.measurements for run in runs)
    ] or list(seeds)


def flat_settings(variant: VariantRecord) -> Settings:
    """All settings of one of the results' variants by dotted name."""
    return flat_values(plain(variant.settings))


def measured(results: Numbers, apart: bool = False) -> list[Measured]:
    """All numbers of results, but those that failed.

    Protocols are equal where numbers may be compared: settings of sampling that the ablation varies
    on purpose are left out of them, unless such numbers are to be kept `apart`.
    """
    varied = () if apart else results.varied
    return [
        Measured(
            variant=run.variant,
            seed=run.seed,
            sampling_seed=run.sampling_seed,
            metric=each.name,
            title=each.title,
            value=each.value,
            unit=each.unit,
            direction=each.direction,
            count=each.count,
            half_width=known_width(each.half_width),
            protocol=protocol_hash(each.protocol, varied),
            detail=each.detail,
            artifact=each.artifact,
        )
        for run in results.runs
        for each in run.measurements
        if each.value is not None
    ]


def looks_of(*results: Numbers) -> dict[str, dict[str, Looks]]:
    """How metrics were looked at while seeds were added, by metric and variant.

    Of several results, or of several rules for one, all looks. A rule of one of the results that
    were put together is for its own variants.
    """
    found: dict[str, dict[str, Looks]] = {}
    for one in results:
        for each in one.added_seeds:
            own = Looks(each.first, each.most, each.margin)
            of_metric = found.setdefault(each.metric, {})
            for variant in one.variants:
                if not each.source or variant.name.startswith(f"{each.source}: "):
                    both = looks_of_both(own, of_metric.get(variant.name, own), own.first)
                    assert both is not None
                    of_metric[variant.name] = both
    return found


def summary(results: Numbers) -> dict[str, dict[str, Cell]]:
    """Cells by variant and metric, as every report and claim has them."""
    return summarise(
        measured(results),
        results.baseline,
        looks_of(results),
        results.equivalence_margin,
        collapsed(results),
    )


def frame(results: Numbers) -> pd.DataFrame:
    """One row per number: the fields of Measured as columns."""
    import pandas as pd

    names = [each.name for each in attrs.fields(Measured)]
    rows = [attrs.astuple(each) for each in measured(results)]
    return pd.DataFrame(rows, columns=names)
