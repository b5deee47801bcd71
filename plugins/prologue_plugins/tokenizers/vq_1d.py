"""The 1D baseline: a sequence of tokens without places in the image."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.contracts import ImageSpec
from prologue_plugins.layers.initialisation import STD
from prologue_plugins.layers.vit import to_patches
from prologue_plugins.tokenizers.settings import Vq1dSettings
from prologue_plugins.tokenizers.vq_2d import VqTokenizer


class Vq1d(VqTokenizer):
    """Learned queries in the encoder are quantized, and the decoder's own become the patches."""

    def __init__(self, settings: Vq1dSettings, images: ImageSpec) -> None:
        super().__init__(settings, images, queries=settings.tokens, sequence=settings.tokens)
        for queries in (self.encoder.queries, self.decoder.queries):
            assert queries is not None
            with torch.no_grad():
                queries.mul_(settings.query_deviation / STD)

    def visual_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.encoder(to_patches(images, self.patch_size))[1]
        return features
