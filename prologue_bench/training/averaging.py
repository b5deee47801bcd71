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
    _moves: _Moves | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        if self.moved is None:
            self.moved = int(self.steps)
        if self._moves is None or self._moves.model is not model:
            self._moves = _Moves(self, model)
        moves = self._moves
        if self.moved == 0:
            _copy(moves.averages, moves.current)
        else:
            torch._foreach_lerp_(moves.averages, moves.current, self.momentum)
        _copy(*moves.buffers())
        self.steps += 1
        self.moved += 1


class _Moves:
    """What is moved for a model: looking for it in all modules takes longer than moving it."""

    def __init__(self, average: ExponentialMovingAverage, model: nn.Module) -> None:
        self.model = model
        found = dict(model.named_parameters())
        pairs = [
            (own, found[name])
            for name, own in average.avg_parameters.items()
            if own.is_floating_point()
        ]
        self.averages: list[Tensor] = [own for own, _ in pairs]
        self.current: list[Tensor] = [given for _, given in pairs]
        modules = zip(average.module.modules(), model.modules(), strict=True)
        self._with_buffers = [pair for pair in modules if pair[0]._buffers]

    def buffers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Those of the average and of the model, which may be other tensors in each step."""
        own, given = (
            [each for pair in self._with_buffers for each in pair[side].buffers(recurse=False)]
            for side in (0, 1)
        )
        return own, given


def _copy(to: list[Tensor], source: list[Tensor]) -> None:
    if to:
        torch._foreach_copy_(to, source)
