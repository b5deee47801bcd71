"""An interrupted stage goes on with as many threads as it began with.

Sums over threads depend on their number in the last digits, and so does what is trained. How many
jobs run side by side, and so how many threads each has, may differ from one start to the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from prologue_bench.notices import notice
from prologue_bench.storage.files import write_text
from prologue_bench.storage.unfinished import checked_text, read_checked

NOTE = "threads"
"""The file in a stage's folder, while it is not finished."""


@contextlib.contextmanager
def threads_as_before(folder: Path, label: str) -> Iterator[int]:
    """Inside, torch has the threads with which the stage of a folder began; yields their number.

    Where that are more than there are cores, it keeps those that it has, and a line says what comes
    of it.
    """
    import joblib
    import torch

    now = torch.get_num_threads()
    before = int(read_checked(folder / NOTE) or now)
    if before > max(now, joblib.cpu_count()):
        notice(
            f"{label} began with {before} threads and goes on with {now}, since there are fewer "
            "cores here: its numbers will differ in their last digits from those of a run that was "
            "not interrupted"
        )
        before = now
    with contextlib.suppress(OSError):  # on a full disk the error that matters is on its way
        write_text(folder / NOTE, checked_text(str(before)))
    if before == now:
        yield now
        return
    torch.set_num_threads(before)
    try:
        yield before
    finally:
        torch.set_num_threads(now)
