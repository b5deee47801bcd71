"""A leaderboard over several results: variants in one table only where numbers may be compared.

A table is of one data set and one protocol of the metric that it ranks by. In its other columns,
too, a column is of one protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

from attrs import define, evolve, field, frozen

from prologue_bench.reporting.extracts import shown_metrics
from prologue_bench.reporting.leaderboard import Rank, Size, sizes
from prologue_bench.reporting.summary import MetricInfo
from prologue_bench.results.frame import looks_of, summary
from prologue_bench.results.protocols import fields, protocol_hash
from prologue_bench.results.schema import DataRecord, ProtocolRecord, Results, VariantRecord
from prologue_bench.results.sources import source_of
from prologue_bench.stats.differences import Cell
from prologue_bench.stats.intervals import LEVEL
from prologue_bench.stats.looks import Looks
from prologue_bench.stats.student import critical


@frozen
class Column:
    """A metric as one protocol measures it; `digest` tells it from the same metric by another."""

    info: MetricInfo
    protocol: ProtocolRecord
    digest: str

    @property
    def key(self) -> tuple[str, str]:
        """What tells columns apart."""
        return self.info.name, self.digest


@frozen(kw_only=True)
class Row:
    """A variant of one of the results; `rank` is None where the noise of training is not known."""

    name: str
    """Of the results."""
    variant: VariantRecord
    profile: str
    sizes: Sequence[Size]
    cells: Mapping[tuple[str, str], Cell]
    looks: Looks | None
    """By which seeds were added until the metric that ranks was decided."""
    rank: Rank | None = None


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
        looks, shown_sizes = looks_of(results), sizes(results)
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
                first.digest,
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
                    looks=looks.get(metrics[0].name),
                )
            )
    return [
        Standings(
            data=table.data,
            columns=(table.first, *(c for c in table.columns.values() if c.key != table.first.key)),
            rows=_ranked(table.rows, table.first),
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
    digest: str


@define
class _Table:
    """A table in the making."""

    data: DataRecord
    first: Column
    columns: dict[tuple[str, str], Column] = field(factory=dict)
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
                    infos[each.name],
                    evolve(protocol, details=details),
                    protocol_hash(protocol, results.varied),
                )
                found.setdefault(run.variant, {}).setdefault(each.name, column)
    return {
        variant: {name: columns[name] for name in infos if name in columns}
        for variant, columns in found.items()
    }


def _ranked(rows: Sequence[Row], first: Column) -> tuple[Row, ...]:
    """The rows in the order of their ranks and then of their means, those without a rank last.

    One is behind another where their intervals do not touch. These hold at once for all ranks of
    the table (Bonferroni), so that an order which is not there is shown in one table of twenty.
    """
    sign = -1 if first.info.direction == "higher" else 1
    cells = [row.cells[first.key] for row in rows]
    family = sum(_width(row, cell, 1) is not None for row, cell in zip(rows, cells, strict=True))
    intervals = {
        index: (sign * cell.mean - width, sign * cell.mean + width)
        for index, (row, cell) in enumerate(zip(rows, cells, strict=True))
        if (width := _width(row, cell, family)) is not None
    }
    behind = {
        index: sum(end < start for _, end in intervals.values())
        for index, (start, _) in intervals.items()
    }
    counts = list(behind.values())
    ranks = {index: Rank(each + 1, counts.count(each) > 1) for index, each in behind.items()}
    order = sorted(
        range(len(rows)), key=lambda index: (behind.get(index, math.inf), sign * cells[index].mean)
    )
    return tuple(evolve(rows[index], rank=ranks.get(index)) for index in order)


def _width(row: Row, cell: Cell, family: int) -> float | None:
    """Half of a mean's interval, which holds with those of all rows; None where it is not known.

    The interval of weights that are the same in every seed is over images: no training adds to it.
    """
    if cell.half_width is None or not math.isfinite(cell.mean):
        return None
    error = 1 - LEVEL
    if cell.same_everywhere:
        normal = NormalDist()
        return (
            cell.half_width
            * normal.inv_cdf(1 - error / (2 * family))
            / normal.inv_cdf(1 - error / 2)
        )
    if cell.seeds < 2:
        return None
    alone, wide = (_level(each, cell.seeds, row.looks) for each in (error, error / family))
    if alone is None or wide is None:
        return None
    return cell.half_width * critical(wide, cell.seeds - 1) / critical(alone, cell.seeds - 1)


def _level(error: float, seeds: int, looks: Looks | None) -> float | None:
    return error if looks is None else looks.level(error, seeds)
