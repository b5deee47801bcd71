"""A model that several processes train together."""

from __future__ import annotations

from typing import Any

from prologue_bench.training.engine import MMDistributedDataParallel, OptimWrapper
from prologue_bench.training.models import Losses, run_step


class DistributedLossModel(MMDistributedDataParallel):
    """A `LossModel` whose gradients are averaged over processes."""

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> Losses:
        """As `LossModel.train_step`; gradients meet once a step, after its last part."""
        return run_step(self, self.module, data, optim_wrapper, self.no_sync)
