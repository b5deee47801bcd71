"""Nothing is read twice.

Artifacts are hashed when they are made, images only where their features are unknown.
"""

from __future__ import annotations

import pytest

from prologue_bench.storage.store import Store
from tests.factories.image_folders import keep_times
from tests.factories.stores import put
from tests.opened import opened_files

FEATURES = {"resize": 32}

pytestmark = pytest.mark.usefixtures("own_cache")


def test_an_artifact_is_read_once_when_it_is_committed(store: Store) -> None:
    output = store.work("k") / "output"
    output.mkdir(parents=True)
    for name in ("a", "b"):
        (output / name).write_text(name)
    with opened_files() as opened:
        store.commit("k", output, {"kind": "test"})
        Store(store.root).get("k")
    read = [path.name for path in opened if path.name in ("a", "b")]
    assert sorted(read) == ["a", "b"]


def test_damage_is_found_whatever_the_state_says(store: Store) -> None:
    folder = put(store, "k")
    keep_times(folder / "file.txt", lambda: (folder / "file.txt").write_text("c0ntent"))
    assert Store(store.root).find("k") is None
    assert Store(store.root).check(folder) == ["file.txt is not what was written"]


def test_verify_reads_every_file(store: Store) -> None:
    folder = put(store, "k")
    with opened_files() as opened:
        assert Store(store.root).check(folder) == []
    assert sum(path.name == "file.txt" for path in opened) == 1
