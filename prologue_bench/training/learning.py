"""Whether the optimizers train all that wants a gradient, for as long as a training lasts.

Optimizers are given their parameters once, before the first step. What a component puts in the
place of one later on, or switches on, would stay as it is without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from prologue_bench.errors import StageError
from prologue_bench.training.engine import Hook, Runner
from prologue_bench.training.hooks import is_curve_point
from prologue_bench.training.untrained import problem_of


class LearningHook(Hook):
    """Raises StageError, in one line, for a parameter that wants a gradient and has no optimizer.

    It looks after this process's first step, in which codebooks that start at data are begun, and
    at each point of the learning curves. Modes that are switched within a step do not matter.
    """

    priority = "VERY_HIGH"

    def __init__(
        self, model: nn.Module, learned: Iterable[nn.Parameter], called: Mapping[str, str]
    ) -> None:
        self.model, self.called = model, called
        self.known = dict(model.named_parameters())
        self.learned = {id(each): each for each in learned}
        self.looked = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self.looked and not is_curve_point(runner.iter + 1, runner.max_iters):
            return
        self.looked = True
        found = problem_of(self.model, self.known, self.learned.values())
        if found is None:
            return
        name, problem = found
        path = next((each for each in self.called if name.startswith(f"{each}.")), "")
        who = f"{self.called[path]}: " if path else ""
        own = name.removeprefix(f"{path}.")
        raise StageError(f"{who}parameter {own} {problem}")
