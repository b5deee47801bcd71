"""What costs time to make and may be made anew.

Artifacts of a cache folder, each under a manifest of checksums. They are shared by runs, and hold
nothing that could not be lost. `store verify` checks them, and `store gc` removes those that are
damaged or old.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from prologue_bench.notices import notice
from prologue_bench.storage.artifacts import (
    Artifact,
    Damage,
    damages,
    put_in_place,
    read_artifact,
    seal_artifact,
)
from prologue_bench.storage.checksums import known_checksums
from prologue_bench.storage.leftovers import make_folder, remove_entry
from prologue_bench.storage.locks import locked
from prologue_bench.storage.names import named_path

LOCKS = ".locks"
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def find_kept(cache: Path, kind: str, key: str) -> Artifact | None:
    """What is kept under a key.

    None where there is nothing, or it is damaged, which is said, or not ours to read.
    """
    folder = named_path(cache / kind, key, kind)
    if not os.path.lexists(folder):
        return None
    try:
        artifact = read_artifact(folder, key)
        problem = next(damages(artifact, known_checksums), "")
    except Damage as damage:
        problem = str(damage)
    except PermissionError:
        return None
    if problem:
        notice(f"{folder} is damaged ({problem}); it is made anew")
        return None
    return artifact


def keep(cache: Path, kind: str, key: str, write: Callable[[Path], None], of: str = "") -> None:
    """Keep what `write(folder)` writes under a key, for `find_kept`.

    Nothing is kept where the cache may not be written. `of` is what `store ls` shows beside it.
    """
    folder = named_path(cache / kind, key, kind)
    aside = folder.with_name(f".{key}.{os.getpid()}")
    try:
        make_folder(cache)
        with locked(cache / LOCKS / f"{key}.lock"):
            make_folder(folder.parent)
            remove_entry(aside)
            aside.mkdir()
            write(aside)
            details = {
                "kind": kind,
                "experiment": of,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            note = seal_artifact(aside, key, details)
            if put_in_place(aside, folder):
                note(folder)
    except OSError as error:
        remove_entry(aside)
        if error.errno not in NOT_WRITABLE:
            raise
