"""The documents of this project, one reader each: results, baselines, exports and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prologue_bench.errors import UserError
from prologue_bench.results import schema
from prologue_bench.results.checking import Mismatch, check, shown
from prologue_bench.results.consistency import check_benchmarks, check_numbers, check_results
from prologue_bench.results.reading import LARGEST_DOCUMENT, MEGABYTE, parse, read_bytes, read_json

RESULTS = "results.json"
LARGEST_CONFIG = 16 * MEGABYTE


def read_results(path: Path) -> dict[str, Any]:
    """The results in a report's folder, or in a file, as they stand there. Raises UserError."""

    def check_all(results: Mapping[str, Any]) -> None:
        check(results, schema.Results)
        if results.get("sources") is None:
            check(results, schema.OwnSource)
        check_results(results)

    return _read_results(path, check_all)


def read_numbers(path: Path) -> dict[str, Any]:
    """Results or a baseline, of which only names and numbers are asked. Raises UserError."""

    def check_all(results: Mapping[str, Any]) -> None:
        check(results, schema.Numbers)
        check_numbers(results)

    return _read_results(path, check_all)


def _read_results(path: Path, check_all: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    named = not path.is_dir()
    file = path if named else path / RESULTS
    try:
        content = read_bytes(file, LARGEST_DOCUMENT, follow=named)
    except FileNotFoundError:
        raise UserError(
            f"{file}: no results; expected a folder written by 'prologue-bench run'"
        ) from None
    results = parse(content, file, "results written by 'prologue-bench run'")
    _check_version(
        results, "schema", schema.RESULTS_SCHEMA, file, f"results of schema {schema.RESULTS_SCHEMA}"
    )
    _checked(results, check_all, file)
    return results  # type: ignore[no-any-return]


def read_export(path: Path) -> dict[str, Any]:
    """The config.json of an export. Raises UserError."""

    def check_all(config: Mapping[str, Any]) -> None:
        check(config, schema.Export)
        images, data = config["images"], config["data"]
        if [images[name] for name in ("channels", "height", "width")] != data["shape"]:
            raise Mismatch(f"found other images than in data.shape, {data['shape']}", "images")
        if images["class_names"] != data["classes"]:
            raise Mismatch("found other classes than in data.classes", "images", "class_names")

    config = read_json(path, "a folder written by 'prologue-bench export'", LARGEST_CONFIG)
    _check_version(
        config,
        "format",
        schema.EXPORT_FORMAT,
        path,
        f"{schema.EXPORT_FORMAT}; export the run again",
    )
    _checked(config, check_all, path)
    return config  # type: ignore[no-any-return]


def read_benchmarks(path: Path) -> list[dict[str, Any]]:
    """The benchmarks in a JSON of pytest-benchmark. Raises UserError."""

    def check_all(found: Mapping[str, Any]) -> None:
        check(found, schema.BenchmarkFile)
        check_benchmarks(found["benchmarks"])

    expected = "the JSON that `make bench` writes"
    found = read_json(path, expected, follow=True)
    _checked(found, check_all, path, f"; expected {expected}")
    return found["benchmarks"]  # type: ignore[no-any-return]


def _check_version(document: Any, name: str, known: int, path: Path, expected: str) -> None:
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
    document: Any, check_all: Callable[[Mapping[str, Any]], None], path: Path, more: str = ""
) -> None:
    try:
        check_all(document)
    except Mismatch as wrong:
        raise UserError(f"{path}: {wrong}{more}") from None
