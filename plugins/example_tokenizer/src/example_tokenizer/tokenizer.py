"""The tokenizer: one token per patch, each a few numbers rounded to a few levels."""

import math

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from example_tokenizer.settings import ExampleFsqSettings
from prologue_bench.contracts import ImageSpec, Segment, Tokenizer, TokenizerOutput, TokenLayout
from prologue_bench.errors import UserError


class ExampleFsq(Tokenizer):
    """Images [B, C, H, W] to ids [B, h * w] of a grid of h x w patches, and back."""

    def __init__(self, settings: ExampleFsqSettings, images: ImageSpec) -> None:
        super().__init__()
        size, width = settings.patch_size, settings.width
        if images.height % size or images.width % size:
            raise UserError(
                f"patch_size: found {size}, "
                f"expected a divisor of {images.height} and {images.width}"
            )
        self.grid = (images.height // size, images.width // size)
        self.layout = TokenLayout(
            [Segment("visual", math.prod(self.grid), math.prod(settings.levels), grid=self.grid)]
        )
        self.encoder = nn.Sequential(
            nn.Conv2d(images.channels, width, size, stride=size),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.quantizer = FSQ(levels=list(settings.levels), dim=width)
        self.decoder = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, images.channels, size, stride=size),
        )

    def encode(self, images: Tensor) -> Tensor:
        return self._quantized(images)[1]

    def decode(self, ids: Tensor) -> Tensor:
        return self._decoded(self.quantizer.indices_to_codes(ids))

    def losses(self, images: Tensor) -> TokenizerOutput:
        codes, ids = self._quantized(images)
        # FSQ has no loss of its own; the framework adds those of the reconstruction.
        return TokenizerOutput(reconstruction=self._decoded(codes), losses={}, ids=ids)

    def _quantized(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, h * w, width], through which gradients pass, and ids [B, h * w]."""
        features = self.encoder(images).flatten(2).transpose(1, 2)
        codes, ids = self.quantizer(features)
        return codes, ids.long()

    def _decoded(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(torch.unflatten(codes.transpose(1, 2), 2, self.grid))
        return images
