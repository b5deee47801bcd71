"""What mmengine trains: models whose forward pass returns the losses of one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from prologue_bench import seeds
from prologue_bench.config.settings import GeneratorTraining, TokenizerTraining, Training
from prologue_bench.contracts.generator import Generator, JointPrior
from prologue_bench.contracts.images import to_float
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.loss import ReconstructionLoss
from prologue_bench.contracts.shapes import check_shape
from prologue_bench.contracts.tokenizer import PriorRequest, Tokenizer, TokenizerOutput
from prologue_bench.errors import StageError
from prologue_bench.training import distributed, terms
from prologue_bench.training.compiling import Compiled
from prologue_bench.training.inputs import left_alone
from prologue_bench.training.precision import autocast
from prologue_bench.training.recording import Recording

if TYPE_CHECKING:  # plans count FLOPs with these models, and need no engine
    from prologue_bench.training.engine import OptimWrapper

Losses = dict[str, Tensor]
DRAWN, DROPPED = "drawn_", "dropped_"
"""Begin the names, in a batch, of what a generator draws and of the masks of dropped inputs."""


class LossModel(nn.Module):
    """The forward pass of a training step, in the precision asked for.

    What a step draws for each image (`draws`: labels and inputs left out, a generator's orders) is
    drawn for the batch of all processes together and then cut, from streams named by training seed,
    step and purpose. It depends neither on the number of processes, nor on that of the parts a
    batch is cut into, nor on what else a variant draws. What layers draw while they compute, such
    as dropout, has the shape of what they compute: each process draws it for its own images, part
    by part. With dropout, a training repeats bit by bit only with as many processes and parts.
    """

    purpose: ClassVar[str]
    """Names the streams of this training."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.training_settings = training
        self.step = 0
        self.seed = 0
        self.recording: Recording | None = None
        """Runs the steps that it can."""

    def record_steps(self) -> None:
        """Have a GPU record the first step and repeat it, see `recording.can_be_recorded`."""
        self.recording = Recording(self, self._pass)

    def _pass(self, batch: Mapping[str, Tensor]) -> Losses:
        loss, log = self.parse_losses(self(mode="loss", **batch))
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in log.items()}

    def begin_step(self, step: int, seed: int) -> None:
        """Called before each step, with the seed of the training."""
        self.step = step
        self.seed = seed

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> Losses:
        """Forward, backward and update, as mmengine asks for it."""
        return run_step(self, self, data, optim_wrapper, nullcontext)

    def forward(self, mode: str = "loss", **batch: Tensor) -> Losses:
        """Losses of one batch, each a scalar."""
        with self.autocast():
            losses = self.losses(**batch)
        return {name: value.float() for name, value in losses.items()}

    @property
    def device(self) -> torch.device:
        """That of the weights."""
        return next(self.parameters()).device

    @staticmethod
    def parse_losses(losses: Losses) -> tuple[Tensor, Losses]:
        """The sum of the losses, and all of them; the sum, under "loss", is the first."""
        total = reduce(torch.add, losses.values())
        return total, {"loss": total, **losses}

    def autocast(self) -> AbstractContextManager[None]:
        """The precision asked for, on the device of the weights."""
        return autocast(self.training_settings.precision, self.device)

    def random(self, *names: seeds.Name) -> torch.Generator:
        """A generator for one purpose in this step, the same in all processes."""
        return seeds.generator(self.purpose, *names, self.seed, self.step)

    def draws(self, count: int) -> dict[str, Tensor]:
        """What a step of `count` images draws at random: tensors with one entry per image."""
        return {}

    def unlabelled(self, count: int, share: float) -> Tensor:
        """Which images lose their label, [B].

        Those that lose it at one share lose it at any greater one.
        """
        return torch.rand(count, generator=self.random("unlabelled")) < share

    def generator_draws(self, generator: Generator, count: int) -> dict[str, Tensor]:
        """`Generator.draws` under names of their own in the batch."""
        progress = self.step / self.training_settings.steps
        drawn = generator.draws(count, partial(self.random, "generator"), progress)
        return {f"{DRAWN}{name}": value for name, value in drawn.items()}

    def losses(self, **batch: Tensor) -> Losses:
        """The losses of one batch, with the draws of its images among its tensors."""
        raise NotImplementedError

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled where the settings say so; `compiling.decided` resolves "auto"."""
        return Compiled(function) if self.training_settings.compile is True else function


def run_step(
    forward: nn.Module,
    model: LossModel,
    data: Mapping[str, Tensor],
    optim_wrapper: OptimWrapper,
    without_exchange: Callable[[], AbstractContextManager[None]],
) -> Losses:
    """One training step on a batch, in `accumulate` parts.

    Returns its losses, averaged over parts and processes.
    """
    device = model.device
    # From pinned memory, batches are copied to a GPU while it computes.
    batch = {name: value.to(device, non_blocking=True) for name, value in data.items()}
    count = len(next(iter(batch.values())))
    world, rank = distributed.world_size(), distributed.rank()
    for name, drawn in model.draws(count * world).items():
        batch[name] = drawn[rank::world].to(device)
    if model.recording is not None and (recorded := model.recording(batch)) is not None:
        optim_wrapper.step()
        return on_host(recorded)
    parts = model.training_settings.accumulate
    total: Losses = {}
    for index in range(parts):
        part = (
            batch
            if parts == 1
            else {name: value.chunk(parts)[index] for name, value in batch.items()}
        )
        last = index == parts - 1
        with nullcontext() if last else without_exchange():
            loss, log = model.parse_losses(forward(mode="loss", **part))
            loss = loss if parts == 1 else loss / parts
            if not last:
                loss.backward()  # type: ignore[no-untyped-call]
        if last:
            optim_wrapper.update_params(loss)
        for name, value in log.items():
            total[name] = total.get(name, 0) + value.detach() / parts
    return on_host(distributed.mean(total))


def on_host(losses: Losses) -> Losses:
    """The losses, read from their device at once: each reading waits for all that it has to do."""
    if all(each.device.type == "cpu" for each in losses.values()):
        return losses
    return dict(zip(losses, torch.stack(list(losses.values())).cpu().unbind(), strict=True))


class TokenizerModel(LossModel):
    """Stage 1: a tokenizer, and the joint prior that it asks for.

    The paper alternates two steps on one batch: A, in which the tokenizer learns and the prior is
    frozen but differentiable, and B, in which the prior learns on the detached tokens. Both see the
    same tokens and the same prior. With the same dropped inputs for both, one forward pass has the
    gradients of both: the cross-entropy reaches the prior's weights with weight one (B) and,
    through the straight-through one-hots, the tokenizer's with `PriorRequest.weights` (A). Nothing
    of the prior's input reaches the tokenizer but through those one-hots. Where
    `PriorRequest.target_weights` differ, A and B learn from different sums, and each has a forward
    pass.
    """

    purpose = "tokenizer training"
    training_settings: TokenizerTraining

    def __init__(
        self,
        tokenizer: Tokenizer,
        prior: JointPrior | None,
        training: TokenizerTraining,
        none_label: int,
        losses: Mapping[str, ReconstructionLoss] | None = None,
    ) -> None:
        super().__init__(training)
        self.tokenizer = tokenizer
        self.prior = prior
        # A list beside labels: names of a ModuleDict can have no dot and must be no name of its
        # methods.
        self.loss_labels = tuple(losses or ())
        self.reconstruction_losses = nn.ModuleList((losses or {}).values())
        self.none_label = none_label
        self._tokenizer_losses = self.compiled(tokenizer.losses)
        self._prior_losses: Callable[..., Tensor] | None = None
        if prior is not None:
            self._prior_losses = self.compiled(prior.token_losses)
            self._frozen_prior_losses = self.compiled(_Frozen(prior).token_losses)
        if tokenizer.prior is not None:
            tokenizer.prior.check(tokenizer.layout)

    def draws(self, count: int) -> dict[str, Tensor]:
        drawn = {}
        if self.prior is not None and self.tokenizer.prior is not None:
            for name, mask in dropped_inputs(self.tokenizer.prior, count, self.random).items():
                drawn[f"{DROPPED}{name}"] = mask
            if self.training_settings.prior_labels:
                drawn["unlabelled"] = self.unlabelled(count, self.training_settings.label_dropout)
            drawn |= self.generator_draws(self.prior, count)
        return drawn

    def losses(self, **batch: Tensor) -> Losses:
        images = to_float(batch["images"])
        with left_alone(self.tokenizer, "`losses`", images=images):
            out = terms.checked_output(self._tokenizer_losses(images))
        losses = terms.named(terms.OWN, out.losses)
        if out.reconstruction is not None:
            check_shape(
                out.reconstruction, self.tokenizer, "the reconstruction of `losses`", images.shape
            )
            losses |= self._reconstruction_losses(out.reconstruction.float(), images)
        if self._prior_losses is not None and self.tokenizer.prior is not None:
            sizes = (len(images), self.tokenizer.layout.length)
            check_shape(out.ids, self.tokenizer, "`losses` (ids)", sizes)
            losses |= self._cross_entropies(self.tokenizer.prior, out, batch)
        return losses

    def _cross_entropies(
        self, request: PriorRequest, out: TokenizerOutput, batch: Mapping[str, Tensor]
    ) -> Losses:
        assert self._prior_losses is not None
        assert self.prior is not None
        dropped, drawn = _named(batch, DROPPED), _named(batch, DRAWN)
        none = torch.full_like(out.ids[:, 0], self.none_label)
        labels = (
            torch.where(batch["unlabelled"], none, batch["labels"])
            if "unlabelled" in batch
            else none
        )
        by_target = [request.target_weights.get(name, 1.0) for name in self.tokenizer.layout.names]
        common = by_target[0] if len(set(by_target)) == 1 else 1.0
        relaxed = {
            name: scale_gradient(out.relaxed[name], common * weight)
            for name, weight in request.weights.items()
        }
        if len(set(by_target)) == 1:
            with left_alone(self.prior, "`token_losses`", ids=out.ids, labels=labels):
                found = self._prior_losses(out.ids, labels, relaxed, dropped, **drawn)
            check_shape(found, self.prior, "`token_losses`", labels.shape, "T")
            return {terms.CROSS_ENTROPY: found.mean()}
        with left_alone(self.prior, "`token_losses`", ids=out.ids, labels=labels):
            frozen = self._frozen_prior_losses(out.ids, labels, relaxed, dropped, **drawn)
        check_shape(frozen, self.prior, "`token_losses`", labels.shape, "T")
        weights = frozen.new_tensor(
            weights_of_targets(self.tokenizer.layout, by_target, frozen.shape[1])
        )
        return {
            terms.TOKENIZER_CROSS_ENTROPY: (weights * frozen).mean(),
            terms.CROSS_ENTROPY: self._prior_losses(out.ids, labels, {}, dropped, **drawn).mean(),
        }

    def _reconstruction_losses(self, reconstruction: Tensor, images: Tensor) -> Losses:
        losses = {}
        if self.training_settings.l1_weight:
            losses[terms.L1] = self.training_settings.l1_weight * F.l1_loss(reconstruction, images)
        if self.training_settings.l2_weight:
            losses[terms.L2] = self.training_settings.l2_weight * F.mse_loss(reconstruction, images)
        for label, module in zip(self.loss_labels, self.reconstruction_losses, strict=True):
            with left_alone(module, "the loss", reconstruction=reconstruction, images=images):
                found = module(reconstruction, images, self.step)
            losses |= terms.named(label, found)
        return losses


class _Frozen:
    """A prior that is differentiable in its inputs and whose weights learn nothing."""

    def __init__(self, prior: JointPrior) -> None:
        self._forward = _TokenLosses(prior)

    def token_losses(self, *arguments: Any, **drawn: Tensor) -> Tensor:
        """As `JointPrior.token_losses`."""
        weights = {name: value.detach() for name, value in self._forward.named_parameters()}
        losses: Tensor = functional_call(self._forward, weights, arguments, drawn)
        return losses


class _TokenLosses(nn.Module):
    """`JointPrior.token_losses` as a forward pass, which is what `functional_call` calls."""

    def __init__(self, prior: JointPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, *arguments: Any, **drawn: Any) -> Tensor:
        return self.prior.token_losses(*arguments, **drawn)


def weights_of_targets(
    layout: TokenLayout, by_segment: Sequence[float], positions: int
) -> list[float]:
    """The weight of each column of `JointPrior.token_losses` [B, T].

    They are taken from weights by segment, in the layout's order. A separator counts to the segment
    that it ends, as in the paper's method: it is predicted from that segment's tokens alone. Raises
    StageError where T is neither the number of tokens nor that with separators.
    """
    try:
        targets = layout.targets(positions)
    except ValueError as error:
        raise StageError(f"target_weights: {error}") from None
    return [by_segment[segment] for segment, _ in targets]


class GeneratorModel(LossModel):
    """Stage 2: a generator on the cached tokens, with some labels replaced by "none"."""

    purpose = "generator training"
    training_settings: GeneratorTraining

    def __init__(self, generator: Generator, training: GeneratorTraining, none_label: int) -> None:
        super().__init__(training)
        self.generator = generator
        self.none_label = none_label
        self._generator_losses = self.compiled(generator.losses)

    def draws(self, count: int) -> dict[str, Tensor]:
        unlabelled = self.unlabelled(count, self.training_settings.label_dropout)
        return {"unlabelled": unlabelled, **self.generator_draws(self.generator, count)}

    def losses(self, **batch: Tensor) -> Losses:
        labels = batch["labels"]
        if "unlabelled" in batch:
            labels = torch.where(batch["unlabelled"], self.none_label, labels)
        drawn = _named(batch, DRAWN)
        ids = batch["ids"].long()
        with left_alone(self.generator, "`losses`", ids=ids, labels=labels):
            losses = self._generator_losses(ids, labels, **drawn)
        check_shape(losses, self.generator, "`losses`", labels.shape, "...")
        likely = self.generator.has_likelihood
        return {terms.CROSS_ENTROPY if likely else terms.OBJECTIVE: losses.mean()}


def dropped_inputs(
    request: PriorRequest, count: int, random: Callable[..., torch.Generator]
) -> dict[str, Tensor]:
    """For each segment with input dropout, a mask [B] true for that share of images at random.

    The share is rounded to whole images, so that each batch has as many.
    `random` makes the generator of a purpose. Images dropped at one share are dropped at any
    greater one.
    """
    return {
        name: torch.randperm(count, generator=random("dropped inputs", name)) < round(share * count)
        for name, share in request.input_dropout.items()
        if share > 0
    }


def _named(batch: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of a batch whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)
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
