"""Sizes of a transformer, without importing torch."""

from __future__ import annotations

import attrs
from attrs import field, frozen, validators


def _fits_heads(instance: TransformerSettings, attribute: attrs.Attribute[int], value: int) -> None:
    if instance.width % value or (instance.width // value) % 4:
        raise ValueError(
            f"'heads' must split 'width' into heads of a multiple of 4 channels: {value} heads, width {instance.width}"
        )


@frozen(kw_only=True)
class TransformerSettings:
    """Sizes of one transformer; `ffn_ratio` is the hidden width of the feed-forward layer in widths."""

    width: int = field(default=768, validator=validators.ge(4))
    layers: int = field(default=12, validator=validators.ge(1))
    heads: int = field(default=12, validator=[validators.ge(1), _fits_heads])
    ffn_ratio: float = field(default=8 / 3, validator=validators.gt(0))
    condition_width: int = field(default=32, validator=validators.ge(1))
    bias: bool = True
    """Biases in the output, feed-forward and gate layers."""
    dropout: float = field(default=0.0, validator=[validators.ge(0.0), validators.lt(1.0)])

    @property
    def head_channels(self) -> int:
        """Channels of one head, C."""
        return self.width // self.heads
