"""All that is wrong with a file of results, before others rely on it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from attrs import frozen

from prologue_bench.errors import UserError
from prologue_bench.results.budgets import unnamed_differences
from prologue_bench.results.checking import MOST_TOLD, Mismatch, check_plain
from prologue_bench.results.comparability import unequal
from prologue_bench.results.dates import wrong_dates
from prologue_bench.results.documents import (
    EXPECTED,
    results_bytes,
    results_file,
    results_problems,
)
from prologue_bench.results.findings import Findings
from prologue_bench.results.images import images_counted
from prologue_bench.results.integrity import altered, beside
from prologue_bench.results.layouts import wrong_layouts
from prologue_bench.results.migration import as_today
from prologue_bench.results.plain import record
from prologue_bench.results.plausibility import implausible, impossible_margins, unmeasured
from prologue_bench.results.possible_settings import impossible_settings
from prologue_bench.results.reading import decode
from prologue_bench.results.restated import restated_sampling, restated_values
from prologue_bench.results.schema import Results
from prologue_bench.results.searches import wrong_searches
from prologue_bench.results.spreadsheet import unlike_csv
from prologue_bench.results.stages import backward_curves, wrong_stages
from prologue_bench.results.sums import wrong_sums
from prologue_bench.texts.lines import one_line


@frozen(kw_only=True)
class Validation:
    """What came of validating a file: the results where they can be read, and what is wrong."""

    file: Path
    content: bytes
    results: Results | None
    problems: tuple[str, ...]
    """One line each; empty where nothing is wrong."""

    @property
    def summary(self) -> str:
        """What was checked, such as "4 variants, 3 seeds, 108 numbers with their protocols"."""
        assert self.results is not None, "only what can be read is right"
        results = self.results
        numbers = sum(len(run.measurements) for run in results.runs)
        files = len(beside(results, self.file.parent))
        parts = [
            _counted(len(results.variants), "variant"),
            _counted(len({run.seed for run in results.runs}), "training seed"),
            f"{_counted(numbers, 'number')} with their protocols",
            *([f"{_counted(files, 'file')} as their SHA-256 says"] if files else []),
            *(["an extract as it was made"] if results.extract is not None else []),
        ]
        return ", ".join(parts)


def validate(path: Path) -> Validation:
    """Everything that is wrong with the results in a report's folder, or of a file.

    What has not the form of results is not looked at any further. Raises UserError where no file
    can be read.
    """
    file, content = results_file(path), results_bytes(path)
    results: Results | None = None
    try:
        document = decode(content, file, EXPECTED)
        problems = _mismatches(document, file)
    except UserError as error:
        problems = [str(error).removeprefix(f"{file}: ")]
    if not problems:
        assert isinstance(document, dict), "it was checked"
        results = record(as_today(deepcopy(document)), Results)
        problems = [*_contradictions(results), *altered(document, results, file.parent)]
        problems += unlike_csv(results, file.parent)
    if len(problems) >= MOST_TOLD:
        problems[MOST_TOLD:] = [f"more may be wrong: only {MOST_TOLD} mistakes are told"]
    lines = tuple(map(one_line, problems))
    return Validation(file=file, content=content, results=results, problems=lines)


CHECKS: tuple[Callable[[Results, Findings], None], ...] = (
    wrong_dates,
    wrong_stages,
    backward_curves,
    impossible_settings,
    restated_values,
    unnamed_differences,
    wrong_layouts,
    unmeasured,
    wrong_searches,
    restated_sampling,
    images_counted,
    implausible,
    wrong_sums,
    unequal,
)
"""Each before those that rely on what it may refuse."""


def _contradictions(results: Results) -> list[str]:
    findings = Findings()
    for problem in impossible_margins(results):
        findings.tell(problem)
    for check in CHECKS:
        check(results, findings)
    return findings.problems


def _mismatches(document: object, file: Path) -> list[str]:
    try:
        check_plain(document)
    except Mismatch as wrong:
        return list(map(str, wrong.all))
    return list(map(str, results_problems(document, file)))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
