"""The report: HTML that opens from disk, with results as JSON, CSV, Markdown and LaTeX beside it.

With pyarrow installed (the extra `parquet`) there is a results.parquet too.
"""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path

from attrs import evolve
from markupsafe import Markup

from prologue_bench.reporting.added_seeds import added_seeds
from prologue_bench.reporting.figures import (
    curve_plots,
    heat_maps,
    inside_plots,
    metric_plots,
    search_plots,
    token_curves,
    tradeoffs,
)
from prologue_bench.reporting.formatting import environment
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
    failed_runs,
    left_out,
    protocols,
    reused_runs,
    searches,
    setting_differences,
    stage_seconds,
    unfinished_runs,
)
from prologue_bench.reporting.summary import (
    findings,
    is_judged,
    metric_infos,
    reading,
    split_metrics,
)
from prologue_bench.reporting.tables import render_csv, render_latex, render_markdown
from prologue_bench.reporting.vega import library
from prologue_bench.results.caveats import caveats, measurements_of
from prologue_bench.results.documents import RESULTS
from prologue_bench.results.frame import frame, measured, summary
from prologue_bench.results.pictures import ASSETS, Pictures, comparable_pictures, originals
from prologue_bench.results.protocols import conflicts
from prologue_bench.results.schema import Results
from prologue_bench.results.sources import most_seeds, one_data_set
from prologue_bench.results.strict import to_json
from prologue_bench.storage.placing import checksums, placing
from prologue_bench.texts.durations import duration


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
            rows.to_parquet(aside / PARQUET, index=False)
        (aside / RESULTS).write_text(
            to_json(evolve(results, files=checksums(aside))), encoding="utf-8"
        )
    return folder / REPORT


def render_html(results: Results, pictures: Pictures) -> str:
    """The report as one HTML document without outside references."""
    numbers, rows = measured(results), frame(results)
    cells = summary(results)
    metrics = metric_infos(numbers)
    main, detail = split_metrics(metrics, numbers, results)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            cells=cells,
            main=main,
            detail=detail,
            findings=findings(cells, main, results),
            reading=reading(len(most_seeds(results)), cells),
            judged=is_judged(cells),
            remarks=results.remarks,
            plots=metric_plots(main, rows, results),
            detail_plots=metric_plots(detail, rows, results),
            tradeoffs=tradeoffs(rows, results),
            token_curves=token_curves(results),
            heat_maps=heat_maps(results),
            curves=curve_plots(results),
            inside=inside_plots(results),
            drawn={name.partition("-")[0] for name in pictures.files},
            pictures={name: _data_uri(content) for name, content in pictures.files.items()},
            failed=failed_runs(results),
            unfinished=unfinished_runs(results),
            left_out=left_out(results),
            reused=reused_runs(results),
            conflicts=conflicts(results),
            protocols=protocols(results),
            stages=stage_seconds(results),
            searches=searches(results),
            search_plots=search_plots(results),
            differences=setting_differences(results),
            duration=duration,
            comparable=comparable_pictures(results, pictures),
            originals=[each for each in originals(results) if each[1] in pictures.files],
            caveats=caveats(measurements_of(results)),
            added_seeds=added_seeds(results),
            seeds=most_seeds(results),
            sources=results.origins,
            one_data_set=one_data_set(results),
            library=Markup(library()),
        )
    )


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
