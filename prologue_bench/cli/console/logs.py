"""What stages write into their logs, while they write it and in whatever process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prologue_bench.storage.artifacts import LOG
from prologue_bench.storage.store import Store

LOOK_EVERY_SECONDS = 1.0


class StageLog:
    """The lines of a stage's log that have not been shown; earlier attempts' count as shown."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.shown: Counter[str] = Counter()
        self.looked = time.monotonic()
        for _ in self.new_lines():
            pass

    def is_due(self) -> bool:
        """Whether the last look is so long ago that another is worth its time."""
        return time.monotonic() - self.looked >= LOOK_EVERY_SECONDS

    def new_lines(self) -> Iterator[str]:
        """What came since the last look. Lines that a training's log has, too, come once."""
        self.looked = time.monotonic()
        for path in self._files():
            found: Counter[str] = Counter()
            with suppress(OSError):
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    found[line] += 1
                    if line.strip() and found[line] > self.shown[line]:
                        yield line.rstrip()
            self.shown |= found

    def _files(self) -> list[Path]:
        work = self.store.work(self.key)
        return [
            work / "output" / LOG,
            *sorted(work.glob("run/*/*.log")),
            self.store.artifact(self.key) / LOG,
        ]
