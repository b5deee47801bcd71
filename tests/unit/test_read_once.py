"""Nothing is read twice.

Artifacts are hashed when they are made, images only where their features are unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prologue_bench.storage.store import Store
from prologue_plugins.datasets import archives
from prologue_plugins.metrics.fid import GenerationFid
from prologue_plugins.metrics.fidelity import Kid
from prologue_plugins.metrics.settings import FidSettings, KidSettings
from tests.factories.image_folders import data, keep_times, make_images
from tests.factories.measuring import inputs
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


class Unread:
    """Images that nobody may look at."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: Any) -> np.ndarray:
        raise AssertionError("these images are known")


def test_features_of_known_images_are_found_without_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's test images are decoded once for all metrics; samples are known by artifact."""
    decoded = []
    source = data(make_images(tmp_path / "set"))
    _ = source.labels("test")
    read = archives.read_picture
    monkeypatch.setattr(archives, "read_picture", lambda *given: decoded.append(1) or read(*given))
    samples = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    given = inputs(tmp_path, data=source, samples=samples, known={"samples": "one", "test": "two"})
    gfid, kid = (
        FidSettings(few_samples="shrink", **FEATURES),
        KidSettings(subset_size=4, subsets=2, **FEATURES),
    )  # type: ignore[arg-type]
    first = GenerationFid(gfid).measure(given)[0].value
    assert len(decoded) == 8
    unread = inputs(
        tmp_path, data=source, samples=Unread(), known={"samples": "one", "test": "two"}
    )
    assert GenerationFid(gfid).measure(unread)[0].value == first
    Kid(kid).measure(unread)
    assert len(decoded) == 8


def test_a_damaged_file_of_features_is_made_anew(tmp_path: Path) -> None:
    source = data(make_images(tmp_path / "set"))
    samples = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), dtype=np.uint8)
    metric = GenerationFid(FidSettings(few_samples="shrink", **FEATURES))  # type: ignore[arg-type]
    first = metric.measure(inputs(tmp_path, data=source, samples=samples))[0].value
    for kept in (tmp_path / "features").glob("*/features.npy"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert metric.measure(inputs(tmp_path, data=source, samples=samples))[0].value == first


def test_a_reference_s_images_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prologue_plugins.metrics import references

    source = data(make_images(tmp_path / "set"))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "reference.npz"
    np.savez(path, arr_0=images)
    unpacked = []
    read = references._read
    monkeypatch.setattr(
        references, "_read", lambda path, names: unpacked.append(names) or read(path, names)
    )
    metric = GenerationFid(FidSettings(few_samples="shrink", reference=str(path), **FEATURES))  # type: ignore[arg-type]
    samples = images.transpose(0, 3, 1, 2)[:30]
    values = [
        metric.measure(inputs(tmp_path, data=source, samples=samples))[0].value for _ in range(2)
    ]
    assert values[0] == values[1]
    assert len(unpacked) == 1
    np.savez(path, arr_0=images[::-1] // 2)
    assert metric.measure(inputs(tmp_path, data=source, samples=samples))[0].value != values[0]
    assert len(unpacked) == 2
