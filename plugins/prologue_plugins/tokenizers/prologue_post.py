"""Prologue-Post: a prologue added to a finished 2D tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import attrs
import torch
from torch import Tensor

from prologue_bench.contracts import ImageSpec, TokenizerOutput
from prologue_bench.errors import UserError
from prologue_plugins.layers.initialisation import initialise
from prologue_plugins.layers.vit import PatchEncoder, to_patches
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.settings import (
    ProloguePostSettings,
    PrologueSettings,
    Vq2dSettings,
)


class ProloguePost(Prologue):
    """A frozen `vq-2d` and a second encoder whose learned queries read the first one's features."""

    reconstructs = False

    def __init__(self, settings: ProloguePostSettings, images: ImageSpec) -> None:
        if not settings.prologue_tokens:
            raise UserError(
                "tokenizer.prologue_tokens: found 0, expected at least 1; "
                "'vq-2d' is the one without"
            )
        if settings.visual_ce_weight:
            raise UserError(
                "tokenizer.visual_ce_weight: the visual tokens of 'prologue-post' are frozen; "
                "expected 0"
            )
        if settings.shared_codebook and settings.prologue_encoder.width != settings.encoder.width:
            raise UserError(
                "tokenizer.shared_codebook: one projection serves both encoders, "
                f"so that prologue_encoder.width {settings.prologue_encoder.width} must be "
                f"encoder.width {settings.encoder.width}"
            )
        super().__init__(settings, images)
        self.requires_grad_(False)
        inputs = {
            "patches": self.patch_values,
            "encoder-output": settings.encoder.width,
            "before-quantization": settings.code_width,
        }
        self.prologue_input = settings.prologue_input
        self.prologue_encoder = PatchEncoder(
            settings.prologue_encoder,
            images.labels,
            inputs[settings.prologue_input],
            self.grid,
            settings.prologue_tokens,
        )
        initialise(settings.initialisation, self.prologue_encoder)
        if not settings.shared_codebook and self.prologue_quantizer is not None:
            self.prologue_quantizer.requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """As usual, but what is finished evaluates: its dropout would make other visual tokens."""
        super().train(mode)
        for part in (self.encoder, self.quantizer, self.decoder):
            part.eval()
        return self

    @classmethod
    def foundation(cls, settings: Any) -> tuple[str, Mapping[str, Any]]:
        names = {field.name for field in attrs.fields(Vq2dSettings)}
        return "vq-2d", {name: getattr(settings, name) for name in names}

    def encoder_queries(self, settings: PrologueSettings) -> int:
        return 0

    def prologue_width(self, settings: PrologueSettings) -> int:
        assert isinstance(settings, ProloguePostSettings)
        return settings.prologue_encoder.width

    def visual_losses(self, features: Tensor) -> TokenizerOutput:
        return TokenizerOutput(None, {}, self.quantizer.codebook.nearest(features))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        visual, read = self._read(to_patches(images, self.patch_size))
        _, prologue = self.prologue_encoder(read)
        return visual, prologue

    def query_attention(self, patches: Tensor) -> Tensor:
        return self.prologue_encoder.attention(self._read(patches)[1])

    def _read(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The features of visual tokens [B, N, D], and what the second encoder reads of patches."""
        with torch.no_grad():
            visual, _ = self.encoder(patches)
            sources: dict[str, Callable[[], Tensor]] = {
                "patches": lambda: patches,
                "encoder-output": lambda: visual,
                "before-quantization": lambda: self.quantizer.codebook.latents(visual),
            }
            return visual, sources[self.prologue_input]()
