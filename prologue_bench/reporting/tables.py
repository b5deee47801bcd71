"""The summary table as Markdown and LaTeX, and all measurements as CSV.

What is a text in the results is one there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from prologue_bench.reporting.added_seeds import added_seeds
from prologue_bench.reporting.headline import primary_metric
from prologue_bench.reporting.sections import (
    failed_runs,
    left_out,
    missing_numbers,
    unfinished_runs,
)
from prologue_bench.reporting.summary import (
    SAME_WEIGHTS,
    MetricInfo,
    findings,
    is_judged,
    metric_infos,
    most_seeds,
    named,
    reading,
    split_metrics,
    verdict_text,
    warnings,
)
from prologue_bench.reporting.verdict import cell_word, headline
from prologue_bench.reporting.words import in_plain_words
from prologue_bench.results.caveats import caveats, measurements_of
from prologue_bench.results.collapse import collapsed
from prologue_bench.results.frame import measured, summary
from prologue_bench.results.protocols import conflicts
from prologue_bench.results.schema import ReferenceRecord, Results
from prologue_bench.results.sources import one_data_set
from prologue_bench.stats.differences import Cell
from prologue_bench.stats.wording import difference_text, fewer_seeds
from prologue_bench.texts.lines import one_line, plain_text
from prologue_bench.texts.markdown import markdown_line
from prologue_bench.texts.numbers import short, to_digits

if TYPE_CHECKING:
    import pandas as pd

LIGATURE = re.compile(r"([-',])(?=\1)")
"""Characters of which LaTeX makes another where two stand together."""
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""How spreadsheets know a formula, also in full width."""

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{
        character: f"{{{character}}}" for character in "[]*"
    },  # what a line break takes as its argument
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "−": "$-$",
}

LATEX_MARKS = {"better": "$^*$", "worse": "$^*$", "equivalent": r"$^\approx$"}
LATEX_COLLAPSED = r"$^\dagger$"


def render_markdown(results: Results) -> str:
    """The summary table in Markdown."""
    rows = measured(results)
    cells = summary(results)
    main, _ = split_metrics(in_plain_words(metric_infos(rows), results), rows, results)
    if not main:
        return _no_measurements(results)
    answer, primary = headline(cells, main, results), primary_metric(results, main)
    told = [*answer.more, *findings(cells, main, results, primary)]
    lines = [
        f"# {markdown_line(results.title)}",
        "",
        markdown_line(answer.sentence),
        "",
        *_remarks(results),
        *(f"- {markdown_line(sentence)}" for sentence in told),
        "",
        *(
            line
            for sentence in (*caveats(measurements_of(results)), *added_seeds(results))
            for line in (markdown_line(sentence), "")
        ),
        f"{markdown_line(_from(results))}. " + reading(cells),
        "",
        "| variant | " + " | ".join(markdown_line(_head(info)) for info in main) + " |",
        "| --- |" + " ---: |" * len(main),
    ]
    for name, *shown in _rows(results, cells, main):
        lines.append(f"| {markdown_line(name)} | " + " | ".join(shown) + " |")
    lines += _paragraphs(_not_measured(results))
    if unfinished := unfinished_runs(results):
        lines += ["", markdown_line(f"Not finished yet: {'; '.join(unfinished)}.")]
    for conflict in conflicts(results):
        lines += ["", markdown_line(conflict)]
    for reference in results.references:
        lines += ["", *_published(reference)]
    return "\n".join(lines) + "\n"


def summary_table(results: Results) -> tuple[list[str], list[str], list[list[str]]]:
    """The sentences, the head and the rows of the summary table, as plain texts."""
    rows, cells = measured(results), summary(results)
    main, _ = split_metrics(in_plain_words(metric_infos(rows), results), rows, results)
    answer = headline(cells, main, results)
    sentences = [
        answer.sentence,
        *answer.more,
        *results.remarks,
        *findings(cells, main, results, primary_metric(results, main)),
        *caveats(measurements_of(results)),
        *added_seeds(results),
        f"{_from(results)}. {reading(cells)}",
        *left_out(results),
    ]
    return sentences, ["variant", *map(_head, main)], _rows(results, cells, main)


def _rows(
    results: Results, cells: Mapping[str, Mapping[str, Cell]], main: Sequence[MetricInfo]
) -> list[list[str]]:
    """A variant's name, and its cell for each metric."""
    judged, most, names = is_judged(cells), most_seeds(cells), named(results)
    return [
        [
            names[variant.name],
            *(
                _cell_text(cells.get(variant.name, {}).get(info.name), judged, most)
                for info in main
            ),
        ]
        for variant in results.variants
    ]


def _from(results: Results) -> str:
    """Data, profile and number of training seeds, of each of several results where they differ."""
    told = {}
    for source in results.origins:
        data, seeds = source.data, len(source.seeds)
        shape = "" if one_data_set(results) else f" {' × '.join(map(str, data.shape[1:]))}"
        count = f"{seeds} seed{'s' * (seeds > 1)}"
        text = f"ata {data.name}{shape}, profile {source.profile}, {count}"
        told[source.label] = text
    if len(set(told.values())) == 1:
        return "D" + next(iter(told.values()))
    return "; ".join(f"{label}: d{text}" for label, text in told.items())


