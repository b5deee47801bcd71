"""Which files this process opens.

Known by Python's audit events and, for safetensors, which is not Python, by its caller.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prologue_bench.storage import weights

_recorded: list[Path] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        event == "open"
        and _recorded is not None
        and isinstance(arguments[0], str | bytes | os.PathLike)
    ):
        _recorded.append(Path(os.path.abspath(os.fsdecode(arguments[0]))))


sys.addaudithook(_note)  # it cannot be taken away again, but notes nothing unless asked to


@contextmanager
def opened_files() -> Iterator[list[Path]]:
    """The files that are opened inside the block, each time anew."""
    global _recorded
    load_file = weights.load_file

    def noted(path: Path) -> Any:
        _note("open", (path,))
        return load_file(path)

    recorded = _recorded = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "load_file", noted)
        try:
            yield recorded
        finally:
            _recorded = None
