"""Reading results, of whatever version, as they are written today."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from prologue_bench.results.documents import RESULTS as RESULTS
from prologue_bench.results.documents import read_numbers, read_results
from prologue_bench.results.migration import as_today
from prologue_bench.storage.placing import recover


def load_results(folder: Path) -> dict[str, Any]:
    """The results in a report's folder, or of a file.

    Raises UserError when there are none, or they are not whole.
    """
    with contextlib.suppress(OSError):  # a folder that may not be written is read as it is
        recover(folder if folder.is_dir() else folder.parent, RESULTS)
    return as_today(read_results(folder))


def load_numbers(path: Path) -> dict[str, Any]:
    """As `load_results`, also of a baseline: what it has are names, numbers and protocols."""
    with contextlib.suppress(OSError):
        recover(path if path.is_dir() else path.parent, RESULTS)
    return as_today(read_numbers(path))
