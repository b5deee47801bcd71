"""A few steps of training, as a run does them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from prologue_bench import seeds
from prologue_bench.conformance.checks import Broken
from prologue_bench.training.untrained import problem_of

LEARNING_RATE = 1e-3
STEPS = 3


class ShortTraining:
    """Steps of a module on one batch, each seeded by its number.

    `loss` gives what a step lowers, of the module and the step.
    """

    def __init__(self, module: nn.Module, loss: Callable[[Any, int], Tensor]) -> None:
        self.module, self.loss = module, loss
        self.known = dict(module.named_parameters())
        self.learned = [each for each in module.parameters() if each.requires_grad]
        if not self.learned:
            raise Broken("found no parameter to train; a tokenizer without any says frozen = True")
        self.optimizer = torch.optim.AdamW(self.learned, lr=LEARNING_RATE)

    def run(self, first: int, count: int) -> list[float]:
        """Do the steps from `first` on; returns what each lowered."""
        self.module.train()
        return [self._step(step) for step in range(first, first + count)]

    def _step(self, step: int) -> float:
        with seeds.seeded("conformance", "step", step):
            loss = self.loss(self.module, step)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.optimizer.zero_grad()
        return float(loss.detach())


def check_parameters(module: nn.Module, loss: Callable[[Any, int], Tensor]) -> None:
    """Raise Broken where two steps replace a parameter, or switch one on or add one."""
    training = ShortTraining(module, loss)
    training.run(0, 2)
    if found := problem_of(module, training.known, training.learned):
        raise Broken(f"parameter {found[0]} {found[1]}")
