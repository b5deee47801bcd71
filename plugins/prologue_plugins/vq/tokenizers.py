"""Tokenizers of one token per patch whose quantizers come from vector-quantize-pytorch.

Letters: B batch, N patches, D encoder width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, SimVQ

from prologue_bench.contracts import (
    ImageSpec,
    InspectedTokens,
    Tokenizer,
    TokenizerOutput,
    TokenLayout,
)
from prologue_plugins.layers.initialisation import initialise
from prologue_plugins.layers.settings import patch_grid
from prologue_plugins.layers.transformer import full_precision
from prologue_plugins.layers.vit import PatchDecoder, PatchEncoder, from_patches, to_patches
from prologue_plugins.vq.settings import (
    FsqSettings,
    LfqSettings,
    PatchTokenizerSettings,
    ResidualVqSettings,
    SimVqSettings,
)


class PatchTokenizer(Tokenizer):
    """Encoder and decoder around a quantizer.

    It takes [B, N, D] to codes [B, N, code width], ids [B, N] and a loss.
    """

    def __init__(
        self, settings: PatchTokenizerSettings, images: ImageSpec, code_width: int
    ) -> None:
        super().__init__()
        self.patch_size = size = settings.patch_size
        self.grid = grid = patch_grid(images.shape, size)
        values = size * size * images.channels
        self.encoder = PatchEncoder(settings.encoder, images.labels, values, grid, queries=0)
        self.decoder = PatchDecoder(settings.decoder, images.labels, code_width, grid, values)
        initialise(settings.initialisation, self.encoder, self.decoder)
        self.layout = TokenLayout(settings.segments(images.shape))

    def latents(self, features: Tensor) -> Tensor:
        """What is quantized of the encoder's features [B, N, D]: all of them unless overridden."""
        return features

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes [B, N, code width] with a gradient, ids [B, L] and a loss of latents [B, N, D]."""
        raise NotImplementedError

    def codes(self, ids: Tensor) -> Tensor:
        """Codes [B, N, code width] of ids [B, L]."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        return self._quantize(self._latents(images))[1]

    def inspect(self, images: Tensor) -> InspectedTokens:
        latents = self._latents(images)
        # Levels after the first choose codes for what those before them leave over.
        return InspectedTokens(self._quantize(latents)[1], {self.layout.names[0]: latents})

    def decode(self, ids: Tensor) -> Tensor:
        return self._images(self.codes(ids))

    def losses(self, images: Tensor) -> TokenizerOutput:
        codes, ids, loss = self._quantize(self._latents(images))
        return TokenizerOutput(self._images(codes), {"vq": loss}, ids)

    def _latents(self, images: Tensor) -> Tensor:
        """`latents` of the images' features, in float32: in bfloat16 other codes may be nearest."""
        features, _ = self.encoder(to_patches(images, self.patch_size))
        with full_precision(features):
            return self.latents(features.float())

    def _quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`quantize` in float32."""
        with full_precision(latents):
            return self.quantize(latents)

    def _images(self, codes: Tensor) -> Tensor:
        return from_patches(self.decoder(codes), self.patch_size, self.grid)


class FsqTokenizer(PatchTokenizer):
    """A few bounded numbers per patch, each rounded to its levels, without codebook or loss."""

    def __init__(self, settings: FsqSettings, images: ImageSpec) -> None:
        width = settings.encoder.width
        super().__init__(settings, images, width)
        # It reads values while it is made, which tensors without memory lack.
        with torch.device("cpu"):
            self.quantizer = FSQ(levels=list(settings.levels), dim=width)

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, ids = self.quantizer(latents)
        return codes, ids.long(), latents.new_zeros(())

    def codes(self, ids: Tensor) -> Tensor:
        codes: Tensor = self.quantizer.indices_to_codes(ids)
        return codes


class LfqTokenizer(PatchTokenizer):
    """The signs of a few numbers a patch, with a loss for confident and evenly used codes."""

    def __init__(self, settings: LfqSettings, images: ImageSpec) -> None:
        width = settings.encoder.width
        super().__init__(settings, images, width)
        self.quantizer = LFQ(
            codebook_size=2**settings.bits, dim=width, entropy_loss_weight=settings.entropy_weight
        )

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, ids, loss = self.quantizer(latents)
        return codes, ids, loss

    def codes(self, ids: Tensor) -> Tensor:
        codes: Tensor = self.quantizer.indices_to_codes(ids)
        return codes


class ResidualVqTokenizer(PatchTokenizer):
    """Codebooks in a row, each for what those before it leave over.

    A segment a level, the coarsest first.
    """

    def __init__(self, settings: ResidualVqSettings, images: ImageSpec) -> None:
        width = settings.encoder.width
        super().__init__(settings, images, width)
        self.quantizer = ResidualVQ(
            dim=width,
            num_quantizers=settings.levels,
            codebook_size=settings.codes,
            codebook_dim=settings.code_width,
            learnable_codebook=True,
            ema_update=False,
        )

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, ids, losses = self.quantizer(latents)
        return codes, ids.transpose(1, 2).flatten(1), losses.sum()

    def codes(self, ids: Tensor) -> Tensor:
        levels = torch.stack(tuple(self.layout.split(ids).values()), dim=-1)
        codes: Tensor = self.quantizer.get_output_from_indices(levels)
        return codes


class SimVqTokenizer(PatchTokenizer):
    """Codes are a learned linear map of a fixed random codebook, so that all move together."""

    def __init__(self, settings: SimVqSettings, images: ImageSpec) -> None:
        super().__init__(settings, images, settings.code_width)
        self.project = nn.Linear(settings.encoder.width, settings.code_width)
        initialise(settings.initialisation, self.project)
        self.quantizer = SimVQ(dim=settings.code_width, codebook_size=settings.codes)

    def latents(self, features: Tensor) -> Tensor:
        latents: Tensor = self.project(features)
        return latents

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, ids, loss = self.quantizer(latents)
        return codes, ids, loss

    def codes(self, ids: Tensor) -> Tensor:
        codes: Tensor = self.quantizer.indices_to_codes(ids)
        return codes
