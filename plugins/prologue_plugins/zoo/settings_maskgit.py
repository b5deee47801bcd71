"""Settings of the MaskGIT family, TiTok, BSQ-ViT and Cosmos, without importing torch.

Sizes have the names of the official configurations where these are clear.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
from attrs import field, frozen, validators

from prologue_plugins.zoo.settings import ZooSettings, size, sizes

MOST_BITS = 62
"""Ids are signed integers of 64 bits."""
MOST_TABLE_BITS = 24
"""MaskBit's state dict holds a table of all codes."""


def codes(default: int) -> Any:
    """A setting that counts codes."""
    return field(default=default, validator=[validators.ge(2), validators.le(2**24)])


def _check_groups(settings: Any) -> None:
    widths = [settings.hidden_channels * factor for factor in (1, *settings.channel_mult)]
    if any(width % settings.norm_groups for width in widths):
        raise ValueError(
            f"'norm_groups' must divide the channels of every level: {settings.norm_groups} "
            f"groups, {widths[1:]} channels"
        )


@frozen(kw_only=True)
class ConvSettings(ZooSettings):
    """Sizes of encoder and decoder of the MaskGIT family."""

    hidden_channels: int = size(8, 2**16)
    channel_mult: tuple[int, ...] = sizes(1, 2, 4)
    """Channels of each level in units of `hidden_channels`, the finest level first."""
    num_res_blocks: int = size(1, 64)
    norm_groups: int = size(4)

    def __attrs_post_init__(self) -> None:
        _check_groups(self)


@frozen(kw_only=True)
class MaskGitVqganSettings(ConvSettings):
    """MaskGIT's tokenizer."""

    num_embeddings: int = codes(64)
    embedding_dim: int = size(8, 2**16)


@frozen(kw_only=True)
class MaskBitSettings(ConvSettings):
    """MaskBit's tokenizers: 2^`token_size` codes."""

    token_size: int = size(8, MOST_TABLE_BITS)


@frozen(kw_only=True)
class VqganPlusSettings(ConvSettings):
    """VQGAN+: a codebook of `codebook_size` vectors of `token_size` numbers."""

    codebook_size: int = codes(64)
    token_size: int = size(8, 2**16)


@frozen(kw_only=True)
class VitSize:
    """Sizes of a transformer."""

    width: int = size(32, 2**16)
    layers: int = size(2, 256)
    heads: int = size(2, 2**16)
    mlp_ratio: int = size(4, 64)

    def __attrs_post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"'heads' must divide 'width': {self.heads} heads, width {self.width}")


def _divides_image(instance: Any, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1 or instance.image_size % value:
        raise ValueError(
            f"'patch_size' must divide 'image_size': {value}, image size {instance.image_size}"
        )


@frozen(kw_only=True)
class PixelDecoderSettings:
    """A MaskGIT decoder and the codebook whose vectors it takes."""

    hidden_channels: int = size(8, 2**16)
    channel_mult: tuple[int, ...] = sizes(1, 2, 4)
    num_res_blocks: int = size(1, 64)
    norm_groups: int = size(4)
    num_embeddings: int = codes(64)
    z_channels: int = size(8, 2**16)

    def __attrs_post_init__(self) -> None:
        _check_groups(self)


@frozen(kw_only=True)
class TiTokSettings(ZooSettings):
    """TiTok, of one stage or of two."""

    image_size: int = size(16, 2**14)
    patch_size: int = field(default=4, validator=_divides_image)
    num_latent_tokens: int = size(8, 2**16)
    codebook_size: int = codes(64)
    token_size: int = size(8, 2**16)
    use_l2_norm: bool = True
    """Whether latents and codes are brought to length one."""
    is_legacy: bool = True
    """Whether tokens and channels are mixed before the encoder's last layer, as in all released
    models of two stages."""
    encoder: VitSize = VitSize()
    decoder: VitSize = VitSize()
    pixel: PixelDecoderSettings | None = None
    """The decoder of the second stage; models of one stage have none."""

    def __attrs_post_init__(self) -> None:
        if self.pixel is not None and 2 ** (len(self.pixel.channel_mult) - 1) != self.patch_size:
            raise ValueError(
                "'pixel' must enlarge its input by 'patch_size', "
                f"{self.patch_size}; found {len(self.pixel.channel_mult)} levels, which enlarge "
                f"{2 ** (len(self.pixel.channel_mult) - 1)} times"
            )


@frozen(kw_only=True)
class BsqVitSettings(ZooSettings):
    """BSQ-ViT: `embed_dim` bits for each patch, in tokens of `token_bits`."""

    image_size: int = size(16, 2**14)
    patch_size: int = field(default=4, validator=_divides_image)
    transformer: VitSize = VitSize()
    """Of encoder and decoder each."""
    dim_ffn_output: int = size(64)
    embed_dim: int = size(8, MOST_BITS)
    token_bits: int = size(8, MOST_BITS)
    """Bits of a token. Ids of 36 bits are too many for a softmax; then a patch may have several
    tokens one behind the other, with the highest bits first."""
    embed_group_size: int = size(1, MOST_BITS)
    """Bits of a group in the training's loss. Only the shape of the weights depends on it."""

    def __attrs_post_init__(self) -> None:
        for name in ("token_bits", "embed_group_size"):
            if self.embed_dim % getattr(self, name):
                raise ValueError(
                    f"{name!r} must divide 'embed_dim', {self.embed_dim}: {getattr(self, name)}"
                )


def _fsq_levels(instance: object, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
    if not value or len(value) > MOST_BITS or min(value) < 2 or math.prod(value) > 2**MOST_BITS:
        raise ValueError(
            f"'levels' must be whole numbers from 2 with a product of at most 2^{MOST_BITS}: "
            f"{list(value)}"
        )


def _power_of_two(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 1 <= value <= 2**16 or value & (value - 1):
        raise ValueError(f"{attribute.name!r} must be a power of two up to 2^16: {value}")


@frozen(kw_only=True)
class CosmosDiSettings(ZooSettings):
    """Cosmos' discrete image tokenizers."""

    channels: int = size(8, 2**16)
    channels_mult: tuple[int, ...] = sizes(1, 2)
    num_res_blocks: int = size(1, 64)
    z_channels: int = size(8, 2**16)
    levels: tuple[int, ...] = field(default=(4, 4, 3), validator=_fsq_levels)
    """Values of each channel of a code; their product is the number of codes."""
    spatial_compression: int = field(default=4, validator=_power_of_two)
    """Pixels on a side of an image for each place on a side of the grid."""
    patch_size: int = field(default=2, validator=_power_of_two)
    """How much of this is done by wavelets, before the encoder."""
    norm_groups: int = size(4)

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.halvings <= len(self.channels_mult):
            raise ValueError(
                f"'spatial_compression' must be 'patch_size', {self.patch_size}, times 1 to "
                f"{2 ** len(self.channels_mult)} by {len(self.channels_mult)} levels: "
                f"{self.spatial_compression}"
            )

    @property
    def halvings(self) -> int:
        """Levels that halve the sides."""
        return (self.spatial_compression.bit_length()) - self.patch_size.bit_length()
