"""How long a stage will take, from its FLOPs and from what this machine did before."""

from __future__ import annotations

import json
import math
import platform
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from attrs import frozen

from prologue_bench.config.settings import key_values
from prologue_bench.contracts import stage_kinds
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.flops import FlopsBySize, recorded_flops
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.training.context import INFERENCE_BATCH

TYPICAL_EFFICIENCY = {
    stage_kinds.TRAIN_TOKENIZER: 0.4,
    stage_kinds.TRAIN_GENERATOR: 0.4,
    stage_kinds.ENCODE: 0.4,
    stage_kinds.RECONSTRUCT: 0.4,
    stage_kinds.SAMPLE: 0.2,
    stage_kinds.MEASURE: 0.4,
}
"""Share of a large matrix product's speed that a stage reaches where nothing was measured yet."""

LEAST_SECONDS = {
    stage_kinds.TRAIN_TOKENIZER: 0.9,
    stage_kinds.TRAIN_GENERATOR: 0.3,
    stage_kinds.ENCODE: 0.3,
    stage_kinds.RECONSTRUCT: 0.2,
    stage_kinds.SEARCH: 0.2,
    stage_kinds.MEASURE: 0.3,
}
"""What a stage takes besides its FLOPs, to open data, build models and write, as profile `smoke`
shows on two cores. Those that are not here take OTHER_SECONDS."""
OTHER_SECONDS = 0.1
IMAGE_FLOPS = 3e7
"""Of a metric that was never timed, for each image that it looks at: half of what features of 64
pixels take, since metrics of pixels take next to nothing."""

FARTHEST = 100.0
"""Nothing is concluded from a stage with so many times more or fewer FLOPs."""

APART = 3.0
"""How many times larger the largest step must be than the smallest to tell its fixed part from that
of its FLOPs."""

OTHER_THREADS = math.log(3)
"""A timing with other threads counts as one of a stage three times as large: speed grows more with
size than with threads, since small models fill no core."""


def machine() -> str:
    """Device, threads and host: what timings are compared within."""
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"cpu x {torch.get_num_threads()}"
    )
    return f"{device} on {platform.node()}"


def _without_threads(name: str) -> str:
    return re.sub(r"^cpu x \d+", "cpu", name)


@frozen
class _Timing:
    apart: float
    """How far the machine was from this one: 0, or OTHER_THREADS."""
    seconds: float
    flops: float | None
    steps: int | None
    """None of a stage that has none."""


