"""The 2D baseline: one visual token a patch."""

from __future__ import annotations

from torch import Tensor

from prologue_bench.errors import UserError
from prologue_bench.interfaces import ImageSpec, Segment, Tokenizer, TokenizerOutput, TokenLayout
from prologue_layers.quantizers import VectorQuantizer
from prologue_layers.vit import PatchDecoder, PatchEncoder, from_patches, to_patches
from prologue_tokenizers.settings import Vq2dSettings


class Vq2d(Tokenizer):
    """ViT encoder, vector quantizer and ViT decoder over a grid of patches."""

    def __init__(self, settings: Vq2dSettings, images: ImageSpec) -> None:
        super().__init__()
        self.patch_size = size = settings.patch_size
        if images.height % size or images.width % size:
            raise UserError(
                f"tokenizer.patch_size: found {size}, expected a divisor of the images' "
                f"{images.height} x {images.width} pixels"
            )
        self.grid = (images.height // size, images.width // size)
        patch_values = size * size * images.channels
        self.encoder = PatchEncoder(settings.encoder, images.labels, patch_values, self.grid, self._queries(settings))
        self.quantizer = VectorQuantizer(
            settings.encoder.width, settings.visual_codebook, settings.code_width, settings.commitment
        )
        self.decoder = PatchDecoder(settings.decoder, images.labels, settings.code_width, self.grid, patch_values)
        visual = Segment("visual", self.grid[0] * self.grid[1], settings.visual_codebook, self.grid)
        self.layout = TokenLayout((visual,))

    def _queries(self, settings: Vq2dSettings) -> int:
        """Learned queries beside the patches in the encoder."""
        return 0

    def encode(self, images: Tensor) -> Tensor:
        visual, _ = self.encoder(to_patches(images, self.patch_size))
        return self.quantizer.codebook.nearest(visual)

    def decode(self, ids: Tensor) -> Tensor:
        return self.decode_codes(self.quantizer.codebook.look_up(self.layout.split(ids)["visual"]))

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Images [B, C, H, W] of visual codes [B, N, code width]."""
        return from_patches(self.decoder(codes), self.patch_size, self.grid)

    def losses(self, images: Tensor) -> TokenizerOutput:
        visual, _ = self.encoder(to_patches(images, self.patch_size))
        quantized = self.quantizer(visual)
        return TokenizerOutput(self.decode_codes(quantized.codes), {"vq": quantized.loss}, quantized.ids)
