"""Whatever stands in the store, only what was written there under its own key is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prologue_bench.storage.locks import try_lock
from prologue_bench.storage.store import Store


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_lock_of_another_user_is_opened_as_far_as_permissions_allow(
    store: Store, tmp_path: Path
) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)
    lock = store.root / "locks" / "k.lock"
    lock.parent.mkdir(parents=True)
    lock.touch(mode=0o644)
    reading, writing = os.pipe()
    child = os.fork()  # Python itself may lie where the other user cannot start it
    if child == 0:
        os.setgroups([])
        os.setgid(23450)
        os.setuid(23451)
        found = [str(try_lock(lock) is not None)]
        try:
            try_lock(lock.with_name("new.lock"))
        except OSError as error:
            found.append(f"{error.strerror}: {error.filename}")
        os.write(writing, "\n".join(found).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read().splitlines() == [
            "True",
            f"Permission denied: {lock.with_name('new.lock')}",
        ]
