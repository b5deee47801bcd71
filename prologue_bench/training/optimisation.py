"""Optimizer wrappers and learning-rate schedules, made from settings."""

from __future__ import annotations

from collections.abc import Generator as Context
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from prologue_bench.spec.settings import Optimisation


def optimizer_wrapper(parameters: Iterable[nn.Parameter], settings: Optimisation) -> OptimWrapper:
    """AdamW (Loshchilov and Hutter 2019) with gradient clipping where it is asked for."""
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )
    clipping = {"max_norm": settings.clip_norm} if settings.clip_norm else None
    return OptimWrapper(optimizer, clip_grad=clipping)


class JointOptimWrapper(OptimWrapperDict):
    """Several optimizers that step together after one backward pass."""

    def update_params(
        self, loss: Tensor, step_kwargs: dict[str, Any] | None = None, zero_kwargs: dict[str, Any] | None = None
    ) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        for wrapper in self.optim_wrappers.values():
            wrapper.step(**(step_kwargs or {}))
            wrapper.zero_grad(**(zero_kwargs or {}))

    @contextmanager
    def optim_context(self, model: nn.Module) -> Context[None]:
        yield


def schedule(settings: Optimisation, steps: int) -> list[dict[str, Any]]:
    """mmengine's schedulers for warm-up, a flat stretch, and a linear fall to `final_fraction`."""
    begin = settings.warmup_steps + settings.flat_steps
    parts = []
    if settings.warmup_steps:
        parts.append(_linear(1 / (settings.warmup_steps + 1), 1.0, 0, settings.warmup_steps))
    if settings.final_fraction < 1 and begin < steps:
        parts.append(_linear(1.0, settings.final_fraction, begin, steps))
    return parts


def _linear(start: float, stop: float, begin: int, end: int) -> dict[str, Any]:
    return {
        "type": "LinearLR", "by_epoch": False, "start_factor": start, "end_factor": stop, "begin": begin, "end": end
    }  # fmt: skip
