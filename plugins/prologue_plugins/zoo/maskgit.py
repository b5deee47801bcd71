"""MaskGIT-VQGAN (Chang et al. 2022), as its PyTorch port has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import from_grid, nearest, to_grid
from prologue_plugins.zoo.parts.maskgit import MASKGIT, Decoder, Encoder, Style
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_maskgit import ConvSettings, MaskGitVqganSettings
from prologue_plugins.zoo.taming import Quantizer

CONV_SETTINGS = ("hidden_channels", "channel_mult", "num_res_blocks")
"""Official names of the sizes of encoder and decoder."""


class MaskGitFamily(ZooTokenizer[Any]):
    """Encoder and decoder around a quantizer on a grid, and nothing between them."""

    input_range = (0.0, 1.0)
    quantize: nn.Module

    def assemble(
        self, settings: ConvSettings, style: Style, quantize: nn.Module, width: int
    ) -> None:
        """Make the modules, with codes of this width."""
        self.encoder = Encoder(settings, width, style)
        self.decoder = Decoder(settings, width, style)
        self.quantize = quantize

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.settings.channel_mult) - 1))

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images)
        return latents

    def images_of(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(codes)
        return images


class CodebookOfMaskGit(MaskGitFamily):
    """With a codebook: the nearest code, as it is stored."""

    quantize: Quantizer

    @property
    def vocabulary(self) -> int:
        return self.quantize.embedding.num_embeddings

    def ids_of(self, latents: Tensor) -> Tensor:
        ids = nearest(from_grid(latents), self.quantize.codebook)
        return ids.reshape(len(latents), -1)

    def codes_of(self, ids: Tensor) -> Tensor:
        return to_grid(self.quantize.codebook[ids], self.grid)


class MaskGitVqgan(CodebookOfMaskGit):
    """One token for each place of the grid; images are halved by average pooling."""

    name = "maskgit-vqgan"

    def build(self, settings: MaskGitVqganSettings) -> None:
        width = settings.embedding_dim
        self.assemble(settings, MASKGIT, Quantizer(settings.num_embeddings, width), width)


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    if "num_embeddings" not in config or "hidden_channels" not in config:
        return None
    names = (*CONV_SETTINGS, "norm_groups", "num_embeddings", "embedding_dim")
    values = {name: config[name] for name in names if name in config}
    return computed(MaskGitVqgan, MaskGitVqganSettings, values, weights, io)
