"""What a generator of tokens is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from attrs import frozen
from torch import Tensor, nn

from prologue_bench.contracts.layout import TokenLayout

FREE = -1
"""Among ids that are fixed, stands for a token that is drawn."""


def fixed_at(ids: Tensor, places: Sequence[int]) -> Tensor:
    """Ids [B, L] with FREE everywhere but at these places of the L."""
    fixed = torch.full_like(ids, FREE)
    fixed[:, list(places)] = ids[:, list(places)]
    return fixed


State = TypeVar("State")
"""What an autoregressive generator remembers between steps, such as a KV cache: any class."""


class Generator(nn.Module, ABC):
    """A distribution over token ids given a label. Set `layout` in the constructor.

    The constructor takes the component's settings, the token layout and the number of labels
    ("none" included). How separators enter the sequence is the generator's own affair; its
    arguments never hold them. A generator is one of the subclasses below, which say how it draws.
    """

    layout: TokenLayout

    def draws(
        self, count: int, random: Callable[..., torch.Generator], progress: float
    ) -> Mapping[str, Tensor]:
        """What a training step of `count` images draws at random, such as orders.

        Tensors with one entry per image. They come back to `losses` as keyword arguments of the
        same names, cut to the images at hand, so that they depend neither on processes nor on parts
        of a batch. `random(*names)` makes the CPU generator of one purpose in this step: draw for
        each segment from a generator that its name names, and variants with other segments beside
        it draw alike. `progress` says how much of the training is done, from 0 to 1; what the
        losses themselves anneal by is given back as a tensor too. Nothing is drawn unless a
        generator says so.
        """
        return {}

    @abstractmethod
    def losses(self, ids: Tensor, labels: Tensor) -> Tensor:
        """What training lowers, [B, ...] for ids [B, L] and labels [B]; a step lowers its mean.

        For most generators these are the cross-entropies in nats of all predicted positions. What
        `draws` gave comes as keyword arguments.
        """

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor] | None:
        """Negative log-likelihood in nats of each token, one [B, n] per segment.

        A separator's cost is charged to the first token of the segment that it opens. A generator
        without a likelihood leaves this method out: metrics of the likelihood then do not apply.
        """
        return None

    @property
    def has_likelihood(self) -> bool:
        """Whether the generator gives `nll`."""
        return type(self).nll is not Generator.nll

    def attention(self, ids: Tensor, labels: Tensor) -> Tensor | None:
        """Mean attention over images and heads [layers, L, L].

        Rows are the tokens predicted, columns those attended to. Rows add up to less than one where
        class tokens and separators are attended to. None where there is no such thing.
        """
        return None


class AutoregressiveGenerator(Generator, Generic[State]):
    """A generator that draws step by step, in the layout's order.

    The sampler owns temperatures, guidance, top-k, top-p and fixed tokens. It calls `start` once
    per batch, then `decode_step` once per step of `steps`, but not for steps that are fixed as a
    whole at the beginning or at the end.
    """

    @property
    def steps(self) -> Sequence[int]:
        """How many tokens each step draws, which add up to L; one each unless overridden.

        The tokens of a step are drawn independently of each other, and lie in one segment.
        """
        return (1,) * self.layout.length

    @abstractmethod
    def start(self, labels: Tensor) -> State:
        """The state before the first token, for labels [B].

        Under guidance the sampler doubles the batch: B labels, then B times "none".
        """

    def restart(self, state: State, labels: Tensor) -> State:
        """As `start`, where a state is no longer needed.

        What it holds may be used again: its memory, and what was computed from the weights, which
        are still the same.
        """
        return self.start(labels)

    @abstractmethod
    def decode_step(self, state: State, chosen: Tensor | None) -> Tensor:
        """Logits [B, n, K] of the next step's n tokens over their own segment's vocabulary.

        `chosen` [B, m] holds the ids chosen since the last call: those of the step before, None at
        the beginning, or those of several steps to begin with, where a prefix is fixed. Impossible
        tokens never appear: only the ids of the segment at hand have logits.
        """


@frozen(kw_only=True)
class Drawing:
    """One batch of images that a `ParallelGenerator` is asked for, on the generator's device.

    `labels` are [B], and `none_label` is the label of the unconditional pass. `fixed` [B, L] has
    the ids that are given, and FREE where a token is drawn; it is None where all are. Where only
    first tokens are fixed, as many for all images, `prefix` [B, n] holds them, and is None
    otherwise.
    `temperatures` has one number per segment; `guidance` has one scale per token,
    where 1 is none: scale * conditional + (1 - scale) * unconditional logits. `top_k` (0: all) and
    `top_p` (1: all) cut each token's distribution. `noise(name, n)` gives float64 [B, n], uniform
    in [0, 1), the same for an image in whatever batch it is drawn: name each purpose, such as the
    step. Draw from it alone, so that samples repeat.
    """

    labels: Tensor
    none_label: int
    prefix: Tensor | None
    temperatures: Mapping[str, float]
    guidance: tuple[float, ...]
    top_k: int
    top_p: float
    noise: Callable[[str, int], Tensor]
    fixed: Tensor | None = None


class ParallelGenerator(Generator):
    """A generator that draws in a way of its own, such as masked tokens in a few rounds."""

    @abstractmethod
    def draw(self, drawing: Drawing) -> Tensor:
        """Ids [B, L], int64, each inside the vocabulary of its segment."""


@frozen
class InspectedPrior:
    """How well a joint prior predicts.

    `losses` [B, T] are those of `token_losses`. `hits` [B, T] say whether the target is the
    likeliest of all that the prior could have predicted there; None where it does not tell.
    """

    losses: Tensor
    hits: Tensor | None = None


class JointPrior(Generator):
    """A generator that a tokenizer can learn from: its inputs can be relaxed and dropped.

    Only such a generator can stand in `tokenizer_training.prior`.
    """

    @abstractmethod
    def token_losses(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Cross-entropies in nats of every predicted position, separators included: [B, T].

        Positions are in the layout's order, a separator between the segments that it stands
        between. ids [B, L], labels [B]. `relaxed` gives, for a segment, the one-hot [B, n, K] that
        replaces its input embeddings' lookup. `dropped` gives, for a segment of a layout with
        several, a mask [B] of the images whose inputs of that segment are replaced by the
        separator. Targets stay the ids in both cases. What `draws` gave comes as keyword arguments.
        """

    def inspect(self, ids: Tensor, labels: Tensor) -> InspectedPrior:
        """How well each position is predicted, of ids [B, L] and labels [B], inputs as they are.

        Called between training steps, in evaluation and without gradients. Only figures that
        describe the training are made of it.
        """
        return InspectedPrior(self.token_losses(ids, labels))

    def losses(self, ids: Tensor, labels: Tensor, **drawn: Tensor) -> Tensor:
        """`token_losses` with the inputs as they are."""
        losses: Callable[..., Tensor] = self.token_losses
        return losses(ids, labels, **drawn)
