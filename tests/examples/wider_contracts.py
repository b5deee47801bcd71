"""What enters by the plugin door beside one codebook and one token after the other.

Each component is as small as its contract allows; tests/test_wider_contracts.py runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.contracts import (
    FREE,
    AutoregressiveGenerator,
    Component,
    ContinuousTokenizer,
    Drawing,
    ImageSpec,
    ParallelGenerator,
    Segment,
    Tokenizer,
    TokenizerOutput,
    TokenLayout,
    hookimpl,
)
from prologue_bench.errors import UserError

INTERFACE_VERSION = 2


def _component(name: str, target: str, summary: str) -> Component:
    return Component(name=name, target=f"{__name__}:{target}", summary=summary)


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        _component("two-codebooks", "TwoCodebooks", "Two ids at each of 2 x 2 positions."),
        _component("levels", "Levels", "Images of 1 x 1, 2 x 2 and 4 x 4 as three segments."),
        _component("many-codes", "ManyCodes", "Ids of 18 bits."),
        _component("continuous", "Continuous", "A released autoencoder without ids."),
    ]


@hookimpl
def prologue_generators() -> list[Component]:
    return [
        _component("whole-segments", "WholeSegments", "Draws each segment in one step."),
        _component("whole-positions", "WholePositions", "Draws all codebooks of a position."),
        _component("masked", "Masked", "Draws half of the tokens, then the others."),
        _component("bits", "Bits", "Draws the bits of each id, without a table of all ids."),
    ]


class _Rounded(Tokenizer):
    """Pools images and rounds them; a learned shift stands for what a real one learns."""

    def __init__(self, images: ImageSpec, *segments: Segment) -> None:
        super().__init__()
        self.size = (images.height, images.width)
        self.channels = images.channels
        self.layout = TokenLayout(segments, separator=False)
        self.shift = nn.Parameter(torch.zeros(1))

    def pooled(self, images: Tensor, side: int, levels: int) -> Tensor:
        """Grey levels 0 to levels - 1 of side x side cells, [B, side * side]."""
        grey = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), side).flatten(1)
        return ((grey + 1) / 2 * (levels - 1)).round().long().clamp(0, levels - 1)

    def enlarged(self, levels: Tensor, side: int, count: int) -> Tensor:
        """Images [B, C, H, W] of grey levels [B, side * side]."""
        grey = (levels.float() / (count - 1) * 2 - 1 + self.shift).reshape(-1, 1, side, side)
        return F.interpolate(grey, self.size).expand(-1, self.channels, -1, -1)

    def losses(self, images: Tensor) -> TokenizerOutput:
        ids = self.encode(images)
        return TokenizerOutput(self.decode(ids), {}, ids)


class TwoCodebooks(_Rounded):
    """A coarse and a fine code at each position: 8 levels of brightness, 8 of the rest."""

    def __init__(self, settings: object, images: ImageSpec) -> None:
        super().__init__(images, Segment("visual", 8, 8, grid=(2, 2), codebooks=2))

    def encode(self, images: Tensor) -> Tensor:
        level = self.pooled(images, 2, 64)
        return torch.stack((level // 8, level % 8), dim=2).flatten(1)

    def decode(self, ids: Tensor) -> Tensor:
        coarse, fine = ids.unflatten(1, (4, 2)).unbind(2)
        return self.enlarged(8 * coarse + fine, 2, 64)


class Levels(_Rounded):
    """From coarse to fine, in the manner of Tian et al. 2024: a segment per resolution."""

    def __init__(self, settings: object, images: ImageSpec) -> None:
        sides = (1, 2, 4)
        super().__init__(images, *(Segment(f"level-{s}", s * s, 16, (s, s)) for s in sides))

    def encode(self, images: Tensor) -> Tensor:
        return torch.cat([self.pooled(images, side, 16) for side in (1, 2, 4)], dim=1)

    def decode(self, ids: Tensor) -> Tensor:
        return self.enlarged(self.layout.split(ids)["level-4"], 4, 16)


class ManyCodes(_Rounded):
    """Ids of 2^18 codes, such as binary quantization has: nothing is as large as the vocabulary."""

    def __init__(self, settings: object, images: ImageSpec) -> None:
        super().__init__(images, Segment("visual", 4, 2**18, grid=(2, 2)))

    def encode(self, images: Tensor) -> Tensor:
        return self.pooled(images, 2, 2**18)

    def decode(self, ids: Tensor) -> Tensor:
        return self.enlarged(ids, 2, 2**18)


class Continuous(ContinuousTokenizer):
    """Averages of 2 x 2 pixels stand for a VAE's latents."""

    def __init__(self, settings: object, images: ImageSpec) -> None:
        super().__init__()
        self.size = (images.height, images.width)
        self.scale = nn.Parameter(torch.ones(1))

    def reconstruct(self, images: Tensor) -> Tensor:
        latents = F.avg_pool2d(images, 2)
        return F.interpolate(latents * self.scale, self.size)


