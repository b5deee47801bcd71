"""What tests of stages in worker processes share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from prologue_bench.pipeline.executor import Jobs
from prologue_bench.pipeline.planner import PlannedStage
from prologue_bench.storage.files import checksum
from prologue_bench.storage.store import Store
from tests.conftest import Recorder

TWO = Jobs(2)
DIFFERS = {"manifest.json", "log.txt", "curves.jsonl"}
"""What holds times."""


class Listener(Recorder):
    """Remembers how many stages ran at a time, too."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.most = 0
        self.losses: set[str] = set()

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        super().started(planned, index, total)
        self.running += 1
        self.most = max(self.most, self.running)

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        self.losses |= losses.keys()

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self.running -= 1

    def failed(self, planned: PlannedStage, reason: str) -> None:
        super().failed(planned, reason)
        self.running -= 1


def never() -> bool:
    return False


def contents(store: Store) -> dict[str, str]:
    """Checksums of all that stages made."""
    files = (path for path in store.root.glob("artifacts/*/*") if path.name not in DIFFERS)
    return {f"{path.parent.name}/{path.name}": checksum(path) for path in files}


def children() -> list[int]:
    """Processes that this one has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
            if (
                int(fields[1]) == os.getpid()
                and fields[0] != "Z"
                and b"executors.worker" in command
            ):
                found.append(int(path.parent.name))
    return found
