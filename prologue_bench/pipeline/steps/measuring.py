"""Computing metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.checked import check_measurements
from prologue_bench.contracts.metric import MetricInputs, StageCost
from prologue_bench.errors import StageError
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.estimates import machine
from prologue_bench.pipeline.flops import counted_flops, recorded_flops
from prologue_bench.pipeline.precision import as_trained
from prologue_bench.pipeline.steps.sampling import chosen_sampling
from prologue_bench.pipeline.tokens import read_tokens
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.results.measurements import written
from prologue_bench.sampling.decoding import draw_ids
from prologue_bench.storage.store import Store
from prologue_bench.training.context import INFERENCE_BATCH, StageContext

GENERATOR = {"generator", "likelihood", "attention", "draw"}
"""Needs for which the trained generator is loaded."""


def measure(stage: stages.Measure, workspace: Workspace, context: StageContext) -> None:
    """Compute one metric."""
    store = workspace.store
    data = workspace.data_of(stage.tokens.tokenizer)
    metric = models.build_metric(stage.metric)
    who = stage.metric.component.called("metric")
    has = stage.needs
    tokens = store.get(stage.tokens.key) if {"tokens", "test_tokens"} & set(has) else None

    def advance(done: int, total: int) -> None:
        context.check_stop()
        context.advance(done, total)

    generator = None
    draw: Callable[[Tensor, Tensor | None, int], Tensor] | None = None
    if GENERATOR & set(has):
        generator = workspace.load_generator(stage.samples.generator, context.device)
    if generator is not None and "draw" in has:
        sampled = partial(
            draw_ids, generator, chosen_sampling(stage.samples, store), data.spec.none_label
        )

        def draw(labels: Tensor, fixed: Tensor | None, seed: int) -> Tensor:
            with as_trained(stage.samples.generator, context.device):
                return sampled(labels, fixed, "metric", stage.metric.name, seed)

    inputs = MetricInputs(
        metric=stage.metric.name,
        needs=has,
        data=data,
        layout=stage.layout,
        cache=store.cache,
        batch_size=INFERENCE_BATCH,
        device=context.device,
        sampling=stage.sampling(),
        prefixes=stage.prefixes if "prefixes" in has else None,
        advance=advance,
        reconstructions=_array(
            store, stage.reconstructions.key, stages.IMAGES, "reconstructions" in has
        ),
        samples=_array(store, stage.samples.key, stages.IMAGES, "samples" in has),
        train_ids=read_tokens(tokens, "train", data.views) if tokens and "tokens" in has else None,
        test_ids=read_tokens(tokens, "test") if tokens else None,
        tokenizer=workspace.load_tokenizer(stage.tokens.tokenizer, context.device)
        if "tokenizer" in has
        else None,
        as_trained=partial(as_trained, stage.tokens.tokenizer, context.device),
        generator=generator,
        draw=draw,
        machine=machine(),
        costs=_training_costs(stage, workspace) if "costs" in has else None,
        known=_known_images(stage, store),
    )
    with torch.inference_mode():
        measurements = check_measurements(metric.measure(inputs), who)
    lengths = {segment.name: segment.length for segment in stage.layout}
    try:
        values = [written(each, lengths) for each in measurements]
    except ValueError as error:
        raise StageError(f"{who}: {error}") from None
    (context.output / stages.MEASUREMENTS).write_text(json.dumps(values, indent=1))


def _training_costs(stage: stages.Measure, workspace: Workspace) -> dict[str, StageCost]:
    """What training took, by kind of stage; a tokenizer's includes those that it builds on.

    What is not known of one part is not known of the sum.
    """
    tokenizer, generator = stage.tokens.tokenizer, stage.samples.generator
    costs = {
        stages.TrainTokenizer.kind: _sum(
            [_cost(each, workspace) for each in (tokenizer, *tokenizer.inputs)]
        )
    }
    # A joint prior is part of the tokenizer's training.
    if not isinstance(generator, stages.TakePrior):
        costs[stages.TrainGenerator.kind] = _cost(generator, workspace)
    return costs


def _cost(stage: stages.Stage, workspace: Workspace) -> StageCost:
    if isinstance(stage, stages.Imported):
        return StageCost(seconds=None, flops=None, machine="elsewhere")
    manifest = workspace.store.get(stage.key).manifest
    flops = recorded_flops(manifest)
    # An older version could not count all models.
    flops = counted_flops(stage, workspace) if flops is None else flops
    return StageCost(
        seconds=manifest.get("seconds"), flops=flops, machine=manifest.get("machine", "elsewhere")
    )


def _sum(costs: Sequence[StageCost]) -> StageCost:
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    flops = [cost.flops for cost in costs if cost.flops is not None]
    return StageCost(
        seconds=sum(seconds) if len(seconds) == len(costs) else None,
        flops=sum(flops) if len(flops) == len(costs) else None,
        machine=", ".join(sorted({cost.machine for cost in costs})),
    )


def _known_images(stage: stages.Measure, store: Store) -> dict[str, str]:
    """What stands for the images that the metric may see, to know them without reading."""
    artifacts = {"reconstructions": stage.reconstructions, "samples": stage.samples}
    known = {
        name: str(store.get(each.key).manifest["files"][stages.IMAGES]["sha256"])
        for name, each in artifacts.items()
        if name in stage.needs
    }
    return {**known, "test": json.dumps(stage.tokens.tokenizer.data.key(), sort_keys=True)}


def _array(store: Store, key: str, name: str, wanted: bool) -> NDArray[Any] | None:
    if not wanted:
        return None
    array: NDArray[Any] = np.load(store.get(key) / name, mmap_mode="r")
    return array
