"""A few steps of training, as a run does them."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from prologue_bench import seeds
from prologue_bench.conformance.checks import Broken
from prologue_bench.pipeline.restoring import unsaved
from prologue_bench.training.untrained import problem_of

LEARNING_RATE = 1e-3
STEPS = 3
SAME = 1e-4
"""The share by which the losses of two equal trainings may differ."""


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

    def go_on_from(self, other: ShortTraining) -> None:
        """Take what a checkpoint holds of another: weights, and the optimizer's moments."""
        self.module.load_state_dict(other.module.state_dict())
        self.optimizer.load_state_dict(deepcopy(other.optimizer.state_dict()))

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


def check_resuming(make: Callable[[int], nn.Module], loss: Callable[[Any, int], Tensor]) -> None:
    """Raise Broken where steps after a resume lower something else than they do without one.

    `make` gives an instance whose first weights are of a seed.
    """
    whole, resumed = ShortTraining(make(0), loss), ShortTraining(make(1), loss)
    whole.run(0, STEPS)
    try:
        resumed.go_on_from(whole)
    except (RuntimeError, ValueError) as error:
        told = str(error).splitlines()[0]
        raise Broken(f"its state does not load into another instance: {told}") from None
    named = ", ".join(unsaved(whole.module, resumed.module))
    pairs = zip(resumed.run(STEPS, STEPS), whole.run(STEPS, STEPS), strict=True)
    for step, (found, expected) in enumerate(pairs, start=STEPS):
        if not math.isclose(found, expected, rel_tol=SAME):
            raise Broken(
                f"resumed after {STEPS} steps, step {step} lowers {found:.6g} in place of "
                f"{expected:.6g}{f' ({named} differs)' if named else ''}; keep what a training "
                "counts or begins in a buffer: register_buffer(name, tensor)"
            )
