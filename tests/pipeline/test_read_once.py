"""Nothing is read twice.

Artifacts are hashed when they are made, images only where their features are unknown.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.storage.artifacts import MANIFEST
from prologue_bench.storage.store import Store
from tests.conftest import Recorder
from tests.opened import opened_files

pytestmark = pytest.mark.usefixtures("own_cache")


def test_another_plan_reads_manifests_once_and_no_artifact(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    assert execute(make_plan(load(), store), store, recorder, lambda: False).failures == {}
    again = Store(store.root)
    with opened_files() as opened:
        plan = make_plan(load(), again)
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
        plan = make_plan(load("vary={}", "baseline=", metrics), store)
        assert execute(plan, store, recorder, lambda: False).failures == {}
    assert len(extracted) == 2
