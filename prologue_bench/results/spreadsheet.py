"""Whether the CSV of a report has the numbers of its results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from prologue_bench.errors import UserError
from prologue_bench.results.checking import shown
from prologue_bench.results.frame import measured
from prologue_bench.results.reading import LARGEST_DOCUMENT, read_bytes
from prologue_bench.results.schema import Results
from prologue_bench.stats.measured import Measured
from prologue_bench.texts.lines import plain_text

CSV = "results.csv"
"""The file in a report's folder that has all measurements, one per line."""
TEXTS = ("variant", "metric")
NUMBERS = ("seed", "sampling_seed", "value", "half_width", "count")


def unlike_csv(results: Results, folder: Path) -> Iterator[str]:
    """A sentence for each line of the CSV beside results that has other numbers than they.

    Nothing where there is none, and for an extract, which has fewer numbers than the report.
    """
    if results.extract is not None or not (folder / CSV).is_file():
        return
    try:
        content = read_bytes(folder / CSV, LARGEST_DOCUMENT)
    except UserError as error:
        yield str(error)
        return
    lines = csv.DictReader(io.StringIO(content.decode("utf-8", errors="replace"), newline=""))
    if missing := [name for name in (*TEXTS, *NUMBERS) if name not in (lines.fieldnames or ())]:
        yield f"{CSV}: found no column {', '.join(missing)}"
        return
    try:
        rows = [dict(row) for row in lines]
    except csv.Error as error:
        yield f"{CSV}: {error}"
        return
    expected = measured(results)
    if len(rows) != len(expected):
        yield f"{CSV}: found {len(rows)} numbers, expected {len(expected)} as in the results"
        return
    yield from _unlike(rows, expected)


def _unlike(rows: Sequence[dict[str, str | None]], expected: Sequence[Measured]) -> Iterator[str]:
    for index, (row, each) in enumerate(zip(rows, expected, strict=True)):
        for name in TEXTS:
            text = plain_text(getattr(each, name))
            if row[name] not in (text, f"'{text}"):  # a quote keeps it from being a formula
                yield f"{CSV}, number {index + 1}: found {shown(row[name])}, expected {shown(text)}"
        for name in NUMBERS:
            number, found = getattr(each, name), row[name]
            if _number(found) != number and not (number is None and found == ""):
                place = f"{each.variant}, seed {each.seed}, {each.metric}, {name}"
                yield f"{CSV}: {place}: found {shown(found)}, expected {number} as in the results"


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
