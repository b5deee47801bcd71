"""What mmengine trains: models whose forward pass returns the losses of one step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from prologue_bench.images import to_float
from prologue_bench.interfaces import Generator, PriorRequest, Tokenizer
from prologue_bench.spec.settings import GeneratorTraining, TokenizerTraining, Training

Losses = dict[str, Tensor]


class LossModel(BaseModel):
    """The forward pass of a training step in the precision asked for, compiled where that is asked for."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.precision = training.precision
        self._losses = torch.compile(self.losses) if training.compile else self.losses

    def forward(self, mode: str = "loss", **batch: Tensor) -> Losses:
        """The losses of one batch, each a scalar; mmengine adds up those whose names hold "loss"."""
        device = next(self.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            losses = self._losses(**batch)
        return {name: value.float() for name, value in losses.items()}

    def losses(self, **batch: Tensor) -> Losses:
        """The losses of one batch."""
        raise NotImplementedError


class TokenizerModel(LossModel):
    """Stage 1: a tokenizer, and the joint prior that it asks for.

    The paper alternates two steps on one batch: A, in which the tokenizer learns and the prior is frozen but
    differentiable, and B, in which the prior learns on the detached tokens. Both see the same tokens, the same dropped
    inputs and the same prior, so one forward pass has the gradients of both: the cross-entropy reaches the prior's
    weights with weight one (B) and, through the straight-through one-hots, the tokenizer's with
    `PriorRequest.weight` (A).
    Nothing of the prior's input reaches the tokenizer but through those one-hots.
    """

    def __init__(
        self, tokenizer: Tokenizer, prior: Generator | None, training: TokenizerTraining, none_label: int
    ) -> None:
        super().__init__(training)
        self.tokenizer = tokenizer
        self.prior = prior
        self.training_settings = training
        self.none_label = none_label

    def losses(self, **batch: Tensor) -> Losses:
        images = to_float(batch["images"])
        out = self.tokenizer.losses(images)
        weights = self.training_settings
        losses = {f"loss_{name}": value for name, value in out.losses.items()}
        if weights.l1_weight:
            losses["loss_l1"] = weights.l1_weight * F.l1_loss(out.reconstruction.float(), images)
        if weights.l2_weight:
            losses["loss_l2"] = weights.l2_weight * F.mse_loss(out.reconstruction.float(), images)
        if self.prior is not None and self.tokenizer.prior is not None:
            request = self.tokenizer.prior
            relaxed = {name: scale_gradient(out.relaxed[name], request.weight) for name in request.segments}
            labels = torch.full_like(out.ids[:, 0], self.none_label)
            losses["loss_ce"] = self.prior.token_losses(
                out.ids, labels, relaxed, dropped_inputs(request, len(images), images.device)
            ).mean()
        return losses


class GeneratorModel(LossModel):
    """Stage 2: a generator on the cached tokens, with some labels replaced by "none"."""

    def __init__(self, generator: Generator, training: GeneratorTraining, none_label: int) -> None:
        super().__init__(training)
        self.generator = generator
        self.label_dropout = training.label_dropout
        self.none_label = none_label

    def losses(self, **batch: Tensor) -> Losses:
        labels = batch["labels"]
        dropped = torch.rand(len(labels), device=labels.device) < self.label_dropout
        labels = torch.where(dropped, self.none_label, labels)
        return {"loss_ce": self.generator.token_losses(batch["ids"].long(), labels).mean()}


def dropped_inputs(request: PriorRequest, batch: int, device: torch.device) -> dict[str, Tensor]:
    """For each segment with input dropout, a mask [B] that is true for that share of the images, drawn at random."""
    return {
        name: torch.randperm(batch, device=device) < round(share * batch)
        for name, share in request.input_dropout.items()
        if share > 0
    }


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """x, whose gradient is multiplied by the factor."""
    scaled: Tensor = _ScaleGradient.apply(x, factor)
    return scaled


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def parameters_of(*modules: nn.Module | None) -> list[nn.Parameter]:
    """The parameters of those modules that are there."""
    return [parameter for module in modules if module is not None for parameter in module.parameters()]
