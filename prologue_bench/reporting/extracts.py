"""Extracts of results: what a leaderboard shows of them, in a file small enough to be reviewed.

An extract is a file of results as any other, with fewer measurements and stages, and no curves.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from attrs import evolve

from prologue_bench.contracts.stage_kinds import TRAINED
from prologue_bench.errors import UserError
from prologue_bench.reporting.headline import leaderboard_metrics, primary_metric
from prologue_bench.reporting.summary import MetricInfo, metric_infos, split_metrics
from prologue_bench.results.frame import measured
from prologue_bench.results.integrity import CONTENTS, EXTRACT, contents_of
from prologue_bench.results.loading import load_results
from prologue_bench.results.plain import Document
from prologue_bench.results.schema import ExtractRecord, Results, RunRecord
from prologue_bench.results.strict import to_json

LINE_DEPTH = 4
"""Levels of an extract of which each item has a line of its own: runs[0].measurements[0]."""


def shown_metrics(results: Results) -> list[MetricInfo]:
    """The metrics that a leaderboard shows of results, the one that it ranks by first.

    None where no metric has a better direction and was measured for all variants.
    """
    rows = measured(results)
    metrics = metric_infos(rows)
    main, _ = split_metrics(metrics, rows, results)
    primary = primary_metric(results, main)
    return [] if primary is None else leaderboard_metrics(results, primary, main, metrics)


def extract(results: Results, content: bytes, file: Path) -> Document:
    """The extract of results, whose file has that content. Raises UserError for nothing to rank."""
    names = [info.name for info in shown_metrics(results)]
    if not names:
        raise UserError(
            f"{file}: found nothing to rank by; expected a metric that was measured for all "
            "variants, with a better direction"
        )
    kept = {*names, *_warning(results, names)}
    runs = tuple(_shortened(run, kept) for run in results.runs)
    keys = {stage.key for run in runs for stage in run.stages}
    remotes = (
        evolve(each, artifacts={key: own for key, own in each.artifacts.items() if key in keys})
        for each in results.remotes
    )
    found: Document = json.loads(
        to_json(
            evolve(
                results,
                runs=runs,
                primary=names[0],
                leaderboard=tuple(names),
                references=(),
                remotes=tuple(each for each in remotes if each.artifacts),
                files=None,
                nulls={},
                extract=ExtractRecord(of=hashlib.sha256(content).hexdigest(), contents=""),
            )
        )
    )
    found[EXTRACT][CONTENTS] = contents_of(found)
    return found


def _warning(results: Results, names: Collection[str]) -> Iterator[str]:
    """The metrics that warn of what these metrics do not warn of."""
    for run in results.runs:
        told = {each.warning for each in run.measurements if each.name in names}
        for each in run.measurements:
            if each.warning and each.warning not in told:
                told.add(each.warning)
                yield each.name


def _shortened(run: RunRecord, names: Collection[str]) -> RunRecord:
    """A run with these measurements, and the stages behind them."""
    kept = [each for each in run.measurements if each.name in names]
    artifacts = {each.artifact for each in kept}
    return evolve(
        run,
        measurements=tuple(
            evolve(each, positions=(), positions_of="", against={}) for each in kept
        ),
        stages=tuple(
            stage for stage in run.stages if stage.stage in TRAINED or stage.key in artifacts
        ),
        curves={},
        inside={},
        search=None,
    )


def to_text(value: object, depth: int = 0) -> str:
    """An extract as JSON with a line for each number, stage and setting, as a reviewer reads it."""
    if isinstance(value, dict):
        ends = "{}"
        inside = [f"{json.dumps(name)}: {to_text(each, depth + 1)}" for name, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        ends = "[]"
        inside = [to_text(each, depth + 1) for each in value]
    else:
        return json.dumps(value, allow_nan=False)
    if depth == LINE_DEPTH or not inside:
        return json.dumps(value, allow_nan=False)
    start, end = f"\n{' ' * (depth + 1)}", f"\n{' ' * depth}"
    return f"{ends[0]}{start}{f',{start}'.join(inside)}{end}{ends[1]}"


def check_extract_place(path: Path, results: Results) -> None:
    """Raises UserError where an extract would take the place of anything but an earlier one."""
    if not os.path.lexists(path):
        return
    try:
        there = load_results(path) if path.is_file() else None
    except UserError:
        there = None
    if there is None or there.extract is None or there.name != results.name:
        raise UserError(
            f"{path}: is no extract of {results.name}, and would be overwritten; "
            "name another file, or overwrite it with --force"
        )
