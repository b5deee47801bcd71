"""Settings of published tokenizers, without importing torch.

Sizes have the names of the official configurations. Defaults are small models, which show that
everything runs; the presets in registry/tokenizers have the released sizes.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from prologue_bench.contracts import FILE, unread
from prologue_bench.contracts.external import content
from prologue_plugins.zoo.hub import SCHEME, HubFile

RANDOM = "random"
"""In place of a file: weights as new layers have them."""


def size(default: int, most: int = 2**20) -> Any:
    """A setting that is a whole number from 1."""
    return field(default=default, validator=[validators.ge(1), validators.le(most)])


def sizes(*default: int, most: int = 2**16) -> Any:
    """A setting that is a list of whole numbers from 1."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
        if not value or len(value) > 32 or min(value) < 1 or max(value) > most:
            raise ValueError(
                f"{attribute.name!r} must be 1 to 32 whole numbers from 1 to {most}: {list(value)}"
            )

    return field(default=default, validator=check)


def _identity(settings: Any, value: str) -> str | None:
    """A file's content; of one on the hub its name, as a commit's files never change."""
    if value == RANDOM:
        return None
    return value if value.startswith(SCHEME) else content(settings, value)


def _file(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """Whether a file is there is seen when a run is planned."""
    if value.startswith(SCHEME):
        try:
            HubFile.parse(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name!r} {error}") from None


@frozen(kw_only=True)
class ZooSettings:
    """Where the weights are."""

    weights: str = field(default=RANDOM, validator=_file, metadata={FILE: _identity})
    """The released file, or its conversion to safetensors: a path, or `hf:ORG/NAME@REVISION/FILE`
    on the hub. `random` makes new weights, which show that everything runs and nothing else."""
    random_seed: int = field(default=0, validator=validators.ge(0))
    """Of random weights."""

    def as_read(self) -> ZooSettings:
        """The random seed is read only where weights are random."""
        return self if self.weights == RANDOM else unread(self, "random_seed")


@frozen(kw_only=True)
class LlamaGenVqSettings(ZooSettings):
    """LlamaGen's tokenizers VQ-16 and VQ-8."""

    ch: int = size(8)
    encoder_ch_mult: tuple[int, ...] = sizes(1, 2, 4)
    decoder_ch_mult: tuple[int, ...] = sizes(1, 2, 4)
    num_res_blocks: int = size(1, 64)
    z_channels: int = size(8)
    codebook_size: int = field(default=64, validator=[validators.ge(2), validators.le(2**24)])
    codebook_embed_dim: int = size(4)
    codebook_l2_norm: bool = True
    """Whether latents and codes are brought to length one."""
    norm_groups: int = size(4)

    def __attrs_post_init__(self) -> None:
        if len(self.encoder_ch_mult) != len(self.decoder_ch_mult):
            raise ValueError(
                "'decoder_ch_mult' must have as many levels as 'encoder_ch_mult': "
                f"{list(self.decoder_ch_mult)}"
            )


@frozen(kw_only=True)
class TamingVqganSettings(ZooSettings):
    """VQGAN of taming-transformers, and the VQ models of latent diffusion."""

    ch: int = size(8)
    ch_mult: tuple[int, ...] = sizes(1, 2, 4)
    num_res_blocks: int = size(1, 64)
    resolution: int = size(16, 2**16)
    """The nominal side of images, by which `attn_resolutions` are counted; others are taken too."""
    attn_resolutions: tuple[int, ...] = field(default=(4,))
    """Levels with this nominal side have attention."""
    attn_type: Literal["vanilla", "none"] = "vanilla"
    """`none` leaves attention out everywhere, also in the middle."""
    z_channels: int = size(8)
    n_embed: int = field(default=64, validator=[validators.ge(2), validators.le(2**24)])
    """Codes."""
    embed_dim: int = size(4)
    """Width of a code."""
    norm_groups: int = size(4)


@frozen(kw_only=True)
class IbqSettings(TamingVqganSettings):
    """IBQ: the modules of taming VQGAN with another choice of codes."""

    average: bool = True
    """Whether the moving average is taken, from which published numbers come."""


@frozen(kw_only=True)
class OpenMagvit2Settings(ZooSettings):
    """Open-MAGVIT2, without a codebook."""

    ch: int = size(8)
    ch_mult: tuple[int, ...] = sizes(1, 2, 4)
    num_res_blocks: int = size(1, 64)
    bits: int = field(default=6, validator=[validators.ge(1), validators.le(24)])
    """Of an id; `z_channels` and `embed_dim` in official configurations."""
    norm_groups: int = size(4)
    average: bool = True
    """Whether the moving average is taken, from which published numbers come."""


@frozen(kw_only=True)
class VarVqSettings(ZooSettings):
    """VAR's multi-scale residual quantizer between taming's encoder and decoder."""

    ch: int = size(8)
    ch_mult: tuple[int, ...] = sizes(1, 2, 4)
    num_res_blocks: int = size(1, 64)
    z_channels: int = size(8)
    """Also the width of a code."""
    vocab_size: int = field(default=64, validator=[validators.ge(2), validators.le(2**24)])
    """Codes, which the levels share."""
    v_patch_nums: tuple[int, ...] = sizes(1, 2, 4, 7)
    """Tokens on a side of each level, the coarsest first; the last has the latents' sides."""
    share_quant_resi: int = size(4, 64)
    """How many convolutions of enlarged codes the levels share."""
    quant_resi: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    """How much of the convolution is in what a level adds."""
    quant_conv_ks: int = field(default=3, validator=validators.in_((1, 3)))
    """Side of the convolutions around the quantizer."""
    norm_groups: int = size(4)