def render_latex(results: Results) -> str:
    """The summary table in LaTeX, for booktabs: means and standard deviations over seeds."""
    rows = measured(results)
    cells = summary(results)
    main, _ = split_metrics(metric_infos(rows), rows, results)

    def cell(found: Cell | None) -> str:
        if found is None:
            return "--"
        spread = f" ± {short(found.spread)}" if found.spread is not None else ""
        fewer = fewer_seeds(found, seeds)
        return (
            _latex(f"{to_digits(found.mean, found.spread)}{spread}")
            + LATEX_MARKS.get(found.verdict, "")
            + (f" ({fewer})" if fewer else "")
        )

    heads = [_latex(_head(info)) for info in main]
    seeds = most_seeds(cells)
    notes = [*results.remarks, *warnings(results), f"$^*$: {verdict_text(cells)}"]
    notes += [*added_seeds(results), *_not_measured(results)]
    if any(each.verdict == "equivalent" for row in cells.values() for each in row.values()):
        notes.append(f"{LATEX_MARKS['equivalent']}: equivalent")
    broken = collapsed(results)
    notes += [
        f"{LATEX_COLLAPSED}: collapsed: {name}, {collapse}" for name, collapse in broken.items()
    ]
    body = [
        " & ".join(
            [
                _latex(variant.name) + LATEX_COLLAPSED * (variant.name in broken),
                *(cell(cells.get(variant.name, {}).get(info.name)) for info in main),
            ]
        )
        for variant in results.variants
    ]
    return "\n".join(
        [
            f"% {one_line(results.name)}, {seeds} training seed{'s' * (seeds > 1)}",
            *(f"% {one_line(sentence)}" for sentence in caveats(measurements_of(results))),
            *(f"% {one_line(note)}" for note in notes),
            rf"\begin{{tabular}}{{l{'r' * len(main)}}}",
            r"\toprule",
            " & ".join(["variant", *heads]) + r" \\",
            r"\midrule",
            *(row + r" \\" for row in body),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _remarks(results: Results) -> list[str]:
    return [
        line for remark in results.remarks for line in (f"> Remark: {markdown_line(remark)}", "")
    ]


def _latex(text: str) -> str:
    escaped = "".join(LATEX.get(character, character) for character in one_line(text))
    return LIGATURE.sub(r"\1{}", escaped)


def _head(info: MetricInfo) -> str:
    """A metric as the head of its column: title, which way is better, unit."""
    return f"{info.title} {info.arrow}" + (f" ({info.unit})" if info.unit else "")


def render_csv(rows: pd.DataFrame) -> str:
    """All measurements, one per line, of a frame as `results.frame` makes it.

    A spreadsheet takes a cell that begins as FORMULA for one to compute; a quote before it makes it
    a text.
    """
    texts = {
        name: [_cell(value) if isinstance(value, str) else value for value in rows[name]]
        for name in rows.columns
        if rows[name].dtype.kind not in "bifu"
    }
    text: str = rows.assign(**texts).to_csv(
        index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"
    )
    return text


def _cell(text: str) -> str:
    text = plain_text(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def _published(reference: ReferenceRecord) -> list[str]:
    """Published results as a Markdown table of their own."""
    return [
        f"Published, not measured here. {markdown_line(reference.summary)} "
        f"{markdown_line(reference.source)}. Protocol: {markdown_line(reference.protocol)}.",
        "",
        "| model | " + " | ".join(map(markdown_line, reference.columns)) + " |",
        "| --- |" + " ---: |" * len(reference.columns),
        *(
            f"| {markdown_line(row.title)} (published) | "
            + " | ".join(
                "–" if value is None else markdown_line(str(value)) for value in row.values
            )
            + " |"
            for row in reference.rows.values()
        ),
    ]


def _no_measurements(results: Results) -> str:
    head = [
        f"# {markdown_line(results.title)}",
        *filter(None, _remarks(results)),
        *map(markdown_line, warnings(results)),
    ]
    lines = "\n\n".join(
        [
            *head,
            "No metric was measured for every variant of which lower or higher is better.",
        ]
    )
    return "\n".join([lines, *_paragraphs(_not_measured(results))]) + "\n"


def _not_measured(results: Results) -> list[str]:
    """Sentences on what failed, on numbers that are missing, and on what does not apply."""
    texts = [
        f"Failed: {each.variant}, {each.seeds}, {each.stage}: {each.reason}"
        for each in failed_runs(results)
    ]
    return [*texts, *missing_numbers(results), *left_out(results)]


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in ("", markdown_line(text))]


def _mark(cell: Cell, judged: bool) -> str:
    """What stands behind a difference neither better nor worse, where others have verdicts.

    Nothing behind one of zero, which says so itself.
    """
    speaks_for_itself = cell.verdict in ("better", "worse", "same")
    word = "" if speaks_for_itself else cell_word(cell, judged)
    return f", {word}" if word else ""


def _cell_text(cell: Cell | None, judged: bool, most: int) -> str:
    if cell is None:
        return "–"
    text = to_digits(cell.mean, cell.spread)
    if cell.spread is not None:
        text += f", SD {short(cell.spread)}"
    if cell.same_everywhere:
        text += f" ({SAME_WEIGHTS})"
    if fewer := fewer_seeds(cell, most):
        text += f", {fewer}"
    if cell.difference is not None:
        text += f" ({difference_text(cell.difference)}{_mark(cell, judged)})"
    return text
