"""A training step that a GPU records once and then starts as a whole (a CUDA graph).

Small models leave a GPU waiting for the CPU, which starts a step's thousand kernels one by one. A
recording starts them all at once, and computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prologue_bench.config.settings import Training
from prologue_bench.contracts.components import Component
from prologue_bench.guard import brief
from prologue_bench.notices import notice
from prologue_bench.training import distributed

WARM_UPS = 3
"""Passes before a recording, in which libraries take the memory and the streams that they keep."""

Pass = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Forward and backward pass of a batch; returns its losses."""
Form = dict[str, tuple[Any, ...]]
"""Of the tensors of a batch: shape, type and device."""


def can_be_recorded(
    training: Training, components: Iterable[Component], device: torch.device
) -> bool:
    """Whether a training's steps can be recorded.

    They can on a GPU of one process, in one part, without torch.compile, where all components say
    that their steps are alike.
    """
    return (
        device.type == "cuda"
        and distributed.world_size() == 1
        and training.accumulate == 1
        and not training.compile
        and all(each.steps_alike for each in components)
    )


class Recording:
    """The forward and backward pass of a model's training step, recorded at the first batch.

    Batches of other shapes are left to the caller, and all of them after a recording that failed.
    """

    def __init__(self, model: nn.Module, run: Pass) -> None:
        self.model, self.run = model, run
        self._graph: torch.cuda.CUDAGraph | None = None
        self._failed = False
        self._batch: dict[str, Tensor] = {}
        self._form: Form = {}
        self._losses: dict[str, Tensor] = {}
        self._gradients: list[tuple[nn.Parameter, Tensor | None]] = []

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The losses of a batch, with gradients in the parameters; None where it cannot run."""
        if self._graph is None and not self._failed:
            self._record(batch)
        if self._graph is None or _form(batch) != self._form:
            self._forget_gradients()
            return None
        for name, value in batch.items():
            self._batch[name].copy_(value)
        self._graph.replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return dict(self._losses)

    def _record(self, batch: Mapping[str, Tensor]) -> None:
        self._batch = {name: value.clone() for name, value in batch.items()}
        self._form = _form(batch)
        graph = torch.cuda.CUDAGraph()
        try:
            with _unchanged(self.model):
                self._warm_up()
                self._forget_gradients()
                with torch.cuda.graph(graph):
                    self._losses = self.run(self._batch)
        except RuntimeError as error:
            self._failed = True
            notice(f"training goes on without a recorded step, which failed: {brief(error)}")
            return
        self._graph = graph
        self._gradients = [(each, each.grad) for each in self.model.parameters()]

    def _warm_up(self) -> None:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._forget_gradients()
                self.run(self._batch)
        torch.cuda.current_stream().wait_stream(stream)

    def _forget_gradients(self) -> None:
        """A pass then writes gradients of its own, and adds to none."""
        for parameter in self.model.parameters():
            parameter.grad = None


def _form(batch: Mapping[str, Tensor]) -> Form:
    return {name: (tuple(each.shape), each.dtype, each.device) for name, each in batch.items()}


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Puts buffers and the GPU's random numbers back to what they were."""
    buffers = [(each, each.clone()) for each in model.buffers()]
    random = torch.cuda.get_rng_state()
    try:
        yield
    finally:
        torch.cuda.set_rng_state(random)
        for buffer, value in buffers:
            buffer.copy_(value)
