"""What a generator of tokens is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    pass
from prologue_bench.contracts.layout import TokenLayout


class DecodingState:
    """What a generator remembers between decoding steps (a KV cache, say).

    Made by `Generator.start`.
    """


class Generator(nn.Module, ABC):
    """A distribution over token ids given a label. Set `layout` in the constructor.

    The constructor takes the component's settings, the token layout and the number of labels
    ("none" included). How separators enter the sequence is the generator's own affair; its
    arguments never hold them.
    """

    layout: TokenLayout
    progress: float = 0.0
    """How much of the training is done, from 0 to 1; set before each step for generators that
    anneal something."""

    def draws(self, count: int, random: Callable[..., torch.Generator]) -> Mapping[str, Tensor]:
        """What a training step of `count` images draws at random, such as orders.

        Tensors with one entry per image. They come back to `token_losses` as keyword arguments of
        the same names, cut to the images at hand, so that they depend neither on processes nor on
        parts of a batch. `random(*names)` makes the CPU generator of one purpose in this step: draw
        for each segment from a generator that its name names, and variants with other segments
        beside it draw alike. Nothing is drawn unless a generator says so.
        """
        return {}

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
        separator. Targets stay the ids in both cases.
        """

    @abstractmethod
    def logits(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of every predicted position over the whole vocabulary.

        Arguments are those of `token_losses`.
        """

    @abstractmethod
    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Negative log-likelihood in nats of each token, one [B, n] a segment.

        A separator's cost is charged to the first token of the segment that it opens.
        """

    def attention(self, ids: Tensor, labels: Tensor) -> Tensor | None:
        """Mean attention over images and heads [layers, L, L].

        Rows are the tokens predicted, columns those attended to. Rows add up to less than one where
        class tokens and separators are attended to. None where there is no such thing.
        """
        return None

    @abstractmethod
    def start(self, labels: Tensor) -> DecodingState:
        """The state before the first token, for labels [B]."""

    @abstractmethod
    def decode_step(self, state: DecodingState, chosen: Tensor | None) -> Tensor:
        """Logits [B, K] of the next token over its own segment's vocabulary.

        `chosen` [B, n] holds the ids chosen since the last step: one each time, None before the
        first token, or a whole prefix to begin with. Impossible tokens never appear: only the ids
        of the segment at hand have logits.
        """
