"""In which precision trained models compute what follows from them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from prologue_bench.pipeline import stages
from prologue_bench.training.precision import autocast


def as_trained(
    stage: stages.TokenizerStage | stages.GeneratorStage, device: torch.device
) -> AbstractContextManager[None]:
    """Autocast on the device for a model that was trained under it, and else nothing.

    Encoding, decoding and sampling are then as fast as training, and round as it did. What is
    imported computes in float32.
    """
    if isinstance(stage, stages.TakePrior):
        stage = stage.tokens.tokenizer
    if isinstance(stage, stages.TrainTokenizer | stages.TrainGenerator):
        return autocast(stage.training.precision, device)
    return autocast("float32", device)