class WholeSegments(AutoregressiveGenerator[list[Tensor]]):
    """Logits of each segment from the label and the mean of all tokens before it."""

    def __init__(self, settings: object, layout: TokenLayout, labels: int) -> None:
        super().__init__()
        self.layout = layout
        self.label = nn.Embedding(labels, 8)
        self.heads = nn.ModuleList(
            nn.Linear(9, count * self.segment_at(at).vocabulary)
            for count, at in zip(self.steps, self.starts(), strict=True)
        )

    @property
    def steps(self) -> Sequence[int]:
        return tuple(segment.length for segment in self.layout)

    def starts(self) -> list[int]:
        """The first token of each step."""
        return [sum(self.steps[:index]) for index in range(len(self.steps))]

    def segment_at(self, token: int) -> Segment:
        return next(each for each in self.layout if token < self.layout.span(each.name).stop)

    def logits(self, step: int, labels: Tensor, before: Tensor) -> Tensor:
        """[B, n, K] of a step's n tokens, given the ids [B, m] before it."""
        mean = before.float().sum(1, keepdim=True) / max(1, before.shape[1]) / 16
        found: Tensor = self.heads[step](torch.cat((self.label(labels), mean), dim=1))
        return found.unflatten(1, (self.steps[step], -1))

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        costs = []
        for step, (count, at) in enumerate(zip(self.steps, self.starts(), strict=True)):
            logits = self.logits(step, labels, ids[:, :at]).transpose(1, 2)
            costs.append(F.cross_entropy(logits, ids[:, at : at + count], reduction="none"))
        return self.layout.split(torch.cat(costs, dim=1))

    def losses(self, ids: Tensor, labels: Tensor) -> Tensor:
        return self.layout.join(self.nll(ids, labels))

    def start(self, labels: Tensor) -> list[Tensor]:
        return [labels, labels.new_zeros(len(labels), 0)]

    def decode_step(self, state: list[Tensor], chosen: Tensor | None) -> Tensor:
        if chosen is not None:
            state[1] = torch.cat((state[1], chosen), dim=1)
        return self.logits(self.starts().index(state[1].shape[1]), *state)


class WholePositions(WholeSegments):
    """The same with a step per position, which holds a token of each codebook."""

    @property
    def steps(self) -> Sequence[int]:
        return tuple(each.codebooks for each in self.layout for _ in range(each.positions))


