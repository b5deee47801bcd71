"""LlamaGen's class-conditional transformers (Sun et al. 2024).

Letters as in `generating`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.config.settings import Guidance
from prologue_bench.config.structure import structure
from prologue_bench.errors import UserError
from prologue_plugins.layers.passes import Rotation, rotate
from prologue_plugins.layers.transformer import rotary_angles, rotation
from prologue_plugins.zoo.generating import (
    Cache,
    ZooGenerator,
    attended,
    made_golden,
)
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_generators import LlamaGenGptSettings

STD = 0.02
"""Of new weights; those of the output layer are zero."""
FREQUENCIES = "freqs_cis"
"""A table that some released files hold, and that is computed here."""


class Norm(nn.Module):
    """x / sqrt(mean x^2 + eps), times a weight (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class Attention(nn.Module):
    """Queries and keys are turned by their cell; several heads of queries may share one of keys."""

    def __init__(self, settings: LlamaGenGptSettings) -> None:
        super().__init__()
        self.channels = settings.dim // settings.n_head
        self.heads = settings.n_head
        self.shared = settings.n_kv_head or settings.n_head
        width = (self.heads + 2 * self.shared) * self.channels
        self.wqkv = nn.Linear(settings.dim, width, bias=False)
        self.wo = nn.Linear(settings.dim, settings.dim, bias=False)

    def forward(self, x: Tensor, layer: int, by: Rotation, cache: Cache) -> Tensor:
        counts = (self.heads, self.shared, self.shared)
        heads = self.wqkv(x).unflatten(2, (-1, self.channels)).transpose(1, 2)
        query, keys, values = heads.split(counts, dim=1)
        mixed = attended(rotate(query, by), layer, rotate(keys, by), values, cache)
        out: Tensor = self.wo(mixed)
        return out


class FeedForward(nn.Module):
    """w2(silu(w1 x) * w3 x) (Shazeer 2020)."""

    def __init__(self, settings: LlamaGenGptSettings) -> None:
        super().__init__()
        self.w1 = nn.Linear(settings.dim, settings.hidden, bias=False)
        self.w3 = nn.Linear(settings.dim, settings.hidden, bias=False)
        self.w2 = nn.Linear(settings.hidden, settings.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return out


class Block(nn.Module):
    """Attention, then the feed-forward layer, each of the normalised input and added to it."""

    def __init__(self, settings: LlamaGenGptSettings) -> None:
        super().__init__()
        self.attention = Attention(settings)
        self.feed_forward = FeedForward(settings)
        self.attention_norm = Norm(settings.dim, settings.norm_eps)
        self.ffn_norm = Norm(settings.dim, settings.norm_eps)

    def forward(self, x: Tensor, layer: int, by: Rotation, cache: Cache) -> Tensor:
        x = x + self.attention(self.attention_norm(x), layer, by, cache)
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class LlamaGenGpt(ZooGenerator[LlamaGenGptSettings]):
    """The class embedding, then the tokens row by row; output t predicts token t."""

    name = "llamagen-gpt"
    prefix = 1

    def build(self, settings: LlamaGenGptSettings) -> None:
        if math.isqrt(self.length) ** 2 != self.length:
            raise UserError(
                f"generator {self.name!r}: found {self.length} tokens, expected those of a square"
            )
        classes = nn.Embedding(self.classes + 1, settings.dim)
        self.cls_embedding = nn.ModuleDict({"embedding_table": classes})
        self.tok_embeddings = nn.Embedding(self.codes, settings.dim)
        self.layers = nn.ModuleList(Block(settings) for _ in range(settings.n_layer))
        self.norm = Norm(settings.dim, settings.norm_eps)
        self.output = nn.Linear(settings.dim, self.codes, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=STD)
        nn.init.zeros_(self.output.weight)

    @staticmethod
    def sizes_of(settings: LlamaGenGptSettings) -> tuple[int, int, int]:
        return settings.block_size, settings.vocab_size, settings.num_classes

    @staticmethod
    def prepare(state: State) -> State:
        return {name: value for name, value in state.items() if name != FREQUENCIES}

    def run(self, ids: Tensor | None, cache: Cache, orders: Tensor | None = None) -> Tensor:
        parts = [] if ids is None else [self.tok_embeddings(ids)]
        if cache.used == 0:
            parts.insert(0, self.cls_embedding["embedding_table"](cache.labels)[:, None])
        x = torch.cat(parts, dim=1)
        by = self._rotation(cache.used, cache.used + x.shape[1], x.device)
        cache.used += x.shape[1]
        for index, layer in enumerate(self.layers):
            x = layer(x, index, by, cache)
        logits: Tensor = self.output(self.norm(x))
        return logits

    def _rotation(self, start: int, stop: int, device: torch.device) -> Rotation:
        """The rotation of positions: half of a head's channels by the row, half by the column.

        The class, at the front, has no cell: its queries and keys are multiplied by zero.
        """
        channels = self.settings.dim // self.settings.n_head
        side = math.isqrt(self.length)
        cells = torch.arange(max(start, 1) - 1, stop - 1)
        places = torch.stack((cells // side, cells % side), dim=1)
        table = rotation(rotary_angles(places, [channels // 2] * 2, self.settings.rope_base))
        pad = (0, 0, 1, 0) if start == 0 else (0, 0, 0, 0)
        return Rotation(*(F.pad(each, pad).to(device) for each in table))


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    if "cls_token_num" not in config or config.get("model_type", "c2i") != "c2i":
        return None
    left_out = ("cls_token_num", "model_type", "class_dropout_prob", "cfg_scale")
    values = {name: value for name, value in config.items() if name not in left_out}
    settings = structure(LlamaGenGptSettings, values, "config.json:")
    guidance = Guidance(schedule="constant", scale=float(config.get("cfg_scale", 1.0)))
    return made_golden(LlamaGenGpt, settings, weights, io, guidance)
