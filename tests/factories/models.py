"""Tiny models, and ids that fit them."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.rar import Rar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings, RarSettings
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.settings import PrologueSettings

IMAGES = ImageSpec(channels=3, height=8, width=12, class_names=("a", "b", "c"))


SIZE = TransformerSettings(width=16, layers=2, heads=2)


PROLOGUE = PrologueSettings(
    patch_size=4,
    encoder=SIZE,
    decoder=SIZE,
    visual_codebook=16,
    prologue_codebook=8,
    prologue_tokens=3,
)


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1


def prologue(**changes: object) -> Prologue:
    torch.manual_seed(0)
    return Prologue(attrs.evolve(PROLOGUE, **changes), IMAGES)


def ar(layout: TokenLayout, **changes: object) -> Ar:
    torch.manual_seed(1)
    size = ArTransformerSettings(width=16, layers=2, heads=2, dropout=0.0)
    return Ar(ArSettings(transformer=size, **changes), layout, labels=4).eval()  # type: ignore[arg-type]


LAYOUTS = [
    TokenLayout((Segment("visual", 4, 6),)),
    TokenLayout((Segment("prologue", 2, 5), Segment("visual", 4, 6))),
    TokenLayout((Segment("prologue", 2, 5), Segment("visual", 4, 6)), separator=False),
    TokenLayout((Segment("a", 1, 3), Segment("b", 2, 4), Segment("c", 3, 5))),
]


def rar(layout: TokenLayout) -> Rar:
    torch.manual_seed(2)
    size = ArTransformerSettings(width=16, layers=2, heads=2, dropout=0.0)
    return Rar(RarSettings(transformer=size), layout, labels=4)


def random_ids(layout: TokenLayout, batch: int = 3, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    parts = [
        torch.randint(segment.vocabulary, (batch, segment.length), generator=rng)
        for segment in layout
    ]
    return torch.cat(parts, dim=1)
