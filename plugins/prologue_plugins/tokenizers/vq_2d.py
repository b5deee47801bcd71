"""The 2D baseline: one visual token per patch."""

from __future__ import annotations

from torch import Tensor

from prologue_bench.contracts import (
    ImageSpec,
    InspectedTokens,
    PriorRequest,
    Tokenizer,
    TokenizerOutput,
    TokenLayout,
)
from prologue_plugins.layers.initialisation import initialise
from prologue_plugins.layers.quantizers import OneHotQuantizer, VectorQuantizer, inspected
from prologue_plugins.layers.settings import patch_grid
from prologue_plugins.layers.vit import PatchDecoder, PatchEncoder, from_patches, to_patches
from prologue_plugins.tokenizers.settings import VqSettings


class VqTokenizer(Tokenizer):
    """ViT encoder, vector quantizer and ViT decoder.

    What a subclass adds is which features are quantized.

    Args:
        queries: learned queries beside the patches in the encoder.
        sequence: quantized tokens that have no places in the image; 0 for one token per patch.
    """

    def __init__(
        self, settings: VqSettings, images: ImageSpec, queries: int = 0, sequence: int = 0
    ) -> None:
        super().__init__()
        self.patch_size = size = settings.patch_size
        self.grid = patch_grid(images.shape, size)
        self.patch_values = size * size * images.channels
        self.encoder = PatchEncoder(
            settings.encoder, images.labels, self.patch_values, self.grid, queries
        )
        self.quantizer = VectorQuantizer(
            settings.encoder.width,
            settings.visual_codebook,
            settings.code_width,
            settings.commitment,
        )
        self.decoder = PatchDecoder(
            settings.decoder,
            images.labels,
            settings.code_width,
            self.grid,
            self.patch_values,
            sequence,
        )
        initialise(settings.initialisation, self.encoder, self.quantizer, self.decoder)
        self.layout = TokenLayout(settings.segments(images.shape))
        self.visual_one_hots: OneHotQuantizer | None = None
        """Reads the visual latents for the prior, where the visual tokens learn from it; shares all
        its weights."""
        if settings.visual_ce_weight:
            self.visual_one_hots = OneHotQuantizer(
                self.quantizer.codebook, settings.straight_through_temperature
            )
            self.prior = PriorRequest(weights={"visual": settings.visual_ce_weight})

    def visual_features(self, images: Tensor) -> Tensor:
        """The features [B, n, D] that become the visual tokens."""
        features: Tensor = self.encoder(to_patches(images, self.patch_size))[0]
        return features

    def encode(self, images: Tensor) -> Tensor:
        return self.inspect(images).ids

    def inspect(self, images: Tensor) -> InspectedTokens:
        return inspected({"visual": (self.quantizer.codebook, self.visual_features(images))})

    def decode(self, ids: Tensor) -> Tensor:
        return self.decode_codes(self.quantizer.codebook.look_up(self.layout.split(ids)["visual"]))

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Images [B, C, H, W] of visual codes [B, n, code width]."""
        return from_patches(self.decoder(codes), self.patch_size, self.grid)

    def losses(self, images: Tensor) -> TokenizerOutput:
        return self.visual_losses(self.visual_features(images))

    def visual_losses(self, features: Tensor) -> TokenizerOutput:
        """What the visual tokens, of features [B, n, D], bring to a training step."""
        latents = self.quantizer.codebook.latents(features)
        quantized = self.quantizer.quantize(latents)
        relaxed = {}
        if self.visual_one_hots is not None:
            relaxed["visual"] = self.visual_one_hots.quantize(latents).one_hot
        return TokenizerOutput(
            self.decode_codes(quantized.codes), {"vq": quantized.loss}, quantized.ids, relaxed
        )


class Vq2d(VqTokenizer):
    """A grid of tokens, one per patch."""
