"""The report: HTML that opens from disk, with results as JSON, CSV, Markdown and LaTeX beside it.

With pyarrow installed (the extra `parquet`) there is a results.parquet too.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from altair.utils.schemapi import debug_mode
from attrs import evolve
from markupsafe import Markup

from prologue_bench.reporting.added_seeds import added_seeds
from prologue_bench.reporting.figures import (
    curve_plots,
    forest_plots,
    heat_maps,
    inside_plots,
    metric_plots,
    search_plots,
    token_curves,
    tradeoffs,
)
from prologue_bench.reporting.forest import equal_in_every_seed, means_of
from prologue_bench.reporting.formatting import environment
from prologue_bench.reporting.headline import leaderboard_metrics, not_measured, primary_metric
from prologue_bench.reporting.leaderboard import best, fairness, leaderboard
from prologue_bench.reporting.names import common_setting, short_names
from prologue_bench.reporting.replacing import (
    CSV,
    LATEX,
    MARKDOWN,
    PARQUET,
    REPORT,
    check_place,
    measure_keys,
    own_files,
    report_in,
)
from prologue_bench.reporting.sections import (
    citation,
    commands,
    failed_runs,
    left_out,
    missing_numbers,
    protocols,
    published_notes,
    reused_runs,
    searches,
    setting_differences,
    split_remarks,
    stage_seconds,
    unfinished_runs,
)
from prologue_bench.reporting.strips import png_size, strips
from prologue_bench.reporting.summary import (
    Cells,
    MetricInfo,
    is_judged,
    metric_infos,
    most_seeds,
    reading,
    split_metrics,
    verdicts,
    warnings,
)
from prologue_bench.reporting.tables import render_csv, render_latex, render_markdown
from prologue_bench.reporting.vega import library
from prologue_bench.reporting.verdict import headline
from prologue_bench.reporting.words import EXPLAINED, in_plain_words, scale_notes
from prologue_bench.results.collapse import collapsed, collapsed_parts
from prologue_bench.results.documents import RESULTS
from prologue_bench.results.frame import frame, measured, summary
from prologue_bench.results.pictures import ASSETS, Pictures, comparable_pictures, originals
from prologue_bench.results.protocols import conflicts
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import one_data_set, training_seeds
from prologue_bench.results.strict import to_json
from prologue_bench.storage.placing import checksums, placing
from prologue_bench.texts.durations import duration

DOWNLOADS = {
    RESULTS: "everything",
    CSV: "all numbers",
    MARKDOWN: "the table",
    LATEX: "the table for a paper",
}
FOREST_NOTE = (
    "Dots: training seeds, each against the baseline's. Diamonds: means. "
    "Bars: 95% intervals, which hold at once for all variants. "
    "Blue band: the margin of the baseline's mean within which differences count as none; where "
    "that mean is uncertain, a little less counts. Arrows, and bars at the edge: beyond the axis."
)
FOREST_NOTE_OF_ONE = (
    "Dots: training seeds, each against the baseline's. No interval without more seeds. "
    "Arrows: beyond the axis."
)

COLLAPSED_NOTE = "Yellow: what has collapsed, of which such a difference is no merit."
SHARED_NOTE = "In small plots, variants with the same values in every seed share a row."
BASELINE_COLLAPSED = (
    "The baseline, {}, has collapsed: a difference from it, better or worse, tells nothing."
)


def write_report(results: Results, pictures: Pictures, folder: Path, force: bool = False) -> Path:
    """Put a report's files into a folder together, in place of those there; return the HTML's path.

    Raises UserError, with nothing written, where files of others would be overwritten or other runs
    lost, unless `force` says so.
    """
    there = report_in(folder)
    check_place(folder, results.name, set(measure_keys(results.runs)), pictures.files, force, there)
    rows = frame(results)
    texts = {
        CSV: render_csv(rows),
        MARKDOWN: render_markdown(results),
        LATEX: render_latex(results),
        REPORT: render_html(results, pictures),
    }
    with placing(folder, own_files(there), last=RESULTS) as aside:
        (aside / ASSETS).mkdir()
        for name, content in pictures.files.items():
            (aside / ASSETS / f"{name}.png").write_bytes(content)
        for name, text in texts.items():
            (aside / name).write_bytes(text.encode("utf-8", errors="backslashreplace"))
        if importlib.util.find_spec("pyarrow") is not None:
            with (aside / PARQUET).open("wb") as file:  # pandas would expand a ~ in a path
                rows.to_parquet(file, index=False)
        (aside / RESULTS).write_text(
            to_json(evolve(results, files=checksums(aside), extract=None)), encoding="utf-8"
        )
    return folder / REPORT


@debug_mode(False)
def render_html(results: Results, pictures: Pictures) -> str:
    """The report as one HTML document without outside references.

    Altair does not check the plots: that takes a third of the time, and a test does it.
    """
    numbers, rows = measured(results), frame(results)
    cells = summary(results)
    metrics = in_plain_words(metric_infos(numbers), results)
    main, detail = split_metrics(metrics, numbers, results)
    names = [variant.name for variant in results.variants]
    broken = collapsed(results)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            numbers={name: index for index, name in enumerate(names)},
            short=short_names(names),
            short_of=common_setting(names),
            cells=cells,
            judged=is_judged(cells),
            **_answer(results, cells, main, metrics, rows, broken),
            main=main,
            detail=detail,
            best=best(cells, metrics, broken),
            collapsed=broken,
            collapsed_parts=collapsed_parts(results),
            explained={kind: EXPLAINED[kind] for info in metrics if (kind := info.kind)},
            remarks=split_remarks(results),
            warnings=warnings(results),
            added_seeds=added_seeds(results),
            scale=scale_notes(results),
            commands=commands(results),
            citation=citation(results),
            downloads=DOWNLOADS,
            plots=metric_plots(main, cells, rows, results),
            detail_plots=metric_plots(detail, cells, rows, results),
            tradeoffs=tradeoffs(rows, results),
            token_curves=token_curves(results),
            heat_maps=heat_maps(results),
            curves=curve_plots(results),
            inside=inside_plots(results),
            **_pictures(results, pictures),
            failed=failed_runs(results),
            failed_count=sum(bool(run.failures) for run in results.runs),
            missing=missing_numbers(results),
            unfinished=unfinished_runs(results),
            left_out=left_out(results),
            reused=reused_runs(results),
            conflicts=conflicts(results),
            protocols=protocols(results),
            notes=published_notes(results),
            stages=stage_seconds(results),
            searches=searches(results),
            search_plots=search_plots(results),
            differences=setting_differences(results),
            duration=duration,
            seeds=training_seeds(results),
            most_seeds=most_seeds(cells),
            sources=results.origins,
            one_data_set=one_data_set(results),
            library=Markup(library()),
        )
    )


def _answer(
    results: Results,
    cells: Cells,
    main: Sequence[MetricInfo],
    metrics: Sequence[MetricInfo],
    rows: pd.DataFrame,
    broken: Collection[str],
) -> dict[str, Any]:
    """What the first screen shows."""
    primary = primary_metric(results, main)
    shown = leaderboard_metrics(results, primary, main, metrics)
    board = leaderboard(results, cells, primary, metrics)
    forests = forest_plots(primary, metrics, board.names, cells, rows, results)
    return {
        "headline": headline(cells, main, results),
        "primary": primary,
        "shown": shown,
        "hidden": [info for info in main if info not in shown],
        "board": board,
        "fairness": fairness(board),
        "not_measured": not_measured(results, main, metrics),
        "forests": forests,
        "forest_note": _forest_note(results, cells, broken, [info for info, _ in forests], rows),
        "verdicts": verdicts(cells, [evolve(info, title=info.label) for info in main], results),
        "reading": reading(cells),
    }


def _forest_note(
    results: Results,
    cells: Cells,
    broken: Collection[str],
    shown: Sequence[MetricInfo],
    rows: pd.DataFrame,
) -> str:
    notes = [FOREST_NOTE if is_judged(cells) else FOREST_NOTE_OF_ONE]
    if results.baseline in broken:
        notes.insert(0, BASELINE_COLLAPSED.format(results.baseline))
    if is_judged(cells) and set(broken) - {results.baseline}:
        notes.append(COLLAPSED_NOTE)
    for info in shown[1:]:
        means = means_of(rows[rows.metric == info.name]).drop(columns=results.baseline)
        if len(equal_in_every_seed(means)) < len(means.columns):
            return " ".join([*notes, SHARED_NOTE])
    return " ".join(notes)


def _pictures(results: Results, pictures: Pictures) -> dict[str, Any]:
    """Pictures with what is drawn of them."""
    files = dict(sorted(pictures.files.items()))  # however they were collected
    sizes = {name: png_size(content) for name, content in files.items()}
    comparable = comparable_pictures(results, pictures)
    return {
        "drawn": {name.partition("-")[0] for name in files},
        "pictures": {name: _data_uri(content) for name, content in files.items()},
        "sheets": {name: size for name, size in sizes.items() if all(size)},
        "strips": strips(results, pictures),
        "comparable": [(title, name) for title, name in comparable if all(sizes[name])],
        "originals": [each for each in originals(results) if each[1] in pictures.files],
    }


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
