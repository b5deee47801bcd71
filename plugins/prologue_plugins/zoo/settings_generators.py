"""Settings of published generators, without importing torch. Names are those of the official
configurations; defaults are small."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import field, frozen, validators

from prologue_plugins.zoo.settings import size


def _given() -> Any:
    """A number that tokens and classes have; 0 takes any, as where no weights are released."""
    return field(default=0, validator=[validators.ge(0), validators.le(2**24)])


def _splits(of: str, parts: int) -> Any:
    """A validator of a number of heads that split a width into channels in so many parts."""

    def check(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        width = getattr(instance, of)
        if width % value or (width // value) % parts:
            raise ValueError(
                f"{attribute.name!r} must split {of!r} into heads of a multiple of {parts} "
                f"channels: {value} heads, {of} {width}"
            )

    return check


@frozen(kw_only=True)
class LlamaGenGptSettings:
    """LlamaGen's class-conditional transformers."""

    dim: int = size(32, 2**16)
    n_layer: int = size(1, 256)
    n_head: int = field(default=2, validator=[validators.ge(1), _splits("dim", 4)])
    n_kv_head: int | None = field(default=None)
    """Heads of keys and values, each of which several of queries share; all have their own without
    it."""
    multiple_of: int = size(32, 2**16)
    """The feed-forward layer's width, 8/3 of `dim`, is rounded up to a multiple of this."""
    ffn_dim_multiplier: float | None = None
    """What that width is multiplied by before it is rounded up."""
    vocab_size: int = _given()
    block_size: int = _given()
    """Tokens of an image."""
    num_classes: int = _given()
    rope_base: float = field(default=10000.0, validator=validators.gt(0))
    norm_eps: float = field(default=1e-5, validator=validators.gt(0))

    @n_kv_head.validator
    def _shared(self, attribute: Any, value: int | None) -> None:
        if value is not None and (value < 1 or self.n_head % value):
            raise ValueError(f"'n_kv_head' must divide 'n_head' {self.n_head}: {value}")

    @property
    def hidden(self) -> int:
        """Width of the feed-forward layer."""
        width = int(2 * 4 * self.dim / 3)
        if self.ffn_dim_multiplier is not None:
            width = int(self.ffn_dim_multiplier * width)
        return -(-width // self.multiple_of) * self.multiple_of


@frozen(kw_only=True)
class OfficialRarSettings:
    """RAR as released."""

    hidden_size: int = size(32, 2**16)
    num_hidden_layers: int = size(1, 256)
    num_attention_heads: int = field(
        default=2, validator=[validators.ge(1), _splits("hidden_size", 1)]
    )
    intermediate_size: int = size(64, 2**18)
    """Width of the feed-forward layer."""
    codebook_size: int = _given()
    image_seq_len: int = _given()
    """Tokens of an image."""
    condition_num_classes: int = _given()
