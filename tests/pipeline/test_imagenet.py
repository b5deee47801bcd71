"""ImageNet from a zip and from folders, on a miniature of the same structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline import tokens
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.storage.store import Store
from tests.conftest import Recorder
from tests.factories.imagenet import make_zip

pytestmark = pytest.mark.usefixtures("own_cache")


def test_the_zip_goes_through_the_whole_pipeline(
    tmp_path: Path,
    load: Callable[..., Ablation],
    store: Store,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "SHARD", 50)
    path = make_zip(tmp_path / "imagenet.zip")
    ablation = load(
        "vary={}",
        "baseline=null",
        "tokenizer.prologue_tokens=2",
        "tokenizer.patch_size=8",
        f"data={{use: imagenet, root: {path}, size: 16}}",
        "metrics=[rate]",
        "tokenizer_training.workers=1",
        "tokenizer_training.batch_size=8",
        "generator_training.batch_size=8",
    )
    plan = make_plan(ablation, store)
    assert execute(plan, store, recorder, lambda: False).failures == {}
    artifact = store.get(plan.pipelines[0].tokens.key)
    assert sorted(file.name for file in artifact.folder.glob("*.npy")) == [
        "test.npy",
        "train-00000.npy",
        "train-00001.npy",
        "train-00002.npy",
    ]
    ids = tokens.open_tokens(artifact.folder, "train")
    assert (len(ids), ids[[119, 0]].shape) == (120, (2, 6))
    assert tokens.read_tokens(artifact.folder, "train", every=10).shape == (12, 6)
    with pytest.raises(IndexError):
        ids[[120]]
