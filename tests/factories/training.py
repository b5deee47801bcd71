"""Tiny trainings."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.config.settings import Optimisation, TokenizerTraining
from prologue_bench.training.models import (
    TokenizerModel,
)
from tests.factories.models import ar, prologue

FAST = Optimisation(learning_rate=1e-2, betas=(0.0, 0.99), warmup_steps=2)


def joint_model(**changes: object) -> TokenizerModel:
    tokenizer = prologue(**changes)
    return TokenizerModel(
        tokenizer, ar(tokenizer.layout), TokenizerTraining(l2_weight=1.0), none_label=3
    )


def byte_images(count: int = 64) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, 8, 12), dtype=torch.uint8, generator=rng)
