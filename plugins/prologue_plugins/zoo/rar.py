"""RAR as released (Yu et al. 2024, "Randomized Autoregressive Visual Generation").

Every position has a condition of its own, which shifts, scales and gates what the blocks compute.
Letters as in `generating`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.config.settings import Guidance
from prologue_bench.config.structure import structure
from prologue_plugins.zoo.generating import (
    Cache,
    ZooGenerator,
    attended,
    made_golden,
)
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_generators import OfficialRarSettings

EPS = 1e-6
STD = 0.02
MORE_PLACES, MORE_TIMES = 1024, 100
"""How much longer the tables of places and times are than the sequence; the rest is not used."""


class Modulation(nn.Module):
    """Numbers [B, n, parts D] of conditions [B, n, D] (Peebles and Xie 2023)."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """The parts, [B, n, D] each."""
        chunks: tuple[Tensor, ...] = self.adaLN_modulation(condition).chunk(self.parts, dim=-1)
        return chunks


class Attention(nn.Module):
    """Queries and keys of each head are normalised."""

    def __init__(self, settings: OfficialRarSettings) -> None:
        super().__init__()
        width, self.heads = settings.hidden_size, settings.num_attention_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // self.heads, eps=EPS)
        self.k_norm = nn.LayerNorm(width // self.heads, eps=EPS)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, layer: int, cache: Cache) -> Tensor:
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, keys, values = parts
        mixed = attended(self.q_norm(query), layer, self.k_norm(keys), values, cache)
        out: Tensor = self.proj(mixed)
        return out


class FeedForward(nn.Module):
    """Two layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(Modulation):
    """Attention, then the feed-forward layer, each shifted, scaled and gated by the condition."""

    def __init__(self, settings: OfficialRarSettings) -> None:
        width = settings.hidden_size
        super().__init__(width, 6)
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(settings)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = FeedForward(width, settings.intermediate_size)

    def through(self, x: Tensor, condition: Tensor, layer: int, cache: Cache) -> Tensor:
        """The output [B, n, D] for an input and conditions [B, n, D]."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self(condition)
        x = x + gate * self.attn(self.norm1(x) * (1 + scale) + shift, layer, cache)
        out: Tensor = x + mlp_gate * self.mlp(self.norm2(x) * (1 + mlp_scale) + mlp_shift)
        return out


class OfficialRar(ZooGenerator[OfficialRarSettings]):
    """A token of its own, the class, then the tokens; the class predicts the first token."""

    name = "official-rar"
    prefix = 2

    def build(self, settings: OfficialRarSettings) -> None:
        width, codes, length = settings.hidden_size, self.codes, self.length
        # Codes, one that stands for a mask and is not used, classes, and "none".
        self.first_class = codes + 1
        vocabulary = codes + 1 + self.classes + 1
        self.embeddings = nn.Embedding(vocabulary, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, length + MORE_PLACES, width))
        self.target_aware_pos_embed = nn.Parameter(torch.zeros(1, length + MORE_PLACES, width))
        self.timesteps_embeddings = nn.Parameter(torch.zeros(1, length + MORE_TIMES, width))
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.num_hidden_layers))
        self.adaln_before_head = Modulation(width, 2)
        self.lm_head = nn.Linear(width, codes)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @staticmethod
    def sizes_of(settings: OfficialRarSettings) -> tuple[int, int, int]:
        return settings.image_seq_len, settings.codebook_size, settings.condition_num_classes

    def run(self, ids: Tensor | None, cache: Cache, orders: Tensor | None = None) -> Tensor:
        start, first = cache.used, max(0, cache.used - self.prefix)
        count = 0 if ids is None else ids.shape[1]
        places = self._places(cache.labels, orders)
        own = places[:, first : first + count]
        classes = self.embeddings(cache.labels + self.first_class)[:, None]
        parts = [] if ids is None else [self.embeddings(ids) + self.pos_embed[0, own]]
        if start == 0:
            lead = torch.cat((self.cls_token.expand(len(classes), -1, -1), classes), dim=1)
            parts.insert(0, lead + self.pos_embed[:, : self.prefix])
        x = torch.cat(parts, dim=1)
        cache.used += x.shape[1]
        # Each position from the class on knows the place that it predicts.
        wanted = places[:, max(start, 1) - 1 : cache.used - 1]
        targets = self.target_aware_pos_embed[0, wanted]
        x = x + F.pad(targets, (0, 0, x.shape[1] - targets.shape[1], 0))
        condition = classes + self.timesteps_embeddings[:, start : cache.used]
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x = block.through(x, condition, index, cache)
        scale, shift = self.adaln_before_head(condition)
        x = F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift
        logits: Tensor = self.lm_head(x)
        return logits

    def _places(self, labels: Tensor, orders: Tensor | None) -> Tensor:
        """Where the tokens stand among the positions, [B, T], in the order of their prediction."""
        usual = torch.arange(self.length, device=labels.device).expand(len(labels), -1)
        return (usual if orders is None else orders) + self.prefix


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    model = config.get("model")
    if not isinstance(model, Mapping) or "generator" not in model:
        return None
    names = {field.name for field in OfficialRarSettings.__attrs_attrs__}
    values = {
        **{name: value for name, value in model["generator"].items() if name in names},
        "codebook_size": model["vq_model"]["codebook_size"],
    }
    settings = structure(OfficialRarSettings, values, "config.json: model.generator:")
    guidance = Guidance(
        schedule="cosine",
        scale=float(config.get("guidance_scale", 1.0)),
        power=float(config.get("guidance_scale_pow", 1.0)),
    )
    return made_golden(OfficialRar, settings, weights, io, guidance)
