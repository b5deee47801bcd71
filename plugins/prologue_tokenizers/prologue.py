"""Prologue: a short prefix of tokens that only the autoregressive loss teaches, before the baseline's visual tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.interfaces import ImageSpec, PriorRequest, Segment, TokenizerOutput, TokenLayout
from prologue_layers.quantizers import OneHotQuantizer
from prologue_layers.vit import to_patches
from prologue_tokenizers.settings import PrologueSettings, Vq2dSettings
from prologue_tokenizers.vq_2d import Vq2d


class Prologue(Vq2d):
    """The 2D baseline with learned queries in its encoder, whose features become the prologue tokens.

    The decoder sees the visual tokens alone. The prologue asks for a joint prior and learns from its cross-entropy,
    through the straight-through one-hots in `TokenizerOutput.relaxed`.
    """

    def __init__(self, settings: PrologueSettings, images: ImageSpec) -> None:
        super().__init__(settings, images)
        self.prologue_quantizer: OneHotQuantizer | None = None
        if settings.prologue_tokens == 0:
            return
        self.prologue_quantizer = OneHotQuantizer(
            settings.encoder.width,
            settings.prologue_codebook,
            settings.code_width,
            settings.straight_through_temperature,
        )
        prologue = Segment("prologue", settings.prologue_tokens, settings.prologue_codebook)
        self.layout = TokenLayout((prologue, *self.layout), separator=settings.separator)
        self.prior = PriorRequest(
            weight=settings.ce_weight, segments=("prologue",), input_dropout={"visual": settings.visual_dropout}
        )

    def _queries(self, settings: Vq2dSettings) -> int:
        return settings.prologue_tokens if isinstance(settings, PrologueSettings) else 0

    def encode(self, images: Tensor) -> Tensor:
        visual, prologue = self.encoder(to_patches(images, self.patch_size))
        ids = self.quantizer.codebook.nearest(visual)
        if self.prologue_quantizer is None:
            return ids
        return torch.cat((self.prologue_quantizer.codebook.nearest(prologue), ids), dim=1)

    def losses(self, images: Tensor) -> TokenizerOutput:
        visual, prologue = self.encoder(to_patches(images, self.patch_size))
        quantized = self.quantizer(visual)
        reconstruction = self.decode_codes(quantized.codes)
        if self.prologue_quantizer is None:
            return TokenizerOutput(reconstruction, {"vq": quantized.loss}, quantized.ids)
        one_hot, prologue_ids = self.prologue_quantizer(prologue)
        return TokenizerOutput(
            reconstruction=reconstruction,
            losses={"vq": quantized.loss},
            ids=torch.cat((prologue_ids, quantized.ids), dim=1),
            relaxed={"prologue": one_hot},
        )
