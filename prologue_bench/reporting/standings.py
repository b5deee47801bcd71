"""A leaderboard over several results: variants in one table only where numbers may be compared.

A table is of one data set, and of one protocol, unit and direction of the metric that it ranks by.
In its other columns, too, a column is of one of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attrs import define, evolve, field, frozen

from prologue_bench.contracts.stage_kinds import TRAINED
from prologue_bench.reporting.extracts import shown_metrics
from prologue_bench.reporting.leaderboard import Rank, Size, sizes
from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.results.collapse import Collapse, collapsed
from prologue_bench.results.frame import summary
from prologue_bench.results.protocols import fields, protocol_hash
from prologue_bench.results.schema import DataRecord, ProtocolRecord, Results, VariantRecord
from prologue_bench.results.sources import source_of
from prologue_bench.stats.differences import Cell

Key = tuple[str, str, str, str]
"""A metric, the digest of its protocol, its unit, and which way it is better."""


@frozen
class Column:
    """A metric as one protocol measures it; `digest` tells it from the same metric by another."""

    info: MetricInfo
    protocol: ProtocolRecord
    digest: str

    @property
    def key(self) -> Key:
        """What tells columns apart, so that numbers of one may be compared."""
        return self.info.name, self.digest, self.info.unit, self.info.direction


@frozen(kw_only=True)
class Row:
    """A variant of one of the results.

    `rank` is None where the noise of training is not known, and where it has `collapsed`.
    """

    name: str
    """Of the results."""
    variant: VariantRecord
    profile: str
    sizes: Sequence[Size]
    cells: Mapping[Key, Cell]
    models: frozenset[tuple[str, ...]]
    """What it is of, by keys, one for each run; empty where they are not known."""
    also: tuple[tuple[str, str], ...] = ()
    """Names of results and variants that are of the same models, or of some of them."""
    rank: Rank | None = None
    collapsed: Collapse | None = None


@frozen(kw_only=True)
class Standings:
    """One table, whose rows are ranked by its first column."""

    data: DataRecord
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def standings(found: Mapping[str, Results]) -> list[Standings]:
    """The tables of results by their names, in the order of data, size of images and metric.

    Of one data set and metric, that with the most rows comes first.

    Results in which nothing can be ranked have no rows.
    """
    tables: dict[_Place, _Table] = {}
    for name, results in found.items():
        metrics = shown_metrics(results)
        cells, columns = summary(results), _columns(results, metrics)
        shown_sizes, broken = sizes(results), collapsed(results)
        for variant in results.variants:
            own = columns.get(variant.name, {})
            if not metrics or metrics[0].name not in own:
                continue
            source, first = source_of(results, variant.name), own[metrics[0].name]
            place = _Place(
                source.data.name,
                source.data.shape,
                first.info.name,
                source.data.fingerprint,
                first.key,
            )
            table = tables.setdefault(place, _Table(source.data, first))
            table.columns.update({each.key: each for each in own.values()} | table.columns)
            table.rows.append(
                Row(
                    name=name,
                    variant=variant,
                    profile=source.profile,
                    sizes=shown_sizes,
                    cells={each.key: cells[variant.name][metric] for metric, each in own.items()},
                    models=_models(results, variant.name, metrics[0].name),
                    collapsed=broken.get(variant.name),
                )
            )
    return [
        Standings(
            data=table.data,
            columns=(table.first, *(c for c in table.columns.values() if c.key != table.first.key)),
            rows=_ranked(_merged(table.rows), table.first),
        )
        for _, table in sorted(
            tables.items(), key=lambda item: (item[0][:3], -len(item[1].rows), item[0])
        )
    ]


class _Place(NamedTuple):
    """What the rows of a table have in common."""

    data: str
    shape: tuple[int, int, int]
    metric: str
    fingerprint: str
    column: Key


@define
class _Table:
    """A table in the making."""

    data: DataRecord
    first: Column
    columns: dict[Key, Column] = field(factory=dict)
    rows: list[Row] = field(factory=list)


def _columns(results: Results, metrics: Sequence[MetricInfo]) -> dict[str, dict[str, Column]]:
    """Columns by variant and metric; the first one's protocol, where seeds have several.

    Without what the ablation varies on purpose, which names its variants.
    """
    infos = {info.name: info for info in metrics}
    found: dict[str, dict[str, Column]] = {}
    for run in results.runs:
        for each in run.measurements:
            if each.name in infos and each.value is not None:
                protocol = each.protocol
                kept = fields(protocol, results.varied)
                details = {key: kept[key] for key in protocol.details if key in kept}
                column = Column(
                    evolve(infos[each.name], unit=each.unit, direction=each.direction),
                    evolve(protocol, details=details),
                    protocol_hash(protocol, results.varied),
                )
                found.setdefault(run.variant, {}).setdefault(each.name, column)
    return {
        variant: {name: columns[name] for name in infos if name in columns}
        for variant, columns in found.items()
    }


def _models(results: Results, variant: str, metric: str) -> frozenset[tuple[str, ...]]:
    """What the runs of a variant are of: keys of the trainings, and of what measured a metric.

    Empty where a key is not known, as in older results.
    """
    found = set()
    for run in results.runs:
        for each in run.measurements:
            if run.variant == variant and each.name == metric and each.value is not None:
                trained = (stage.key for stage in run.stages if stage.stage in TRAINED)
                found.add((each.artifact, *trained))
    return frozenset(found if all(artifact for artifact, *_ in found) else ())


def _merged(rows: Sequence[Row]) -> list[Row]:
    """The rows, each model once: several ablations may have one and the same variant.

    One that has some seeds of another is part of that.
    """
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.models)):
        index = next((i for i, other in enumerate(kept) if _is_part(row, other)), None)
        if index is None:
            kept.append(row)
            continue
        other = kept[index]
        cells = {**row.cells, **other.cells} if row.models == other.models else other.cells
        kept[index] = evolve(other, cells=cells, also=(*other.also, (row.name, row.variant.name)))
    return kept


def _is_part(row: Row, other: Row) -> bool:
    sampling = row.variant.settings.sampling == other.variant.settings.sampling
    return bool(row.models) and row.models <= other.models and sampling


def _ranked(rows: Sequence[Row], first: Column) -> tuple[Row, ...]:
    """The rows in the order of their ranks and then of their means, those without a rank last.

    One is behind another where their 95% intervals do not touch: so are two that are equal in at
    most one of twenty cases, and in about one of two hundred where both are equally noisy.
    """
    sign = -1 if first.info.direction == "higher" else 1
    cells = [row.cells[first.key] for row in rows]
    intervals = {
        index: (sign * cell.mean - cell.half_width, sign * cell.mean + cell.half_width)
        for index, cell in enumerate(cells)
        if cell.half_width is not None
        and (cell.seeds > 1 or cell.same_everywhere)
        and rows[index].collapsed is None
    }
    behind = {
        index: sum(end < start for _, end in intervals.values())
        for index, (start, _) in intervals.items()
    }
    counts = list(behind.values())
    ranks = {index: Rank(each + 1, counts.count(each) > 1) for index, each in behind.items()}
    order = sorted(
        range(len(rows)),
        key=lambda index: (
            behind.get(index, math.inf),
            rows[index].collapsed is not None,
            sign * cells[index].mean,
        ),
    )
    return tuple(evolve(rows[index], rank=ranks.get(index)) for index in order)
