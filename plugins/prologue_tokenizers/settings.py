"""Settings of the tokenizers, without importing torch."""

from __future__ import annotations

from attrs import field, frozen, validators

from prologue_layers.settings import TransformerSettings


@frozen(kw_only=True)
class Vq2dSettings:
    """A ViT encoder, a vector quantizer for every patch, and a ViT decoder."""

    patch_size: int = field(default=16, validator=validators.ge(1))
    """Edge of a patch in pixels."""
    encoder: TransformerSettings = TransformerSettings()
    decoder: TransformerSettings = TransformerSettings()
    visual_codebook: int = field(default=16384, validator=validators.ge(2))
    """Number of codes."""
    code_width: int = field(default=14, validator=validators.ge(1))
    commitment: float = field(default=0.25, validator=validators.ge(0))
    """Weight of the pull of the latents towards their codes; the codes' pull towards the latents has weight one."""


@frozen(kw_only=True)
class PrologueSettings(Vq2dSettings):
    """The 2D baseline's settings and those of the prologue; `prologue_tokens: 0` is the baseline itself."""

    prologue_tokens: int = field(default=16, validator=validators.ge(0))
    prologue_codebook: int = field(default=1024, validator=validators.ge(2))
    """Number of codes."""
    straight_through_temperature: float = field(default=0.1, validator=validators.gt(0))
    """Temperature of the softmax whose gradient the one-hots carry."""
    separator: bool = True
    """Put a separator token between prologue and visual tokens."""
    ce_weight: float = field(default=3.0, validator=validators.ge(0))
    """Weight of the autoregressive cross-entropy in the encoder's loss."""
    visual_dropout: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    """Share of images whose visual inputs to the joint prior are all replaced by the separator."""
