"""docs/leaderboard.md, made from registry/results: python -m pages.leaderboard writes it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pages import zoo
from prologue_bench.config.presets import (
    PUBLISHED,
    Reference,
    ReferenceRow,
    find_preset,
    load_references,
)
from prologue_bench.config.structure import structure
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.reporting.standings import Column, Row, Standings, standings
from prologue_bench.reporting.summary import warnings
from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import ComponentSettings, Results, Scalar
from prologue_bench.stats.differences import Cell
from prologue_bench.texts.markdown import markdown_line
from prologue_bench.texts.numbers import to_digits
from prologue_bench.texts.ranges import ranges

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "leaderboard.md"
FOLDER = ROOT / "registry" / "results"
START = """\
# Leaderboard

Measured numbers come first, and published ones after them. The two never stand in one table: what
a paper prints was measured in its own way. [A row of your own](leaderboard-rows.md) comes in by a
pull request. This page is made from `registry/` by `python -m pages.leaderboard`.

## Measured

Each table is of one data set, one size of images and one protocol of the metric that it ranks by,
which is the first one. Rows may differ in size and training, which stand at their end.

- Numbers are means over training seeds with their 95% intervals. With one seed, and of frozen
  models, the interval is over images.
- A rank is one more than the number of rows whose intervals lie wholly on the better side. Rows
  that share a rank have an =. Each pair is judged on its own: of pairs that are truly equal, about
  one in two hundred is ranked apart by chance, and up to one in twenty where one row is much
  noisier than the other.
- Rows stand in the order of their ranks: a noisy row may stand above one with a better mean, which
  more rows are known to beat.
- A row of one seed has no rank and comes last: the noise of its training is not known. So does one
  that has collapsed, in whichever seed: being cheap to code is then no merit.
- A model that several ablations have in common is one row.
- The report of a run tells its variants apart more sharply: it compares them seed by seed.
"""
EMPTY = "\nNothing has been measured yet.\n"
PUBLISHED_START = """
## Published

As printed by the authors, and not measured here. The rows of the paper share a protocol. Those of
tokenizers and generators each have their own, which [zoo.md](zoo.md) tells; they are sorted by
their first column, and that is no ranking. These numbers are those of the cards in `registry/`.
"""
SHOWN_SIZES = {
    "Tokens × codes": "tokens × codes",
    "Parameters": "parameters",
    "Training": "training",
}
"""Headings by the titles of sizes."""

LONGEST = 30
"""Characters of a setting's value in a heading; of a longer one it has the name alone."""


def results_in(folder: Path) -> dict[str, Results]:
    """The results of a folder by the names of their files."""
    return {path.stem: load_results(path) for path in sorted(folder.glob("*.json"))}


def page(found: Mapping[str, Results], registry: Registry) -> str:
    """The page, of results by name."""
    tables = standings(found)
    names = [*registry.cards("references"), *PUBLISHED]
    return "".join(
        [
            START,
            *(
                part
                for table, title in zip(tables, _titles(tables), strict=True)
                for part in _measured(table, title, found, registry)
            ),
            *([] if tables else [EMPTY]),
            PUBLISHED_START,
            *(
                part
                for reference in load_references(names, registry, "the page")
                for part in _published(reference, registry)
            ),
        ]
    )


def _titles(tables: Sequence[Standings]) -> list[str]:
    """A heading for each table, with what tells it from others of the same data and metric."""
    plain = [_title(table) for table in tables]
    alike = [
        [table for table, other in zip(tables, plain, strict=True) if other == title]
        for title in plain
    ]
    full = [
        title + _apart(table, others)
        for title, table, others in zip(plain, tables, alike, strict=True)
    ]
    return [
        markdown_line(title if full.count(title) == 1 else f"{title}, {table.columns[0].digest}")
        for table, title in zip(tables, full, strict=True)
    ]


def _title(table: Standings) -> str:
    _, height, width = table.data.shape
    return f"{table.data.name}, {height} × {width}: {table.columns[0].info.title}"


def _apart(table: Standings, alike: Sequence[Standings]) -> str:
    """What of data and protocol the others do not have; empty where that is nothing."""
    others = [_told_apart(each) for each in alike]
    return "".join(
        f", {key.removeprefix('sampling.')}{f' {value}' if len(str(value)) <= LONGEST else ''}"
        for key, value in _told_apart(table).items()
        if any(key not in other or other[key] != value for other in others)
    )


def _told_apart(table: Standings) -> dict[str, Scalar]:
    """Data, protocol and unit; where the protocol names the data, these once."""
    data, first = table.data.fingerprint, table.columns[0]
    details = {key: value for key, value in first.protocol.details.items() if value != data}
    unit = first.info.unit or "none"
    return {"data": data, **details, "unit": unit, "better": first.info.direction}


def _measured(
    table: Standings, title: str, found: Mapping[str, Results], registry: Registry
) -> Iterator[str]:
    yield f"\n### {title}\n\n"
    shown = [
        size
        for size in SHOWN_SIZES
        if any(
            each.title == size and row.variant.name in each.texts
            for row in table.rows
            for each in row.sizes
        )
    ]
    units = {each.title: each.unit for row in table.rows for each in row.sizes}
    heads = [
        "rank",
        "variant",
        *map(_head, table.columns),
        "seeds",
        *(SHOWN_SIZES[size] + (f" ({units[size]})" if units[size] else "") for size in shown),
        "models",
    ]
    yield f"| {' | '.join(heads)} |\n"
    yield f"| --- | --- |{' ---: |' * (len(heads) - 3)} --- |\n"
    for row in table.rows:
        yield f"| {' | '.join(_cells(row, table.columns, shown, registry))} |\n"
    yield "\nHow it was measured:\n\n"
    for column in table.columns:
        yield f"- {_protocol(column)}\n"
    names = list(
        dict.fromkeys(
            name for row in table.rows for name in (row.name, *(other for other, _ in row.also))
        )
    )
    yield "\nBy which runs:\n\n"
    for name in names:
        yield f"- {_origin(name, found[name], table)}\n"
    if told := [
        f"`{name}`, {each}" for name in names for each in map(markdown_line, warnings(found[name]))
    ]:
        yield "\nWarnings:\n\n"
        yield from (f"- {each}\n" for each in told)
    for remark in dict.fromkeys(remark for name in names for remark in found[name].remarks):
        having = ", ".join(f"`{name}`" for name in names if remark in found[name].remarks)
        yield f"\n{having}: {markdown_line(remark)}\n"


