"""Settings of the library's quantizers, without importing torch."""

from __future__ import annotations

import math
from typing import Any

import attrs
from attrs import field, frozen, validators

from prologue_bench.contracts import Segment
from prologue_plugins.layers.settings import (
    MOST_CHANNELS,
    MOST_CODES,
    Initialisation,
    TransformerSettings,
    patch_grid,
)

MOST_LEVELS = 64
MOST_FSQ_CODES = 2**20
"""The library makes a table of all codes."""


def _levels(instance: object, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
    if not value or min(value) < 2:
        raise ValueError(f"'levels' must be whole numbers from 2: {list(value)}")
    if len(value) > MOST_LEVELS or math.prod(value) > MOST_FSQ_CODES:
        raise ValueError(
            f"'levels' must be at most {MOST_LEVELS} numbers with a product of at most "
            f"{MOST_FSQ_CODES}: {len(value)} numbers"
        )


@frozen(kw_only=True)
class PatchTokenizerSettings:
    """One token per patch, between two vision transformers."""

    patch_size: int = field(default=16, validator=validators.ge(1))
    encoder: TransformerSettings = TransformerSettings(width=512, layers=12, heads=8)
    decoder: TransformerSettings = TransformerSettings(width=512, layers=12, heads=8)
    initialisation: Initialisation = "open"
    """Initial weights of encoder and decoder, as of `vq-2d`; the quantizer's are the library's."""

    @property
    def vocabulary(self) -> int:
        """How many codes a token has."""
        raise NotImplementedError

    def segments(self, shape: tuple[int, int, int]) -> tuple[Segment, ...]:
        """The tokens of images [C, H, W]: one per patch.

        Raises UserError when the images cannot be cut into patches.
        """
        return self._patches(shape, "visual")

    def _patches(self, shape: tuple[int, int, int], *names: str) -> tuple[Segment, ...]:
        grid = patch_grid(shape, self.patch_size)
        return tuple(Segment(name, math.prod(grid), self.vocabulary, grid) for name in names)


@frozen(kw_only=True)
class FsqSettings(PatchTokenizerSettings):
    """The number of codes is the product of the levels."""

    levels: tuple[int, ...] = field(default=(8, 8, 4), validator=_levels)

    @property
    def vocabulary(self) -> int:
        return math.prod(self.levels)


@frozen(kw_only=True)
class LfqSettings(PatchTokenizerSettings):
    """2^bits codes."""

    bits: int = field(default=8, validator=[validators.ge(1), validators.le(18)])
    entropy_weight: float = field(default=0.1, validator=validators.ge(0))

    @property
    def vocabulary(self) -> int:
        return int(2**self.bits)


@frozen(kw_only=True)
class CodebookSettings(PatchTokenizerSettings):
    """A codebook of vectors."""

    codes: int = field(default=256, validator=[validators.ge(2), validators.le(MOST_CODES)])
    code_width: int = field(default=16, validator=[validators.ge(1), validators.le(MOST_CHANNELS)])

    @property
    def vocabulary(self) -> int:
        return self.codes


@frozen(kw_only=True)
class ResidualVqSettings(CodebookSettings):
    """Every level quantizes what the levels before it leave over."""

    levels: int = field(default=2, validator=[validators.ge(1), validators.le(MOST_LEVELS)])

    def segments(self, shape: tuple[int, int, int]) -> tuple[Segment, ...]:
        """A segment per level, the coarsest first."""
        if self.levels == 1:
            return super().segments(shape)
        return self._patches(shape, *(f"level-{level + 1}" for level in range(self.levels)))


@frozen(kw_only=True)
class SimVqSettings(CodebookSettings):
    """The codebook stays as it was drawn."""
