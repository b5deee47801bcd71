"""The moving average of a model's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prologue_bench.training.engine import ExponentialMovingAverage


class MovingAverage(ExponentialMovingAverage):
    """mmengine's, with all weights moved at once and without asking the device how many it has had.

    The first model is taken as it is; buffers are always those of the last one.
    """

    moved: int | None = None
    """How many models it has had; None until they are counted, as after a checkpoint."""

    def update_parameters(self, model: nn.Module) -> None:
        if self.moved is None:
            self.moved = int(self.steps)
        found = dict(model.named_parameters())
        names = [name for name, each in self.avg_parameters.items() if each.is_floating_point()]
        averages = [self.avg_parameters[name].data for name in names]
        current = [found[name].data for name in names]
        if self.moved == 0:
            _copy(averages, current)
        else:
            torch._foreach_lerp_(averages, current, self.momentum)
        _copy(list(self.module.buffers()), list(model.buffers()))
        self.steps += 1
        self.moved += 1


def _copy(to: list[Tensor], source: list[Tensor]) -> None:
    if to:
        torch._foreach_copy_(to, source)
