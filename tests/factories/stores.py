"""Artifacts in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prologue_bench.storage.store import Store


def put(store: Store, key: str, text: str = "content", **details: Any) -> Path:
    output = store.work(key) / "output"
    output.mkdir(parents=True)
    (output / "file.txt").write_text(text)
    return store.commit(key, output, {"kind": "test", "seconds": 1.0, **details}).folder
