"""The artifact store: nothing half-written is ever taken for an artifact."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from prologue_bench.storage.store import Store


def test_a_lock_keeps_other_processes_waiting(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from prologue_bench.storage.store import Store\n"
        f"with Store(Path({str(store.root)!r})).lock('k'):\n"
        f"    Path({str(tmp_path / 'locked')!r}).touch(); time.sleep(1.8)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "locked").exists():
        time.sleep(0.01)
    start = time.monotonic()
    waits = []
    with store.lock("k", waiting=lambda: waits.append(1)):
        assert time.monotonic() - start > 0.5
    assert waits
    assert other.wait() == 0
