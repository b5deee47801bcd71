"""Prologue: before the visual tokens, a short prefix that only the autoregressive loss teaches."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.contracts import (
    ImageSpec,
    InspectedTokens,
    PriorRequest,
    TokenizerOutput,
    TokenLayout,
)
from prologue_plugins.layers.initialisation import initialise
from prologue_plugins.layers.quantizers import Codebook, OneHotQuantizer, inspected
from prologue_plugins.layers.vit import to_patches
from prologue_plugins.tokenizers.settings import PrologueSettings
from prologue_plugins.tokenizers.vq_2d import VqTokenizer


class Prologue(VqTokenizer):
    """The 2D baseline with learned queries in its encoder, whose features become prologue tokens.

    The decoder sees the visual tokens alone. The prologue asks for a joint prior and learns from
    its cross-entropy, through the straight-through one-hots in `TokenizerOutput.relaxed`.
    """

    def __init__(self, settings: PrologueSettings, images: ImageSpec) -> None:
        super().__init__(settings, images, queries=self.encoder_queries(settings))
        self.prologue_quantizer: OneHotQuantizer | None = None
        if settings.prologue_tokens == 0:
            return
        self.prologue_quantizer = OneHotQuantizer(
            self._codebook(settings),
            settings.straight_through_temperature,
            settings.straight_through,
            settings.commitment,
        )
        self.layout = TokenLayout(self.layout, separator=settings.separator)
        weights = self.prior.weights if self.prior else {}
        self.prior = PriorRequest(
            weights={"prologue": settings.ce_weight, **weights},
            input_dropout={"visual": settings.visual_dropout},
            target_weights=settings.ce_target_weights,
        )

    def encoder_queries(self, settings: PrologueSettings) -> int:
        """Learned queries in the encoder of the visual tokens."""
        return settings.prologue_tokens

    def prologue_width(self, settings: PrologueSettings) -> int:
        """Width of the features that become the prologue."""
        return settings.encoder.width

    def _codebook(self, settings: PrologueSettings) -> Codebook:
        if settings.shared_codebook:
            return self.quantizer.codebook
        codebook = Codebook(
            self.prologue_width(settings), settings.prologue_codebook, settings.code_width
        )
        initialise(settings.initialisation, codebook)
        return codebook

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features that become visual tokens [B, N, D] and the prologue [B, n, D]."""
        visual, prologue = self.encoder(to_patches(images, self.patch_size))
        return visual, prologue

    def patch_attention(self, images: Tensor) -> Tensor | None:
        if self.prologue_quantizer is None:
            return None
        found = self.query_attention(to_patches(images, self.patch_size))
        return torch.unflatten(found, 1, self.grid)

    def query_attention(self, patches: Tensor) -> Tensor:
        """Attention of the prologue's queries [n, N] to patches [B, N, values], over images."""
        return self.encoder.attention(patches)

    def inspect(self, images: Tensor) -> InspectedTokens:
        visual, prologue = self.features(images)
        segments = {"visual": (self.quantizer.codebook, visual)}
        if self.prologue_quantizer is not None:
            segments = {"prologue": (self.prologue_quantizer.codebook, prologue), **segments}
        return inspected(segments)

    def losses(self, images: Tensor) -> TokenizerOutput:
        visual, prologue = self.features(images)
        out = self.visual_losses(visual)
        if self.prologue_quantizer is None:
            return out
        quantized = self.prologue_quantizer(prologue)
        losses = dict(out.losses)
        if quantized.loss is not None:
            losses["prologue_vq"] = quantized.loss
        return TokenizerOutput(
            reconstruction=out.reconstruction,
            losses=losses,
            ids=torch.cat((quantized.ids, out.ids), dim=1),
            relaxed={"prologue": quantized.one_hot, **out.relaxed},
        )
