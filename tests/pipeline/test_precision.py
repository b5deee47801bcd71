"""A model computes in the precision of its training, wherever tokens become images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.runs.exports import describe_export, load_export, write_config, write_weights
from prologue_bench.runs.loading import load_run
from prologue_bench.storage.store import Store
from prologue_plugins.tokenizers.prologue import Prologue
from tests.conftest import Recorder

VARIANT = "prologue_tokens=2"


def seen_of(monkeypatch: pytest.MonkeyPatch) -> set[bool]:
    """Whether autocast was on where ids were decoded, of all calls from now on.

    Where operations are counted there is no computing.
    """
    seen: set[bool] = set()
    decode = Prologue.decode

    def watched(self: Prologue, ids: Tensor) -> Tensor:
        if _get_current_dispatch_mode() is None:
            seen.add(torch.is_autocast_enabled("cpu"))
        return decode(self, ids)

    monkeypatch.setattr(Prologue, "decode", watched)
    return seen


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_samples_pictures_exports_and_drawings_are_decoded_as_trained(
    load: Callable[..., Ablation],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    precision: str,
) -> None:
    ablation = load(
        "vary.tokenizer.prologue_tokens=[2]",
        "baseline={tokenizer.prologue_tokens: 2}",
        "metrics=[gfid, speed, coding-speed, {use: layout, groups_per_class: 2, group_size: 2}]",
        "sampling.search={grid: {temperature: [0.9, 1.0]}, samples: 8, validation_images: 16}",
        f"tokenizer_training.precision={precision}",
        f"generator_training.precision={precision}",
    )
    half, seen = precision == "bfloat16", seen_of(monkeypatch)
    plan, recorder = make_plan(ablation, Workspace(store)), Recorder()
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    assert outcome.failures == {}
    assert {"search", "sample", "reconstruct", "picture-samples", "picture-tokens"} <= set(
        recorder.kinds
    )
    assert seen == {half}, "samples, reconstructions, pictures and metrics"
    seen.clear()
    results, _ = collect(plan, outcome, Workspace(store))
    run = load_run(results, store, Registry.load(), VARIANT, 0)
    ids = run.draw(torch.zeros(2, dtype=torch.int64), 0)
    images = run.decode(ids)
    assert seen == {half}, "`sample` and `demo`"
    write_weights(run, tmp_path)
    write_config(describe_export(run, results, Registry.load()), tmp_path)
    again = load_export(tmp_path)
    assert again.precisions == run.precisions
    assert np.array_equal(again.decode(ids), images)
    assert seen == {half}, "exports"
