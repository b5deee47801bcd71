"""Settings of the tokenizers, without importing torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from prologue_bench.contracts import Segment, unread
from prologue_plugins.layers.settings import (
    MOST_CHANNELS,
    MOST_CODES,
    MOST_TOKENS,
    Initialisation,
    StraightThrough,
    TransformerSettings,
    patch_grid,
)


@frozen(kw_only=True)
class VqSettings:
    """A ViT encoder, a vector quantizer and a ViT decoder."""

    patch_size: int = field(default=16, validator=validators.ge(1))
    """Edge of a patch in pixels."""
    encoder: TransformerSettings = TransformerSettings()
    decoder: TransformerSettings = TransformerSettings()
    visual_codebook: int = field(
        default=16384, validator=[validators.ge(2), validators.le(MOST_CODES)]
    )
    """Number of codes."""
    code_width: int = field(default=14, validator=[validators.ge(1), validators.le(MOST_CHANNELS)])
    commitment: float = field(default=0.25, validator=validators.ge(0))
    """Weight of the pull of the latents towards their codes; the codes' pull towards the latents
    has weight one."""
    straight_through_temperature: float = field(default=0.1, validator=validators.gt(0))
    """Temperature of the softmax whose gradient the one-hots carry that an autoregressive prior
    reads."""
    visual_ce_weight: float = field(default=0.0, validator=validators.ge(0))
    """Weight of the autoregressive cross-entropy in what the visual tokens learn from ("CE on
    visual"); 0 spares them, and where no other token learns from it either, there is no joint
    prior."""
    initialisation: Initialisation = "open"
    """Initial weights: `paper` draws all as the paper's implementation does, with closed gates;
    `open` starts with open gates."""

    def as_read(self) -> VqSettings:
        """The temperature is read only where the visual tokens learn from the prior."""
        return self if self.visual_ce_weight else unread(self, "straight_through_temperature")

    def segments(self, shape: tuple[int, int, int]) -> tuple[Segment, ...]:
        """The tokens of images [C, H, W]: one per patch.

        Raises UserError when the images cannot be cut into patches.
        """
        grid = patch_grid(shape, self.patch_size)
        return (Segment("visual", math.prod(grid), self.visual_codebook, grid),)


@frozen(kw_only=True)
class Vq2dSettings(VqSettings):
    """One token per patch."""


@frozen(kw_only=True)
class Vq1dSettings(VqSettings):
    """A sequence of tokens that have no places in the image."""

    tokens: int = field(default=256, validator=[validators.ge(1), validators.le(MOST_TOKENS)])
    """Learned queries of the encoder, whose features are quantized."""
    query_deviation: float = field(
        default=0.02, validator=[validators.gt(0), validators.lt(math.inf)]
    )
    """Standard deviation of the learned queries of encoder and decoder at the start, 0.02 in the
    paper. With few layers, queries that small are alike after the first one, and all tokens
    become one code."""

    def segments(self, shape: tuple[int, int, int]) -> tuple[Segment, ...]:
        """The tokens have no places: there are as many for images of every size."""
        return (Segment("visual", self.tokens, self.visual_codebook),)


_TARGETS = ("prologue", "visual")


def _not_one(value: Mapping[str, float]) -> Mapping[str, float]:
    """Without the weights that are the default, so that one model has one key."""
    return {name: weight for name, weight in value.items() if weight != 1 or name not in _TARGETS}


def _target_weights(
    instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, float]
) -> None:
    for name, weight in value.items():
        if name not in _TARGETS:
            raise ValueError(f"{attribute.name!r} must name 'prologue' or 'visual': {name}")
        if not 0 <= weight < math.inf:
            raise ValueError(f"{attribute.name!r} must be finite numbers >= 0: {weight} for {name}")


@frozen(kw_only=True)
class PrologueSettings(VqSettings):
    """The 2D baseline's settings and the prologue's; `prologue_tokens: 0` is the baseline."""

    prologue_tokens: int = field(
        default=16, validator=[validators.ge(0), validators.le(MOST_TOKENS)]
    )
    prologue_codebook: int = field(
        default=1024, validator=[validators.ge(2), validators.le(MOST_CODES)]
    )
    """Number of codes."""
    shared_codebook: bool = False
    """Quantize the prologue with the visual tokens' projection and codes; `prologue_codebook` then
    does not count."""
    straight_through: StraightThrough = "softmax"
    """The prologue's gradient: of a softmax over the codes, or unchanged as in plain vector
    quantization ("vq")."""
    separator: bool = True
    """Put a separator token between prologue and visual tokens."""
    ce_weight: float = field(default=3.0, validator=validators.ge(0))
    """Weight of the autoregressive cross-entropy in the encoder's loss."""
    ce_target_weights: Mapping[str, float] = field(
        factory=dict, converter=_not_one, validator=_target_weights
    )
    """What the cross-entropy of predicting the `prologue` (the separator behind it included) and
    the `visual` tokens counts in that, times `ce_weight`; 1 where it is not said. The prior itself
    learns from all of them alike."""
    visual_dropout: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    """Share of images whose visual inputs to the joint prior are all replaced by the separator."""

    def as_read(self) -> PrologueSettings:
        """A shared codebook has no own size, and plain vector quantization no temperature."""
        names = ["prologue_codebook"] if self.shared_codebook else []
        if self.straight_through == "vq" and not self.visual_ce_weight:
            names.append("straight_through_temperature")
        return unread(self, *names)

    def segments(self, shape: tuple[int, int, int]) -> tuple[Segment, ...]:
        """The prologue, where there is one, before the visual tokens."""
        visual = super().segments(shape)
        if not self.prologue_tokens:
            return visual
        codes = self.visual_codebook if self.shared_codebook else self.prologue_codebook
        return (Segment("prologue", self.prologue_tokens, codes), *visual)

    def same_as(self) -> tuple[str, Mapping[str, Any]] | None:
        """Without prologue it is the 2D baseline: the same weights from a seed, the same losses."""
        if self.prologue_tokens:
            return None
        return "vq-2d", {
            field.name: getattr(self, field.name) for field in attrs.fields(Vq2dSettings)
        }


@frozen(kw_only=True)
class ProloguePostSettings(PrologueSettings):
    """A prologue added to a finished 2D tokenizer, which stays as it is."""

    prologue_encoder: TransformerSettings = TransformerSettings(
        width=512, layers=10, heads=8, ffn_ratio=11 / 4
    )
    """The second encoder, whose learned queries become the prologue."""
    prologue_input: Literal["encoder-output", "before-quantization", "patches"] = "encoder-output"
    """What the second encoder reads at every patch: the frozen encoder's features, their projection
    onto the codes' sphere, or the pixels."""

    def same_as(self) -> None:
        """None: it always has a prologue."""
