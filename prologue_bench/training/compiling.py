"""torch.compile where a training is long enough to pay for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs
import torch
from torch import nn

from prologue_bench.config.settings import Training
from prologue_bench.guard import brief
from prologue_bench.notices import notice
from prologue_bench.storage.files import user_cache
from prologue_bench.training.context import StageContext

GAIN = 0.16
"""Share of a step's time that compiling saves; docs/performance.md has what was measured."""
SECONDS_PER_LAYER = 2.0
"""What compiling takes for each layer with weights, forward and backward."""
FLOPS_PER_SECOND = {"cpu": 3e10, "cuda": 2e13}
"""What a step reaches without compiling. Nominal: were it measured, a busy machine would decide
otherwise than an idle one, and give other bits. That of GPUs is a guess."""
WORTH = 3.0
"""How many times its cost compiling must save. Both are nominal, and the cost was seen to be four
times as high on a busy machine."""
FEWEST_STEPS = 500
"""Shorter trainings are not compiled, and their FLOPs need not be counted."""

T = TypeVar("T", bound=Training)


def decided(
    training: T,
    flops: Callable[[], float | None],
    networks: Iterable[nn.Module],
    context: StageContext,
) -> T:
    """The settings with `compile` true or false in place of auto, and what was decided in the log.

    `flops` counts those of the whole training, None where that cannot be done. Equal settings are
    decided alike, whatever the load of the machine and the step that a training goes on from.
    """
    reason = _without_compiling(training, flops, networks, context.device)
    with context.log.open("a") as log:
        log.write(f"torch.compile: {f'off, {reason}' if reason else 'on'}\n")
    return attrs.evolve(training, compile=not reason)


def _without_compiling(
    training: Training,
    flops: Callable[[], float | None],
    networks: Iterable[nn.Module],
    device: torch.device,
) -> str:
    """Why the training is not compiled; empty where it is."""
    if training.compile is False:
        return "as set"
    if training.compile == "auto":
        if training.steps < FEWEST_STEPS:
            return f"{training.steps} steps do not pay for it"
        count = flops()
        if count is None:
            return "the training's FLOPs cannot be counted"
        gained = GAIN * count / FLOPS_PER_SECOND.get(device.type, FLOPS_PER_SECOND["cuda"])
        cost = SECONDS_PER_LAYER * sum(map(_layers, networks))
        if gained < WORTH * cost:
            return f"it would save about {gained:.0f} s and take {cost:.0f} s"
    lacking = _lacking(device)
    if lacking:
        notice(f"training goes on without torch.compile, which needs {lacking}")
    return lacking and f"it needs {lacking}"


def _layers(network: nn.Module) -> int:
    return sum(any(True for _ in each.parameters(recurse=False)) for each in network.modules())


def compiler() -> str | None:
    """Path of the C++ compiler that torch.compile uses on the CPU."""
    named = os.environ.get("CXX", "").split()
    return next(filter(None, map(shutil.which, [*named[:1], "g++", "clang++"])), None)


def _lacking(device: torch.device) -> str:
    """What compiling for the device needs and does not find."""
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "the package triton"
    return "" if compiler() else "a C++ compiler such as g++"


class Compiled:
    """A function that is compiled when it is first called, and called as it is if that fails.

    What was compiled is kept in the user's cache, for other stages and runs of the same sizes.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        from torch._inductor import config

        folder = user_cache() / "compiled"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
        # Else compiling takes all cores, whatever this process was given.
        config.compile_threads = min(config.compile_threads or 1, torch.get_num_threads())
        self._function = function
        self._compiled: Callable[..., Any] | None = torch.compile(function, dynamic=False)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the function returns."""
        if self._compiled is None:
            return self._function(*arguments, **named)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._compiled(*arguments, **named)
        except torch._dynamo.exc.TorchDynamoException as error:
            notice(f"training goes on without torch.compile, which failed: {brief(error)}")
            self._compiled = None
            return self._function(*arguments, **named)

    def __deepcopy__(self, memo: object) -> Compiled:
        """Itself: a moving average of a model computes no losses."""
        return self
