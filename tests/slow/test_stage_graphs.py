"""Every tokenizer and generator in whole runs."""

from __future__ import annotations

from collections.abc import Callable

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from tests.conftest import Recorder


def test_every_tokenizer_and_generator_goes_through_the_pipeline(
    load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    ablation = load(
        "vary={}",
        "baseline=1d",
        "metrics=[rate, codebook]",
        "variants={1d: {tokenizer: {use: vq-1d, tokens: 5}}, ce: {tokenizer: {use: vq-2d, "
        "visual_ce_weight: 1.0}}, shared: {tokenizer: {use: prologue, prologue_tokens: 2, "
        "shared_codebook: true}}, vq: {tokenizer: {use: prologue, prologue_tokens: 2, "
        "straight_through: vq}}, rar: {tokenizer.prologue_tokens: 2, generator: rar}}",
        (
            "sampling.guidance={prologue: {scale: 0.7}, visual: {schedule: cosine, scale: 3.0, "
            "power: 0.2}}"
        ),
    )
    plan = make_plan(ablation, Workspace(store))
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
