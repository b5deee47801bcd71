"""MaskBit's tokenizers, which have bits, and VQGAN+, which has a codebook (Weber et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.maskgit import CONV_SETTINGS, CodebookOfMaskGit, MaskGitFamily
from prologue_plugins.zoo.parts.codebooks import from_grid, ids_to_signs, signs_to_ids, to_grid
from prologue_plugins.zoo.parts.maskgit import MASKBIT
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_maskgit import MaskBitSettings, VqganPlusSettings
from prologue_plugins.zoo.taming import Quantizer


class BitTables(nn.Module):
    """Tables of the released files, which are checked and never used: they follow from the bits."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.register_buffer("bits_to_indices", 2 ** torch.arange(bits, dtype=torch.int32))
        self.register_buffer("codebook", ids_to_signs(torch.arange(2**bits), bits))


class MaskBit(MaskGitFamily):
    """The signs of the latents; channel 0 is the lowest bit of an id."""

    name = "maskbit"

    def build(self, settings: MaskBitSettings) -> None:
        bits = settings.token_size
        self.assemble(settings, MASKBIT, BitTables(bits), bits)

    @property
    def vocabulary(self) -> int:
        return int(2**self.settings.token_size)

    def ids_of(self, latents: Tensor) -> Tensor:
        return signs_to_ids(from_grid(latents)).reshape(len(latents), -1)

    def codes_of(self, ids: Tensor) -> Tensor:
        return to_grid(ids_to_signs(ids, self.settings.token_size), self.grid)


class VqganPlus(CodebookOfMaskGit):
    """MaskBit's networks around a codebook."""

    name = "vqgan-plus"

    def build(self, settings: VqganPlusSettings) -> None:
        width = settings.token_size
        self.assemble(settings, MASKBIT, Quantizer(settings.codebook_size, width), width)


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`.

    Of bits, `codebook_size` is not read: it is wrong in official configurations.
    """
    model = config.get("vq_model")
    if not isinstance(model, Mapping) or "quantizer_type" not in model:
        return None
    bits = model["quantizer_type"] == "lookup-free"
    names = (*CONV_SETTINGS, "token_size", *(() if bits else ("codebook_size",)))
    values = {name: model[name] for name in names if name in model}
    values |= {name: config[name] for name in ("norm_groups",) if name in config}
    if bits:
        return computed(MaskBit, MaskBitSettings, values, weights, io)
    return computed(VqganPlus, VqganPlusSettings, values, weights, io)
