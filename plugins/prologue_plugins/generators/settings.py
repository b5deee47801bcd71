"""Settings of the generators, without importing torch."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen, validators

from prologue_bench.contracts import OF_TRAINING
from prologue_plugins.layers.settings import (
    MOST_RATIO,
    Initialisation,
    TransformerSettings,
    has_channels,
)


@frozen(kw_only=True)
class ArTransformerSettings(TransformerSettings):
    """A transformer without biases, with the wider feed-forward layer of the paper's AR models."""

    ffn_ratio: float = field(
        default=11 / 4, validator=[validators.gt(0), validators.le(MOST_RATIO), has_channels]
    )
    bias: bool = False
    dropout: float = field(
        default=0.1, validator=[validators.ge(0.0), validators.lt(1.0)], metadata=OF_TRAINING
    )


@frozen(kw_only=True)
class ArSettings:
    """A causal transformer; `tied` shares the token embeddings with the output layer."""

    transformer: ArTransformerSettings = ArTransformerSettings()
    tied: bool = False
    initialisation: Initialisation = field(default="open", metadata=OF_TRAINING)
    """Initial weights: `paper` draws all as the paper's implementation does, with closed gates;
    `open` starts with open gates."""


@frozen(kw_only=True)
class RarSettings(ArSettings):
    """All training images are shuffled until one share of the training, and none from another on.

    In between, the share of shuffled images falls linearly.
    """

    shuffled_until: float = field(
        default=0.5, validator=[validators.ge(0), validators.le(1)], metadata=OF_TRAINING
    )
    ordered_from: float = field(
        default=0.75, validator=[validators.ge(0), validators.le(1)], metadata=OF_TRAINING
    )

    @ordered_from.validator
    def _after(self, attribute: Any, value: float) -> None:
        if value < self.shuffled_until:
            raise ValueError(
                f"'ordered_from' must be at least shuffled_until {self.shuffled_until}: {value}"
            )
