"""Results on one screen of a terminal: the answer, and a table of a few columns."""

from __future__ import annotations

from attrs import frozen

from prologue_bench.reporting.added_seeds import added_seeds
from prologue_bench.reporting.headline import leaderboard_metrics, not_measured, primary_metric
from prologue_bench.reporting.leaderboard import leaderboard
from prologue_bench.reporting.sections import left_out
from prologue_bench.reporting.summary import (
    MetricInfo,
    is_judged,
    metric_infos,
    most_seeds,
    named,
    split_metrics,
    warnings,
)
from prologue_bench.reporting.verdict import cell_word, headline
from prologue_bench.reporting.words import in_plain_words, scale_notes
from prologue_bench.results.frame import measured, summary
from prologue_bench.results.schema import Results
from prologue_bench.stats.differences import Cell
from prologue_bench.stats.wording import difference_text, fewer_seeds
from prologue_bench.texts.numbers import to_digits

MOST = 4
"""Metrics beside the variants' names."""


@frozen
class BriefCell:
    """The text of a cell, whether it is the best of its column, and the word of its verdict."""

    text: str
    best: bool = False
    word: str = ""


@frozen
class Brief:
    """What a run says at its end; a row's first cell is the variant."""

    title: str
    sentences: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[BriefCell, ...], ...]
    notes: tuple[str, ...]


def brief(results: Results) -> Brief:
    """The answer, the variants in their order on the leaderboard, and what speaks against it."""
    numbers, cells = measured(results), summary(results)
    metrics = in_plain_words(metric_infos(numbers), results)
    main, _ = split_metrics(metrics, numbers, results)
    primary = primary_metric(results, main)
    shown = leaderboard_metrics(results, primary, main, metrics)[:MOST]
    board = leaderboard(results, cells, primary, shown)
    judged, most = is_judged(cells), most_seeds(cells)
    answer = headline(cells, main, results)
    shown_names = named(results)

    def cell(name: str, info: MetricInfo) -> BriefCell:
        found = cells.get(name, {}).get(info.name)
        if found is None:
            return BriefCell("–")
        best = board.best.get(info.name) == name
        return BriefCell(_text(found, judged, most), best, cell_word(found, judged))

    return Brief(
        title=results.title,
        sentences=(answer.sentence, *answer.more),
        head=("variant", *map(_head, shown)),
        rows=tuple(
            (
                BriefCell(shown_names[name]),
                *(cell(name, info) for info in shown),
            )
            for name in board.names
        ),
        notes=(
            *(f"Warning: {text}" for text in warnings(results)),
            *added_seeds(results),
            *not_measured(results, main, metrics),
            *left_out(results),
            *scale_notes(results),
        ),
    )


def _head(info: MetricInfo) -> str:
    unit = f" [{info.unit}]" if info.unit else ""
    return f"{info.label}{unit} {info.arrow}".strip()


def _text(found: Cell, judged: bool, most: int) -> str:
    fewer = fewer_seeds(found, most)
    parts = [f"{to_digits(found.mean, found.spread)}{f', {fewer}' if fewer else ''}"]
    if found.difference is not None:
        parts.append(f"({difference_text(found.difference)})")
    return " ".join([*parts, cell_word(found, judged)]).strip()
