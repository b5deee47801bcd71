"""Tiny trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import torch
from torch import Tensor

from prologue_bench.config.settings import Optimisation, TokenizerTraining
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.inside import LookedAt
from prologue_bench.training.models import TokenizerModel
from prologue_bench.training.runner import TrainingJob, train
from tests.factories.models import ar, prologue

FAST = Optimisation(learning_rate=1e-2, betas=(0.0, 0.99), warmup_steps=2)


def joint_model(training: TokenizerTraining | None = None, **changes: object) -> TokenizerModel:
    tokenizer = prologue(**changes)
    settings = training or TokenizerTraining(l2_weight=1.0)
    return TokenizerModel(tokenizer, ar(tokenizer.layout), settings, none_label=3)


def byte_images(count: int = 64) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, 8, 12), dtype=torch.uint8, generator=rng)


class Stop:
    """Asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.done = 0

    def advance(self, done: int, total: int) -> None:
        self.done = done

    def requested(self) -> bool:
        return self.done >= self.after


def run(
    folder: Path,
    stop_after: int = 10**9,
    rate: float = 1e-2,
    steps: int = 12,
    images: Tensor | None = None,
    looked_at: LookedAt | None = None,
    show_losses: Callable[[Mapping[str, float]], None] = lambda losses: None,
    recorded: bool = False,
    **changes: object,
) -> TokenizerModel:
    """Train a joint model in a folder, from the checkpoint that is there."""
    stop = Stop(stop_after)
    (folder / "output").mkdir(parents=True, exist_ok=True)
    context = StageContext(
        work=folder,
        output=folder / "output",
        label="train-tokenizer of a, b seed 0",
        advance=stop.advance,
        show_losses=show_losses,
        stop_requested=stop.requested,
    )
    torch.manual_seed(0)
    training = TokenizerTraining(
        steps=steps,
        l2_weight=1.0,
        batch_size=4,
        ema_half_life_steps=3,
        checkpoint_steps=4,
        **changes,  # type: ignore[arg-type]
    )
    model = joint_model(training)
    if recorded:
        model.record_steps()
    fast = attrs.evolve(FAST, learning_rate=rate)
    parts = {
        "autoencoder": (list(model.tokenizer.parameters()), fast),
        "prior": (list(model.prior.parameters()), fast),  # type: ignore[union-attr]
    }
    data = ArrayDataset({"images": (byte_images() if images is None else images).numpy()})
    job = TrainingJob(
        model=model,
        data=data,
        training=training,
        parts=parts,
        seed=3,
        context=context,
        looked_at=looked_at,
    )
    return train(job)  # type: ignore[return-value]
