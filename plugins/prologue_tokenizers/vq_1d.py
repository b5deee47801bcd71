"""The 1D baseline: a sequence of tokens without places in the image."""

from __future__ import annotations

from torch import Tensor

from prologue_bench.interfaces import ImageSpec
from prologue_layers.vit import to_patches
from prologue_tokenizers.settings import Vq1dSettings
from prologue_tokenizers.vq_2d import VqTokenizer


class Vq1d(VqTokenizer):
    """Learned queries in the encoder are quantized, and the decoder's own queries become the patches."""

    def __init__(self, settings: Vq1dSettings, images: ImageSpec) -> None:
        super().__init__(settings, images, queries=settings.tokens, sequence=settings.tokens)

    def visual_features(self, images: Tensor) -> Tensor:
        _, features = self.encoder(to_patches(images, self.patch_size))
        return features
