"""An older revision of this repository, for benchmarks that run it beside the new one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASELINE = "6a29b5a"
"""The revision that docs/performance.md compares with."""


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A temporary folder with the files of a revision; git knows nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision], check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive.stdout)
        yield Path(folder)