class Masked(ParallelGenerator):
    """Predicts hidden tokens from those that are seen; it has no likelihood of a whole image."""

    def __init__(self, settings: object, layout: TokenLayout, labels: int) -> None:
        super().__init__()
        self.layout = layout
        sizes = [segment.vocabulary for segment in layout for _ in range(segment.length)]
        self.label = nn.Embedding(labels, 8)
        self.heads = nn.ModuleList(nn.Linear(8 + layout.length, size) for size in sizes)

    def draws(self, count: int, random: Any, progress: float) -> dict[str, Tensor]:
        """Which tokens are hidden: more of them towards the end of the training."""
        noise = torch.rand(count, self.layout.length, generator=random("hidden"))
        return {"hidden": noise < 0.3 + 0.6 * progress}

    def logits(self, ids: Tensor, labels: Tensor, hidden: Tensor) -> list[Tensor]:
        """[B, K] of each token, those hidden being unknown."""
        seen = torch.where(hidden, -1.0, ids.float() / 16)
        features = torch.cat((self.label(labels), seen), dim=1)
        return [head(features) for head in self.heads]

    def losses(self, ids: Tensor, labels: Tensor, hidden: Tensor | None = None) -> Tensor:
        hidden = torch.ones_like(ids, dtype=torch.bool) if hidden is None else hidden
        logits = self.logits(ids, labels, hidden)
        costs = [
            F.cross_entropy(each, ids[:, place], reduction="none")
            for place, each in enumerate(logits)
        ]
        return torch.stack(costs, dim=1) * hidden

    def draw(self, drawing: Drawing) -> Tensor:
        labels, length = drawing.labels, self.layout.length
        none = torch.full_like(labels, drawing.none_label)
        ids = labels.new_zeros(len(labels), length)
        hidden = torch.ones_like(ids, dtype=torch.bool)
        if drawing.fixed is not None:
            hidden = drawing.fixed == FREE
            ids = torch.where(hidden, ids, drawing.fixed)
        temperatures = [drawing.temperatures[s.name] for s in self.layout for _ in range(s.length)]
        noise = drawing.noise("tokens", length)
        unknown = [place for place in range(length) if hidden[:, place].any()]
        for places in (unknown[::2], unknown[1::2]):
            with_label, without = self.logits(ids, labels, hidden), self.logits(ids, none, hidden)
            hidden = hidden.clone()
            for place in places:
                scale = drawing.guidance[place]
                logits = scale * with_label[place] + (1 - scale) * without[place]
                shares = (logits / temperatures[place]).softmax(-1).double().cumsum(-1)
                point = noise[:, place, None].contiguous()
                chosen = torch.searchsorted(shares, point, right=True)
                chosen = chosen[:, 0].clamp(max=logits.shape[1] - 1)
                ids[:, place] = torch.where(hidden[:, place], chosen, ids[:, place])
                hidden[:, place] = False
        return ids


class Bits(ParallelGenerator):
    """Each bit of each id from the label alone, so that 2^18 codes take 18 numbers."""

    def __init__(self, settings: object, layout: TokenLayout, labels: int) -> None:
        super().__init__()
        self.layout = layout
        sizes = [segment.vocabulary for segment in layout for _ in range(segment.length)]
        self.widths = [size.bit_length() - 1 for size in sizes]
        if sizes != [2**width for width in self.widths]:
            raise UserError(f"bits: found vocabularies {set(sizes)}, expected powers of two")
        self.table = nn.Embedding(labels, sum(self.widths))
        nn.init.normal_(self.table.weight)

    def bits(self, ids: Tensor) -> Tensor:
        """[B, bits of all tokens]."""
        parts = [
            ids[:, place, None] >> torch.arange(width, device=ids.device) & 1
            for place, width in enumerate(self.widths)
        ]
        return torch.cat(parts, dim=1)

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        costs = F.binary_cross_entropy_with_logits(
            self.table(labels), self.bits(ids).float(), reduction="none"
        )
        tokens = [part.sum(dim=1) for part in costs.split(self.widths, dim=1)]
        return self.layout.split(torch.stack(tokens, dim=1))

    def losses(self, ids: Tensor, labels: Tensor) -> Tensor:
        return self.layout.join(self.nll(ids, labels))

    def draw(self, drawing: Drawing) -> Tensor:
        noise = drawing.noise("bits", sum(self.widths))
        bits = (noise < self.table(drawing.labels).sigmoid()).long()
        ids = torch.stack(
            [
                (part << torch.arange(part.shape[1], device=part.device)).sum(dim=1)
                for part in bits.split(self.widths, dim=1)
            ],
            dim=1,
        )
        if drawing.prefix is not None:
            ids[:, : drawing.prefix.shape[1]] = drawing.prefix
        return ids
