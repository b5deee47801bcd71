"""The tokenizers of LlamaGen (Sun et al. 2024): VQ with codes of length one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import nearest, unit
from prologue_plugins.zoo.parts.taming import Shape
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings import LlamaGenVqSettings
from prologue_plugins.zoo.taming import ConvolutionalVq

STATISTIC = 65536
"""Length of a list of codes in use that training kept, whatever the codebook."""
NAMES = {
    r"\.(?:down|up)\.(\d+)\.": r".conv_blocks.\1.",
    r"\.block\.(\d+)\.": r".res.\1.",
    r"\.mid\.block_1\.": ".mid.0.",
    r"\.mid\.attn_1\.": ".mid.1.",
    r"\.mid\.block_2\.": ".mid.2.",
}
"""Names of taming's modules here, and what stands for them in the released files; there, the
decoder's blocks are counted from the coarsest."""


class LlamaGenVq(ConvolutionalVq):
    """One token for each place of the grid, the code with the smallest angle."""

    name = "llamagen-vq"

    def build(self, settings: LlamaGenVqSettings) -> None:
        encoder, decoder = (
            Shape(
                ch=settings.ch,
                ch_mult=factors,
                num_res_blocks=settings.num_res_blocks,
                z_channels=settings.z_channels,
                groups=settings.norm_groups,
                attention=[len(factors) - 1],
            )
            for factors in (settings.encoder_ch_mult, settings.decoder_ch_mult)
        )
        self.assemble(encoder, decoder, settings.codebook_size, settings.codebook_embed_dim)
        self.quantize.register_buffer("codebook_used", torch.zeros(STATISTIC))

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.settings.encoder_ch_mult) - 1))

    @property
    def vocabulary(self) -> int:
        return int(self.settings.codebook_size)

    @property
    def codebook(self) -> Tensor:
        codes = self.quantize.codebook
        return unit(codes) if self.settings.codebook_l2_norm else codes

    def choose(self, vectors: Tensor) -> Tensor:
        return nearest(unit(vectors) if self.settings.codebook_l2_norm else vectors, self.codebook)

    @staticmethod
    def official_name(name: str, settings: LlamaGenVqSettings) -> str:
        last = len(settings.decoder_ch_mult) - 1
        name = re.sub(r"(?<=\.up\.)\d+", lambda level: str(last - int(level[0])), name)
        for here, there in NAMES.items():
            name = re.sub(here, there, name)
        return name


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    if "codebook_embed_dim" not in config:
        return None
    values = {name: value for name, value in config.items() if name != "image_size"}
    return computed(LlamaGenVq, LlamaGenVqSettings, values, weights, io)
