"""Randomised autoregressive model (Yu et al. 2024, "Randomized Autoregressive Visual Generation").

During training the tokens of each segment stand in a random order, and every input says which place
the output is for; the share of shuffled images falls to zero over the training. Generation goes in
the usual order, so that decoding and key-value caches are those of the plain model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from prologue_bench.contracts import TokenLayout
from prologue_plugins.generators.ar import Ar, ArState
from prologue_plugins.generators.settings import RarSettings
from prologue_plugins.layers.initialisation import initialise


class Rar(Ar):
    """An `Ar` with an embedding of the place each output predicts, trained on shuffled segments.

    Segments stay in their order, and separators in their places: a prologue is complete before its
    visual tokens begin in every order.
    """

    def __init__(self, settings: RarSettings, layout: TokenLayout, labels: int) -> None:
        super().__init__(settings, layout, labels)
        self.target_embedding = nn.Embedding(self.vocabulary.positions, settings.transformer.width)
        self.shuffled_until, self.ordered_from = settings.shuffled_until, settings.ordered_from
        nn.init.normal_(self.target_embedding.weight, std=0.02)
        initialise(settings.initialisation, self.target_embedding)

    def shuffled_share(self, progress: float) -> float:
        """The share of shuffled images at a progress from 0 to 1: 1 at first, falling to 0."""
        if progress <= self.shuffled_until:
            return 1.0
        if progress >= self.ordered_from:
            return 0.0
        return (self.ordered_from - progress) / (self.ordered_from - self.shuffled_until)

    def draws(
        self, count: int, random: Callable[..., torch.Generator], progress: float
    ) -> dict[str, Tensor]:
        return {"order": self.random_order(count, random, progress)}

    def token_losses(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """As in the contract.

        `order` [B, T] has the places in the order of their prediction, the usual one without it.
        """
        if order is None:
            return super().token_losses(ids, labels, relaxed, dropped)
        targets = self.vocabulary.sequence(ids)
        inputs = self._ordered_inputs(targets, order, labels, relaxed or {}, dropped or {})
        losses = self.head.cross_entropy(*self._features(inputs), targets.gather(1, order))
        # Back at the tokens' own places, so that segments can be told apart.
        return torch.empty_like(losses).scatter(1, order, losses)

    def _inputs(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor],
        dropped: Mapping[str, Tensor],
    ) -> Tensor:
        inputs = super()._inputs(ids, labels, relaxed, dropped)
        places = torch.arange(self.vocabulary.positions, device=ids.device)
        targets: Tensor = self.target_embedding(places)
        return inputs + targets

    def _ordered_inputs(
        self,
        sequence: Tensor,
        order: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor],
        dropped: Mapping[str, Tensor],
    ) -> Tensor:
        """Inputs [B, T, D], whose t-th output is of place order[:, t], the class at the front."""
        embedded = self._embed(sequence, relaxed, dropped)
        embedded = embedded.gather(1, order.unsqueeze(2).expand(-1, -1, embedded.shape[2]))
        inputs = torch.cat((self.label_embedding(labels).unsqueeze(1), embedded[:, :-1]), dim=1)
        places: Tensor = self.target_embedding(order)
        return inputs + places

    def random_order(
        self, count: int, random: Callable[..., torch.Generator], progress: float
    ) -> Tensor:
        """Places [B, T] in the order of their prediction.

        Each segment's own places are shuffled among themselves. `random` makes the generator of a
        purpose.
        """
        order = torch.arange(self.vocabulary.positions).repeat(count, 1)
        shuffled = torch.rand(count, generator=random("shuffled")) < self.shuffled_share(progress)
        for name, span in self.vocabulary.spans.items():
            noise = torch.rand(count, span.stop - span.start, generator=random("order", name))
            permutation = noise.argsort(dim=1) + span.start
            order[:, span] = torch.where(shuffled[:, None], permutation, order[:, span])
        return order

    def _input(self, state: ArState, embedded: Tensor) -> Tensor:
        start = state.decoder.used
        places = torch.arange(start, start + embedded.shape[1], device=embedded.device)
        targets: Tensor = self.target_embedding(places)
        return embedded + targets
