"""Sizes of a transformer, without importing torch."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from prologue_bench.contracts import OF_TRAINING
from prologue_bench.errors import UserError

StraightThrough = Literal["softmax", "vq"]
"""How the gradient passes a quantizer whose ids the prior reads."""

Initialisation = Literal["open", "paper"]
"""How networks start: with open gates, and torch's own weights around the blocks; or wholly as in
the paper's implementation (`prologue_plugins.layers.initialisation`), with closed gates."""


MOST_CHANNELS = 2**16
MOST_LAYERS = 256
MOST_RATIO = 64
MOST_CODES = 2**24
MOST_TOKENS = 2**16
"""Far over what is trained anywhere, and still planned in a moment."""


def patch_grid(shape: tuple[int, int, int], size: int) -> tuple[int, int]:
    """Rows and columns of patches of this edge, of images [C, H, W].

    Raises UserError when the images cannot be cut into them.
    """
    _, height, width = shape
    if height % size or width % size:
        raise UserError(
            f"tokenizer.patch_size: found {size}, expected a divisor of the images' "
            f"{height} x {width} pixels"
        )
    return height // size, width // size


def has_channels(
    instance: TransformerSettings, attribute: attrs.Attribute[float], value: float
) -> None:
    """A validator of `ffn_ratio`: the feed-forward layer needs at least one channel."""
    if round(instance.width * value) < 1:
        raise ValueError(
            f"'ffn_ratio' must leave a hidden channel at width {instance.width}: {value}"
        )


def _fits_heads(instance: TransformerSettings, attribute: attrs.Attribute[int], value: int) -> None:
    if instance.width % value or (instance.width // value) % 4:
        raise ValueError(
            f"'heads' must split 'width' into heads of a multiple of 4 channels: {value} heads, "
            f"width {instance.width}"
        )


def _fills_head(
    instance: TransformerSettings,
    attribute: attrs.Attribute[Any],
    value: tuple[int, int, int] | None,
) -> None:
    if value is not None and (
        sum(value) != instance.head_channels or any(axis < 0 or axis % 2 for axis in value)
    ):
        raise ValueError(
            f"'rotary_axes' must be even and add up to the {instance.head_channels} channels of a "
            f"head: {list(value)}"
        )


@frozen(kw_only=True)
class TransformerSettings:
    """Sizes of one transformer.

    `ffn_ratio` is the hidden width of the feed-forward layer in widths.
    """

    width: int = field(default=768, validator=[validators.ge(4), validators.le(MOST_CHANNELS)])
    layers: int = field(default=12, validator=[validators.ge(1), validators.le(MOST_LAYERS)])
    heads: int = field(default=12, validator=[validators.ge(1), _fits_heads])
    ffn_ratio: float = field(
        default=8 / 3, validator=[validators.gt(0), validators.le(MOST_RATIO), has_channels]
    )
    condition_width: int = field(
        default=32, validator=[validators.ge(1), validators.le(MOST_CHANNELS)]
    )
    bias: bool = True
    """Biases in the output, feed-forward and gate layers."""
    dropout: float = field(
        default=0.0, validator=[validators.ge(0.0), validators.lt(1.0)], metadata=OF_TRAINING
    )
    """Share that training sets to zero: of residual branches, of the condition's channels (drawn
    for each image), and of the input embeddings of autoregressive models."""
    rotary_axes: tuple[int, int, int] | None = field(default=None, validator=_fills_head)
    """Channels of a head for each of three rotary axes. Axes are (row, column, index) in encoders
    and decoders, and (position, unused, unused) in autoregressive models. None: in proportion to
    the paper's (20, 20, 24) of 64 for the former; half of a head for the position in the latter."""

    @property
    def head_channels(self) -> int:
        """Channels of one head, C."""
        return self.width // self.heads