class Estimator:
    """Seconds for stages, from the timings in a store and, without any, a short matrix product.

    A stage takes seconds = steps * (a + b * FLOPs of a step): `a` is what each step takes however
    small the model is. Both are fitted to the timed stages of the kind, the nearest in size
    counting most.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._timed: dict[str, list[_Timing]] = defaultdict(list)
        """By kind of stage, and by label of metric."""
        self._flops = FlopsBySize(workspace)
        here = machine()
        for manifest in workspace.store.manifests():
            there = str(manifest.get("machine"))
            if manifest.get("seconds") is None or _without_threads(there) != _without_threads(here):
                continue
            timing = _Timing(
                apart=0.0 if there == here else OTHER_THREADS,
                seconds=max(float(manifest["seconds"]), 1e-3),
                flops=recorded_flops(manifest),
                steps=manifest.get("steps"),
            )
            self._timed[str(manifest.get("metric") or manifest["kind"])].append(timing)

    def seconds(self, stage: stages.Stage) -> float | None:
        """The estimate; None for a stage whose FLOPs cannot be counted.

        What was not timed on this machine, or is far from all that was, is taken to be typical.
        """
        if isinstance(stage, stages.Measure):
            found = _median(self._timed[metric_label(stage, self._workspace)])
            return self._typical(stage, self._image_flops(stage)) if found is None else found
        flops = self.flops(stage)
        if flops is None:
            return None
        if not flops:
            seconds = _median([each for each in self._timed[stage.kind] if each.flops == 0])
            # A picture of images that are there takes less than a second.
            return 0.0 if seconds is None and isinstance(stage, stages.PictureStage) else seconds
        timed = [each for each in self._timed[stage.kind] if each.flops]
        near = [each for each in timed if _factor(each, flops) <= FARTHEST]
        return self._fitted(near, stage, flops) if near else self._typical(stage, flops)

    def flops(self, stage: stages.Stage) -> float | None:
        """FLOPs of a whole stage; None for metrics and for what cannot be counted."""
        return self._flops.of(stage)

    def _fitted(self, timed: Sequence[_Timing], stage: stages.Stage, flops: float) -> float:
        """Least squares of the relative errors, without negative parts."""
        known = [each for each in timed if each.steps]
        steps = (count_steps(stage, self._workspace) if known else None) or 1
        timed = known or timed
        sizes = [_flops_of(each) / (each.steps or 1) for each in timed]
        nearest = min(each.apart for each in timed)
        weights = np.array(
            [math.exp(nearest - each.apart) / _factor(each, flops) for each in timed]
        )
        seconds = np.array([each.seconds for each in timed])
        parts = np.array([[each.steps or 1, _flops_of(each)] for each in timed]) / seconds[:, None]
        if max(sizes) >= APART * min(sizes):
            # The one is of steps and the other of FLOPs, ten orders of magnitude apart.
            from scipy.optimize import nnls  # a third of a second, which most plans do without

            scale = parts.max(axis=0)
            (fixed, each_flop), _ = nnls(
                np.sqrt(weights)[:, None] * parts / scale, np.sqrt(weights)
            )
            return float(fixed / scale[0] * steps + each_flop / scale[1] * flops)
        # Steps of one size: their FLOPs take what they take elsewhere, at most all of the time.
        each_flop = min(1 / self._speed(stage.kind), float((1 / parts[:, 1]).min()))
        fixed = float(np.average((1 - each_flop * parts[:, 1]) / parts[:, 0], weights=weights))
        return fixed * steps + each_flop * flops

    def _typical(self, stage: stages.Stage, flops: float) -> float:
        """Seconds of a stage of which nothing is known but its FLOPs."""
        return LEAST_SECONDS.get(stage.kind, OTHER_SECONDS) + flops / self._speed(stage.kind)

    def _image_flops(self, stage: stages.Measure) -> float:
        """Of a metric, by the images that it looks at."""
        counts = {
            "reconstructions": len(self._workspace.data_of(stage.tokens.tokenizer).labels("test")),
            "samples": stage.samples.sampling.samples,
        }
        return IMAGE_FLOPS * sum(count for need, count in counts.items() if need in stage.needs)

    def _speed(self, kind: str) -> float:
        """FLOP/s."""
        return matrix_product_speed() * TYPICAL_EFFICIENCY.get(kind, 0.2)


def count_steps(stage: stages.Stage, workspace: Workspace) -> int | None:
    """How often the models run one after the other.

    These are training steps, or batches, of samples once for each token.
    """
    if isinstance(stage, stages.TrainTokenizer | stages.TrainGenerator):
        return stage.training.steps
    if isinstance(stage, stages.EncodeImages):
        data = workspace.data_of(stage.tokenizer)
        return _batches(stage.count(data), INFERENCE_BATCH)
    if isinstance(stage, stages.Reconstruct):
        return _batches(
            len(workspace.open_data(stage.tokens.tokenizer.data.resolved).labels("test")),
            INFERENCE_BATCH,
        )
    if isinstance(stage, stages.SampleImages | stages.SearchSampling):
        tokens = workspace.layout_of(stage.generator.tokens.tokenizer).length
        sampling, search = stage.sampling, stage.sampling.search
        if isinstance(stage, stages.SampleImages) or search is None:
            return tokens * _batches(sampling.samples, sampling.batch_size)
        return tokens * len(search.points()) * _batches(search.samples, sampling.batch_size)
    if isinstance(stage, stages.PictureTokens) or (
        isinstance(stage, stages.PictureSamples) and stage.shared
    ):
        return 2 * workspace.layout_of(stage.samples.generator.tokens.tokenizer).length
    return None


def _batches(count: int, size: int) -> int:
    return -(-count // size)


def _factor(timing: _Timing, flops: float) -> float:
    """How many times larger or smaller the timed stage is."""
    return max(_flops_of(timing) / flops, flops / _flops_of(timing))


def _flops_of(timing: _Timing) -> float:
    assert timing.flops
    return timing.flops


def _median(timed: Sequence[_Timing]) -> float | None:
    """Of those on the nearest machine."""
    nearest = min((timing.apart for timing in timed), default=0.0)
    return (
        statistics.median(each.seconds for each in timed if each.apart == nearest)
        if timed
        else None
    )


def metric_label(stage: stages.Measure, workspace: Workspace) -> str:
    """Groups timings of one metric with the same settings on one amount of images of one size."""
    data = workspace.data_of(stage.tokens.tokenizer)
    counts = [
        stage.samples.sampling.samples,
        *(len(data.labels(split)) for split in ("train", "test")),
    ]
    settings = key_values(stage.metric.settings)
    of = f"{'/'.join(map(str, counts))} x {data.spec.dimensions}"
    return (
        f"{stage.metric.name} of "
        f"{of}{f' {json.dumps(settings, sort_keys=True)}' if settings else ''}"
    )


@cache
def matrix_product_speed() -> float:
    """FLOP/s of a large matrix product on this machine, once a process, so that plans agree.

    On a CPU by its own time: other programs may run now that will not while stages do.
    """
    on_gpu = torch.cuda.is_available()
    a = torch.randn(1024, 1024, device="cuda" if on_gpu else "cpu")
    clock, threads = (
        (time.perf_counter, 1) if on_gpu else (time.process_time, torch.get_num_threads())
    )
    best = float("inf")
    for _ in range(12):  # a quarter of a second
        start = clock()
        (a @ a).sum().item()
        best = min(best, clock() - start)
    return 2 * 1024**3 * threads / best
