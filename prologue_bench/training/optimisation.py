"""Optimizer wrappers and learning-rate schedules, made from settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Generator as Context
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prologue_bench.config.settings import Optimisation
from prologue_bench.errors import StageError
from prologue_bench.training.engine import OptimWrapper, OptimWrapperDict

_NORM = re.compile(r"Norm(\dd)?$")


def optimizer_wrapper(
    parameters: Iterable[nn.Parameter],
    settings: Optimisation,
    norms: frozenset[nn.Parameter] = frozenset(),
) -> OptimWrapper:
    """AdamW (Loshchilov and Hutter 2019) with gradient clipping where it is asked for.

    Weight decay is on matrices alone: embeddings and kernels are among them, biases and other
    vectors are not, nor is what belongs to `norms` (see `norm_parameters`).
    """
    once = list(dict.fromkeys(parameters))
    matrices = [each for each in once if each.ndim >= 2 and each not in norms]
    others = [each for each in once if each.ndim < 2 or each in norms]
    groups = [(matrices, settings.weight_decay), (others, 0.0)]
    optimizer = torch.optim.AdamW(
        [{"params": group, "weight_decay": decay} for group, decay in groups if group],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )
    clipping = {"max_norm": settings.clip_norm} if settings.clip_norm else None
    return ReadableOptimWrapper(optimizer, clip_grad=clipping)


class ReadableOptimWrapper(OptimWrapper):
    """An OptimWrapper whose gradients can be read after the backward pass, before any clipping."""

    before_step: Callable[[], None] | None = None
    """Called once, before the next step."""

    def step(self, **kwargs: Any) -> None:
        if self.before_step is not None:
            read, self.before_step = self.before_step, None
            read()
        super().step(**kwargs)


def norm_parameters(model: nn.Module) -> frozenset[nn.Parameter]:
    """The parameters of normalising layers, of any shape.

    Their decay would pull what they scale to zero. A layer without parts whose class is called
    ...Norm is one, and so is a module with `weight_decay = False`, all parts of it included.
    """
    found = [
        module
        for module in model.modules()
        if getattr(module, "weight_decay", None) is False
        or (_NORM.search(type(module).__name__) and not any(True for _ in module.children()))
    ]
    return frozenset(parameter for module in found for parameter in module.parameters())


def check_apart(parts: Mapping[str, Sequence[nn.Parameter]]) -> None:
    """Raises StageError when two optimizers would step the same parameter."""
    owner: dict[nn.Parameter, str] = {}
    for name, parameters in parts.items():
        for parameter in parameters:
            if owner.setdefault(parameter, name) != name:
                raise StageError(
                    f"a parameter of shape {list(parameter.shape)} is learned by both "
                    f"{owner[parameter]!r} and {name!r}; expected each to be learned by one alone"
                )


class JointOptimWrapper(OptimWrapperDict):
    """Several optimizers that step together after one backward pass."""

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        for wrapper in self.optim_wrappers.values():
            wrapper.step(**(step_kwargs or {}))
            wrapper.zero_grad(**(zero_kwargs or {}))

    def step(self, **kwargs: Any) -> None:
        """A step of each optimizer by the gradients that its parameters have, which stay."""
        for wrapper in self.optim_wrappers.values():
            wrapper.step(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Context[None]:
        yield


def schedule(settings: Optimisation, steps: int) -> list[dict[str, Any]]:
    """mmengine's schedulers for warm-up, a flat stretch, and a linear fall to `final_fraction`."""
    begin = settings.warmup_steps + settings.flat_steps
    parts = []
    # mmengine's factors reach their end at the step before `end`, and never within one step.
    if settings.warmup_steps:
        start = 1 / (settings.warmup_steps + 1)
        parts.append(_linear(start, 1.0, 0, max(2, settings.warmup_steps)))
    if settings.final_fraction < 1 and begin < steps:
        begin = max(0, min(begin, steps - 2))
        parts.append(_linear(1.0, settings.final_fraction, begin, steps))
    return parts


def _linear(start: float, stop: float, begin: int, end: int) -> dict[str, Any]:
    return {
        "type": "LinearLR",
        "by_epoch": False,
        "start_factor": start,
        "end_factor": stop,
        "begin": begin,
        "end": end,
    }
