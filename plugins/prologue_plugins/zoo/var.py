"""VAR's tokenizer (Tian et al. 2024): residuals quantized level by level, coarse to fine.

Letters: B batch, c width of a code, h and w the sides of the latents, p the side of a level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_bench.errors import UserError
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import from_grid, to_grid
from prologue_plugins.zoo.parts.taming import Shape
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings import VarVqSettings
from prologue_plugins.zoo.taming import ConvolutionalVq, Quantizer

STATISTIC = "quantize.ema_vocab_hit_SV"
"""How often training chose each code on each level."""


class SharedConvolutions(nn.Module):
    """Convolutions that mix a level's enlarged codes, each shared by neighbouring levels."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.qresi_ls = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(count))


class MultiScaleQuantizer(Quantizer):
    """One codebook for all levels, the convolutions, and a statistic of training."""

    def __init__(self, settings: VarVqSettings) -> None:
        super().__init__(settings.vocab_size, settings.z_channels)
        self.quant_resi = SharedConvolutions(settings.share_quant_resi, settings.z_channels)
        hits = torch.zeros(len(settings.v_patch_nums), settings.vocab_size)
        self.register_buffer("ema_vocab_hit_SV", hits)


def chosen_convolutions(levels: int, count: int) -> list[int]:
    """Which of `count` convolutions each level takes.

    It is the one whose tick is nearest to the level's place between 0 and 1, the first of equals.
    Ticks are evenly spaced. Two of the released ten levels are ties up to the last bit of a
    float64, so that the arithmetic must be numpy's.

    >>> chosen_convolutions(10, 4)
    [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    """
    edge = 1 / 3 / count
    ticks = np.linspace(edge, 1 - edge, count)
    places = [level / (levels - 1) if levels > 1 else 0.0 for level in range(levels)]
    return [int(np.argmin(np.abs(ticks - place))) for place in places]


class VarVq(ConvolutionalVq):
    """A segment for each level; every level quantizes what the levels before it leave over."""

    name = "var-vq"
    quantize: MultiScaleQuantizer

    def build(self, settings: VarVqSettings) -> None:
        shape = Shape(
            ch=settings.ch,
            ch_mult=settings.ch_mult,
            num_res_blocks=settings.num_res_blocks,
            z_channels=settings.z_channels,
            groups=settings.norm_groups,
            attention=[len(settings.ch_mult) - 1],
            fused=True,
        )
        width = settings.z_channels
        self.assemble(shape, shape, settings.vocab_size, width, settings.quant_conv_ks)
        self.quantize = MultiScaleQuantizer(settings)

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.settings.ch_mult) - 1))

    @property
    def vocabulary(self) -> int:
        return int(self.settings.vocab_size)

    def make_layout(self) -> TokenLayout:
        return TokenLayout(
            tuple(
                Segment(f"level-{level + 1}", side * side, self.vocabulary, (side, side))
                for level, side in enumerate(self.settings.v_patch_nums)
            )
        )

    def prepare(self, state: State) -> State:
        """The statistic is not read, and differs between files in its number of levels."""
        found = state.get(STATISTIC)
        own = self.state_dict()[STATISTIC]
        if found is None or found.shape == own.shape or found.shape[1:] != own.shape[1:]:
            return state
        return {**state, STATISTIC: torch.zeros(own.shape)}

    def ids_of(self, latents: Tensor) -> Tensor:
        rest, found = latents, []
        for level, side in enumerate(self.settings.v_patch_nums):
            vectors = from_grid(F.interpolate(rest, size=(side, side), mode="area"))
            ids = self.choose(vectors).reshape(len(latents), -1)
            rest = rest - self._added(ids, level)
            found.append(ids)
        return torch.cat(found, dim=1)

    def codes_of(self, ids: Tensor) -> Tensor:
        *_, last = self._sums(ids)
        return last

    def next_scale_inputs(self, ids: Tensor) -> Tensor:
        """What a VAR reads in place of each level but the first: [B, L - 1, c].

        That is the sum of the levels before it, shrunk to its size.
        """
        sides = self.settings.v_patch_nums[1:]
        return torch.cat(
            [
                F.interpolate(total, size=(side, side), mode="area").flatten(2).transpose(1, 2)
                for total, side in zip(self._sums(ids), sides, strict=False)
            ],
            dim=1,
        )

    def golden(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield from super().golden(images)
        ids = self.encode(images)
        yield "next_scale_inputs", self.next_scale_inputs(ids)
        parts = self.layout.split(ids).values()
        for level, (part, total) in enumerate(zip(parts, self._sums(ids), strict=True)):
            yield f"ids_{level}", part
            yield f"quant_{level}", total
            yield f"reconstructions_{level}", self.images_of(total)

    def _sums(self, ids: Tensor) -> Iterator[Tensor]:
        """The sum [B, c, h, w] of the first level, of the first two, and so on."""
        total: Tensor | None = None
        for level, part in enumerate(self.layout.split(ids).values()):
            added = self._added(part, level)
            total = added if total is None else total + added
            yield total

    def _added(self, ids: Tensor, level: int) -> Tensor:
        """What the ids [B, p p] of a level add to the latents: [B, c, h, w]."""
        settings = self.settings
        side = settings.v_patch_nums[level]
        codes = to_grid(self.codebook[ids], (side, side))
        if level < len(settings.v_patch_nums) - 1:
            codes = F.interpolate(codes, size=self.grid, mode="bicubic")
        chosen = chosen_convolutions(len(settings.v_patch_nums), settings.share_quant_resi)
        mixed = self.quantize.quant_resi.qresi_ls[chosen[level]](codes)
        added: Tensor = codes * (1 - settings.quant_resi) + mixed * settings.quant_resi
        return added

    def _check(self, images: ImageSpec) -> None:
        super()._check(images)
        finest = self.settings.v_patch_nums[-1]
        if self.grid != (finest, finest):
            side = finest * self.factor
            raise UserError(
                f"tokenizer {self.name!r}: found images of {images.height} x {images.width}, "
                f"expected {side} x {side} for levels of up to {finest} x {finest}"
            )


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    if "v_patch_nums" not in config or config.get("using_znorm"):
        return None
    left_out = ("image_size", "using_znorm")
    values = {name: value for name, value in config.items() if name not in left_out}
    return computed(VarVq, VarVqSettings, values, weights, io)
