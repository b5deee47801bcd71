"""Reading results, of whatever version, as records."""

from __future__ import annotations

import contextlib
from pathlib import Path

from prologue_bench.results.documents import RESULTS, read_numbers, read_results
from prologue_bench.results.migration import as_today
from prologue_bench.results.plain import record
from prologue_bench.results.schema import Numbers, Results
from prologue_bench.storage.files import user_path
from prologue_bench.storage.placing import recover


def load_results(path: str | Path) -> Results:
    """The results in a report's folder, or of a file.

    Raises UserError when there are none, or they are not whole.
    """
    path = user_path(path, "results")
    _recover(path)
    return record(as_today(read_results(path)), Results)


def load_numbers(path: Path) -> Numbers:
    """As `load_results`, also of a baseline: what it has are names, numbers and protocols."""
    _recover(path)
    return record(as_today(read_numbers(path)), Numbers)


def _recover(path: Path) -> None:
    """Put in place what a killed writer could not."""
    with contextlib.suppress(OSError):  # a folder that may not be written is read as it is
        recover(path if path.is_dir() else path.parent, RESULTS)
