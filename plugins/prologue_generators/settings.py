"""Settings of the generators, without importing torch."""

from __future__ import annotations

from attrs import field, frozen, validators

from prologue_layers.settings import TransformerSettings


@frozen(kw_only=True)
class ArTransformerSettings(TransformerSettings):
    """A transformer without biases and with the wider feed-forward layer of the paper's AR models."""

    ffn_ratio: float = field(default=11 / 4, validator=validators.gt(0))
    bias: bool = False
    dropout: float = field(default=0.1, validator=[validators.ge(0.0), validators.lt(1.0)])


@frozen(kw_only=True)
class ArSettings:
    """A causal transformer; `tied` shares the token embeddings with the output layer."""

    transformer: ArTransformerSettings = ArTransformerSettings()
    tied: bool = False
