"""How long a stage will take, from its FLOPs and from what this machine did before."""

from __future__ import annotations

import math
import os
import re
import statistics
import time
from collections import defaultdict

import torch
from attrs import frozen

from prologue_bench.pipeline import stages
from prologue_bench.pipeline.flops import FlopsBySize
from prologue_bench.pipeline.store import Store

TYPICAL_EFFICIENCY = {"train-tokenizer": 0.4, "train-generator": 0.4, "encode": 0.4, "reconstruct": 0.4, "sample": 0.2}
"""Share of a large matrix product's speed that a stage reaches where nothing was measured yet."""

NEAREST = 3
"""Timed stages that an estimate is taken from."""

OTHER_THREADS = math.log(3)
"""A timing with other threads counts as one of a stage three times as large: speed grows more with size than with
threads, since small models fill no core."""


def machine() -> str:
    """Device, threads and host: what timings are compared within."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu x {torch.get_num_threads()}"
    return f"{device} on {os.uname().nodename}"


def _without_threads(name: str) -> str:
    return re.sub(r"^cpu x \d+", "cpu", name)


@frozen
class _Timing:
    apart: float
    """How far the machine was from this one: 0, or OTHER_THREADS."""
    seconds: float
    flops: float


class Estimator:
    """Seconds for stages, from the timings in a store and, where it has none, from a short matrix product."""

    def __init__(self, store: Store) -> None:
        self._timed: dict[str, list[_Timing]] = defaultdict(list)
        """By kind of stage, and by label of metric."""
        self._flops = FlopsBySize()
        self._peak: float | None = None
        here = machine()
        for manifest in store.manifests():
            there = str(manifest.get("machine"))
            if _without_threads(there) != _without_threads(here):
                continue
            timing = _Timing(
                apart=0.0 if there == here else OTHER_THREADS,
                seconds=max(float(manifest.get("seconds", 0)), 1e-3),
                flops=float(manifest.get("flops", 0)),
            )
            if manifest.get("metric") or timing.flops:
                self._timed[str(manifest.get("metric") or manifest["kind"])].append(timing)

    def seconds(self, stage: stages.Stage) -> float | None:
        """The estimate; None for what cannot be counted, such as a metric never timed on this machine."""
        if isinstance(stage, stages.Measure):
            known = self._timed[metric_label(stage)]
            nearest = min((timing.apart for timing in known), default=0.0)
            return statistics.median(each.seconds for each in known if each.apart == nearest) if known else None
        flops = self.flops(stage)
        return flops / self._rate(stage.kind, flops) if flops else None

    def flops(self, stage: stages.Stage) -> float:
        """FLOPs of a whole stage; 0 for metrics and for what cannot be counted."""
        return self._flops.of(stage)

    def _rate(self, kind: str, flops: float) -> float:
        """FLOP/s of the timed stages nearest in size: small models reach far less than large ones."""
        if not self._timed[kind]:
            return self._typical(kind)
        nearest = sorted(self._timed[kind], key=lambda timing: abs(math.log(timing.flops / flops)) + timing.apart)
        return statistics.median(timing.flops / timing.seconds for timing in nearest[:NEAREST])

    def _typical(self, kind: str) -> float:
        if self._peak is None:
            self._peak = matrix_product_speed()
        return self._peak * TYPICAL_EFFICIENCY.get(kind, 0.2)


def metric_label(stage: stages.Measure) -> str:
    """Groups timings of one metric on one amount of images."""
    return f"{stage.metric.name} of {stage.samples.sampling.samples}"


def matrix_product_speed() -> float:
    """FLOP/s of a large matrix product on this machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(1024, 1024, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best