def _head(column: Column) -> str:
    info = column.info
    unit = f" ({info.unit})" if info.unit else ""
    return markdown_line(f"{info.title} {info.arrow}{unit}")


def _cells(
    row: Row, columns: Sequence[Column], shown: Sequence[str], registry: Registry
) -> Iterator[str]:
    variant = row.variant
    texts = {size.title: size.texts.get(variant.name, "") for size in row.sizes}
    yield str(row.rank or "")
    own, *also = (
        f"`{name}`: {markdown_line(each)}" for name, each in ((row.name, variant.name), *row.also)
    )
    also_text = f", also {', '.join(also)}" if also else ""
    yield f"{own}{' (collapsed)' * (row.collapsed is not None)}{also_text}"
    yield from (_number(row.cells.get(column.key)) for column in columns)
    yield str(row.cells[columns[0].key].seeds)
    yield from (texts.get(size, "") for size in shown)
    tokenizer = _is_really(variant.settings.tokenizer, registry)
    yield f"`{tokenizer}`, `{variant.settings.generator.use}`"


def _is_really(tokenizer: ComponentSettings, registry: Registry) -> str:
    """The tokenizer's name, or of which it is the same with its settings.

    So a prologue of no tokens is the 2D baseline. One that is not known here, or whose settings are
    those of another version, has its own name.
    """
    entry = registry.entries["tokenizer"].get(tokenizer.use)
    if entry is None:
        return tokenizer.use
    try:
        settings = structure(entry.component.load_settings(), tokenizer.settings, "the page")
    except UserError:
        return tokenizer.use
    same: tuple[str, object] | None = getattr(settings, "same_as", lambda: None)()
    return tokenizer.use if same is None else same[0]


def _number(cell: Cell | None) -> str:
    if cell is None:
        return ""
    width = cell.half_width
    return to_digits(cell.mean, width) + (f" ± {to_digits(width, width)}" if width else "")


def _protocol(column: Column) -> str:
    protocol = column.protocol
    details = "; ".join(f"{key} {value}" for key, value in protocol.details.items())
    text = f"{column.info.title}: {protocol.name}, {details}."
    if protocol.counterpart and protocol.note:
        text += f" Not comparable with published {protocol.counterpart}: {protocol.note}."
    return markdown_line(text)


def _origin(name: str, found: Results, table: Standings) -> str:
    """Where the rows of one file are from."""
    (source, *_) = [
        each for each in found.origins if each.data.fingerprint == table.data.fingerprint
    ]
    software = source.software
    report = (
        f", [report](../reports/{name}/results.md)"
        if _is_of_report(found, ROOT / "reports" / name)
        else ""
    )
    text = (
        f"profile {source.profile}, training seeds {ranges(source.seeds)}, {source.created[:10]}, "
        f"prologue-bench {software.get('prologue-bench', 'unknown')}, "
        f"revision {software.get('git', 'unknown')}"
    )
    link = f"[`{name}`](../registry/results/{name}.json)"
    return f"{link}, {markdown_line(found.title)}{report}: {markdown_line(text)}"


def _is_of_report(found: Results, report: Path) -> bool:
    """Whether results are an extract of those of a report."""
    path = report / "results.json"
    if found.extract is None or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == found.extract.of


def _published(reference: Reference, registry: Registry) -> Iterator[str]:
    of_presets = reference.name in PUBLISHED
    rows = dict(reference.rows)
    if of_presets:
        rows = dict(sorted(rows.items(), key=lambda item: _first_number(item[1])))
    yield f"\n### {reference.summary.partition(',')[0].removesuffix('.')}\n\n"
    yield f"Source: {reference.source}. Protocol: {reference.protocol}.\n\n"
    heads = ["published model", *reference.columns, *(["source"] if of_presets else [])]
    yield f"| {' | '.join(heads)} |\n"
    sides = ["---", *["---:"] * len(reference.columns), *(["---"] if of_presets else [])]
    yield f"| {' | '.join(sides)} |\n"
    for key, row in rows.items():
        numbers = [each or "" for each in row.values]
        if of_presets:
            cells = [
                f"[`{key}`](zoo.md#{zoo.anchor(key)})",
                *numbers,
                _source(reference, key, registry),
            ]
        else:
            cells = [row.title, *numbers]
        yield f"| {' | '.join(cells)} |\n"


def _first_number(row: ReferenceRow) -> float:
    first = row.values[0]
    return float(first) if first else math.inf


def _source(reference: Reference, preset: str, registry: Registry) -> str:
    """A link to what the authors published."""
    kind, _ = PUBLISHED[reference.name]
    found = find_preset(kind, preset, registry)
    assert found is not None
    assert found.release is not None
    return f"[code]({found.release.code})"


if __name__ == "__main__":
    PAGE.write_text(page(results_in(FOLDER), Registry.load()), encoding="utf-8")
