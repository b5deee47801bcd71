"""Nothing is read twice.

Artifacts are hashed when they are made, images only where their features are unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.artifacts import MANIFEST
from prologue_bench.storage.store import Store
from prologue_plugins.datasets import archives
from prologue_plugins.metrics.fid import GenerationFid, ReconstructionFid
from prologue_plugins.metrics.fidelity import Kid
from prologue_plugins.metrics.settings import FidSettings, KidSettings
from tests.conftest import Recorder
from tests.factories.image_folders import data, make_images
from tests.factories.measuring import inputs
from tests.opened import opened_files

pytestmark = pytest.mark.usefixtures("own_cache")


def test_another_plan_reads_manifests_once_and_no_artifact(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    assert (
        execute(
            make_plan(load(), Workspace(store)), Workspace(store), recorder, lambda: False
        ).failures
        == {}
    )
    again = Store(store.root)
    with opened_files() as opened:
        plan = make_plan(load(), Workspace(again))
    assert plan.missing == ()
    read = [path for path in opened if store.root / "artifacts" in path.parents]
    assert {path.name for path in read} == {MANIFEST}
    assert len(read) == len(set(read)) == len(plan.stages)


def test_a_run_s_metrics_share_features_by_what_is_known(
    load: Callable[..., Ablation], store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the pipeline: two metrics extract two sets once, and no set's pixels are hashed."""
    from prologue_plugins.metrics import features

    extracted = []
    extract = features.extract_features
    monkeypatch.setattr(
        features, "extract_features", lambda images, *a: extracted.append(1) or extract(images, *a)
    )
    monkeypatch.setattr(features, "_content", pytest.fail)
    for seed in (0, 1):
        metrics = f"metrics=[{{use: kid, subset_size: 4, subsets: 2, resize: 32, seed: {seed}}}]"
        plan = make_plan(load("vary={}", "baseline=", metrics), Workspace(store))
        assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    assert len(extracted) == 2


FEATURES = {"resize": 32}


def test_other_images_are_never_taken_for_known_ones(tmp_path: Path) -> None:
    source = data(make_images(tmp_path / "set"))
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    metric = GenerationFid(FidSettings(few_samples="shrink", **FEATURES))  # type: ignore[arg-type]

    def value(metric: GenerationFid | ReconstructionFid = metric, **changes: Any) -> float:
        return metric.measure(inputs(tmp_path, data=source, samples=samples, **changes))[0].value

    whole = value(known={"samples": "one"})
    part = GenerationFid(FidSettings(few_samples="shrink", images=30, **FEATURES))  # type: ignore[arg-type]
    assert value(part, known={"samples": "one"}) == value(part) != whole
    assert value(known={"samples": "one"}) == whole == value()
    other = GenerationFid(FidSettings(few_samples="shrink", resize=48))
    assert value(other, known={"samples": "one"}) != whole


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
