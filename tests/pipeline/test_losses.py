"""Perceptual and adversarial losses."""

from __future__ import annotations

from collections.abc import Callable

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.storage.store import Store
from tests.conftest import Recorder


def test_a_tokenizer_trains_with_an_adversarial_loss(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    ablation = load(
        "vary.tokenizer.prologue_tokens=[2]",
        "baseline=null",
        "tokenizer_training.losses=[{use: patchgan, width: 8, layers: 1, start_step: 5}]",
    )
    plan = make_plan(ablation, store)
    assert execute(plan, store, recorder, lambda: False).failures == {}
    curves = (store.get(plan.pipelines[0].tokenizer.key) / "curves.jsonl").read_text()
    assert "loss_patchgan/discriminator" in curves
    weights = (store.get(plan.pipelines[0].tokenizer.key) / "tokenizer.safetensors").read_bytes()
    assert b"discriminator" not in weights
