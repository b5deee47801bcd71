"""The documents of this project, one reader each: results, baselines, exports and benchmarks.

What they return is checked, and still as it stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prologue_bench.errors import UserError
from prologue_bench.results import schema
from prologue_bench.results.checking import Mismatch, check, shown
from prologue_bench.results.consistency import (
    check_benchmarks,
    check_numbers,
    check_results,
    results_mismatches,
)
from prologue_bench.results.plain import Document, record
from prologue_bench.results.reading import LARGEST_DOCUMENT, MEGABYTE, parse, read_bytes, read_json

RESULTS = "results.json"
LARGEST_CONFIG = 16 * MEGABYTE
EXPECTED = "results written by 'prologue-bench run'"
VERSION = ("schema", schema.RESULTS_SCHEMA, f"results of schema {schema.RESULTS_SCHEMA}")


def read_results(path: Path) -> Document:
    """The results in a report's folder, or in a file, as they stand there. Raises UserError."""

    def check_all(results: Document) -> None:
        check(results, schema.Results)
        check_results(results)

    return _read_results(path, check_all)


def read_numbers(path: Path) -> Document:
    """Results or a baseline, of which only names and numbers are asked. Raises UserError."""

    def check_all(results: Document) -> None:
        check(results, schema.Numbers)
        check_numbers(results)

    return _read_results(path, check_all)


def _read_results(path: Path, check_all: Callable[[Document], None]) -> Document:
    content = results_bytes(path)
    file = results_file(path)
    return _checked(parse(content, file, EXPECTED), VERSION, check_all, file)


def results_file(path: Path) -> Path:
    """The file with the results of a report's folder; a file is that itself."""
    return path / RESULTS if path.is_dir() else path


def results_bytes(path: Path) -> bytes:
    """The content of the results in a report's folder, or of a file. Raises UserError."""
    file = results_file(path)
    try:
        return read_bytes(file, LARGEST_DOCUMENT, follow=file == path)
    except FileNotFoundError:
        raise UserError(
            f"{file}: no results; expected a folder written by 'prologue-bench run'"
        ) from None


def results_problems(document: object, file: Path) -> list[Mismatch]:
    """All that is wrong with the form of results, and how their parts fit; nothing if all is well.

    Raises UserError for a document that is none of results, or of another version.
    """
    _check_version(document, *VERSION, file)
    try:
        check(document, schema.Results)
    except Mismatch as wrong:
        return wrong.all
    return list(results_mismatches(document))  # type: ignore[arg-type]  # it was checked


def read_export(path: Path) -> schema.Export:
    """The config.json of an export. Raises UserError."""

    def check_all(config: Document) -> None:
        check(config, schema.Export)
        images, data = config["images"], config["data"]
        if [images[name] for name in ("channels", "height", "width")] != data["shape"]:
            raise Mismatch(f"found other images than in data.shape, {data['shape']}", "images")
        if images["class_names"] != data["classes"]:
            raise Mismatch("found other classes than in data.classes", "images", "class_names")

    config = read_json(path, "a folder written by 'prologue-bench export'", LARGEST_CONFIG)
    version = ("format", schema.EXPORT_FORMAT, f"{schema.EXPORT_FORMAT}; export the run again")
    return record(_checked(config, version, check_all, path), schema.Export)


def read_benchmarks(path: Path) -> tuple[schema.Benchmark, ...]:
    """The benchmarks in a JSON of pytest-benchmark. Raises UserError."""

    def check_all(found: Document) -> None:
        check(found, schema.BenchmarkFile)
        check_benchmarks(found["benchmarks"])

    expected = "the JSON that `make bench` writes"
    found = read_json(path, expected, follow=True)
    checked = _checked(found, None, check_all, path, f"; expected {expected}")
    return record(checked, schema.BenchmarkFile).benchmarks


def _check_version(document: object, name: str, known: int, expected: str, path: Path) -> None:
    """Raises UserError for a document that is none of this format, or of another version of it."""
    if not isinstance(document, dict) or type(document.get(name)) is not int:
        raise UserError(f"{path}: found another format, expected {expected}")
    if document[name] > known:
        raise UserError(
            f"{path}: {name} is {shown(document[name])}, written by a later version of "
            f"prologue-bench; this one reads {name} {known}: update it"
        )
    if document[name] < known:
        raise UserError(
            f"{path}: found another format, {name} {shown(document[name])}, expected {expected}"
        )


def _checked(
    document: object,
    version: tuple[str, int, str] | None,
    check_all: Callable[[Document], None],
    path: Path,
    more: str = "",
) -> Document:
    """A document without a mistake.

    `version` is the field with the version of the format, the one that is read, and how messages
    call it. Raises UserError.
    """
    if version is not None:
        _check_version(document, *version, path)
    try:
        check_all(document)  # type: ignore[arg-type]  # whatever it is: that is what is checked
    except Mismatch as wrong:
        raise UserError(f"{path}: {wrong}{more}") from None
    return document  # type: ignore[return-value]
