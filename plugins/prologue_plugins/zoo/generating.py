"""What published autoregressive generators have in common.

Letters: B batch, T tokens of an image, n positions at hand, D width, H heads, C channels of a head.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from prologue_bench.config.settings import ALL_TOKENS, Guidance, Sampling
from prologue_bench.contracts import (
    AutoregressiveGenerator,
    Segment,
    TokenLayout,
    weights_given,
)
from prologue_bench.errors import UserError
from prologue_bench.sampling.decoding import sample_ids
from prologue_bench.storage.weights import Shapes
from prologue_plugins.zoo.reading import State, check_fit, fitting

S = TypeVar("S")
SEGMENT = "visual"
"""As the published tokenizers with one grid call theirs."""


class Cache:
    """Keys and values of all layers, [B, H, positions so far, C] each, and labels [B]."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels
        self.used = 0
        """Positions so far."""
        self.kept: list[tuple[Tensor, Tensor]] = []

    def add(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer, these being the newest."""
        if layer == len(self.kept):
            self.kept.append((keys, values))
        else:
            before = self.kept[layer]
            self.kept[layer] = (
                torch.cat((before[0], keys), dim=2),
                torch.cat((before[1], values), dim=2),
            )
        return self.kept[layer]


def attended(query: Tensor, layer: int, keys: Tensor, values: Tensor, cache: Cache) -> Tensor:
    """Causal attention of n queries [B, H, n, C], the last of all positions so far: [B, n, H C]."""
    keys, values = cache.add(layer, keys, values)
    count, whole = query.shape[2], keys.shape[2]
    mask = torch.ones(count, whole, dtype=torch.bool, device=query.device).tril(whole - count)
    mixed = F.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, enable_gqa=keys.shape[1] != query.shape[1]
    )
    return mixed.transpose(1, 2).flatten(2)


class ZooGenerator(AutoregressiveGenerator[Cache], Generic[S]):
    """A published generator over one segment, under its official names.

    A family gives its modules (`build`), the sizes that it is for, and `run`. Its weights come by
    `import-checkpoint`; without them it can be trained, on tokens in their usual order.
    """

    name: ClassVar[str]
    prefix: ClassVar[int]
    """Positions before the first token; the last of them predicts it."""

    def __init__(self, settings: S, layout: TokenLayout, labels: int) -> None:
        super().__init__()
        self.settings, self.layout, self.classes = settings, layout, labels - 1
        found = [
            f"{each.length} of {each.vocabulary}"
            + (f" in {each.codebooks} codebooks" if each.codebooks > 1 else "")
            for each in layout
        ]
        if len(layout.segments) != 1 or layout.segments[0].codebooks > 1:
            raise UserError(
                f"generator {self.name!r}: found tokens {' + '.join(found)}, expected one segment "
                "with one codebook"
            )
        self.length, self.codes = layout.segments[0].length, layout.segments[0].vocabulary
        length, codes, classes = self.sizes_of(settings)
        if (length or self.length, codes or self.codes) != (self.length, self.codes):
            raise UserError(
                f"generator {self.name!r}: found tokens {found[0]}, expected {length or 'any'} of "
                f"{codes or 'any'}"
            )
        if classes and classes != self.classes:
            raise UserError(
                f"generator {self.name!r}: found {self.classes} classes, expected {classes}"
            )
        if weights_given() and not torch.empty(0).is_meta:
            with torch.device("meta"):
                self.build(settings)
            self.to_empty(device="cpu")
        else:
            self.build(settings)

    @abstractmethod
    def build(self, settings: S) -> None:
        """Make the modules under their official names."""

    @staticmethod
    @abstractmethod
    def sizes_of(settings: S) -> tuple[int, int, int]:
        """Tokens of an image, codes, and classes without "none"; 0 for any."""

    @abstractmethod
    def run(self, ids: Tensor | None, cache: Cache, orders: Tensor | None = None) -> Tensor:
        """Logits [B, n, V] at the next positions: the prefix if none is used yet, then ids [B, m].

        `orders` [B, T] are the places of the tokens where these are permuted.
        """

    def logits(self, ids: Tensor, labels: Tensor, orders: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] that predict each of ids [B, T] from those before it."""
        return self.run(ids[:, :-1], Cache(labels), orders)[:, self.prefix - 1 :]

    def losses(self, ids: Tensor, labels: Tensor) -> Tensor:
        logits = self.logits(ids, labels)
        losses = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none")
        return losses.view(ids.shape)

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {self.layout.names[0]: self.losses(ids, labels)}

    def start(self, labels: Tensor) -> Cache:
        return Cache(labels)

    def decode_step(self, state: Cache, chosen: Tensor | None) -> Tensor:
        return self.run(chosen, state)[:, -1:]

    @classmethod
    def shapes(cls, settings: S) -> Shapes:
        """Names and shapes of a released file's tensors for these settings."""
        return {name: tuple(each.shape) for name, each in cls._bare(settings).state_dict().items()}

    @classmethod
    def holding(cls, settings: S, state: State, where: str) -> ZooGenerator[S]:
        """The generator with the weights of a released file.

        Raises UserError, which begins with `where`, for weights that do not fit.
        """
        state = cls.prepare(state)
        found = {name: tuple(value.shape) for name, value in state.items()}
        check_fit(cls.shapes(settings), found, where)
        made = cls._bare(settings)
        tensors = {name: fitting(value, f"{where}: {name}") for name, value in state.items()}
        made.load_state_dict(tensors, assign=True)
        return made.eval()

    @classmethod
    def _bare(cls, settings: S) -> ZooGenerator[S]:
        """The generator without memory, for the tokens that the settings name."""
        length, codes, classes = cls.sizes_of(settings)
        side = math.isqrt(length)
        grid = (side, side) if side**2 == length else None
        with torch.device("meta"):
            return cls(settings, TokenLayout((Segment(SEGMENT, length, codes, grid),)), classes + 1)

    @staticmethod
    def prepare(state: State) -> State:
        """The tensors of a file without those that no model reads."""
        return state

    @torch.no_grad()
    def golden(self, io: State, guidance: Guidance) -> Mapping[str, Tensor]:
        """The tensors that golden folders hold, for ids [B, T] and labels [B] of `io`."""
        ids, labels = io["ids"], io["labels"]
        nobody = torch.full_like(labels, self.classes)
        found = {
            "ar_logits": self.logits(ids, labels),
            "ar_logits_uncond": self.logits(ids, nobody),
            "ar_ce": self.losses(ids, labels),
        }
        if (orders := io.get("orders")) is not None:
            found["ar_logits_permuted"] = self.logits(ids.gather(1, orders), labels, orders)
        for name, schedule in (
            ("greedy_tokens", {}),
            ("greedy_tokens_cfg", {ALL_TOKENS: guidance}),
        ):
            sampling = Sampling(top_k=1, guidance=schedule)
            found[name] = sample_ids(self, labels, sampling, torch.Generator(), self.classes)
        return found


def made_golden(
    made: type[ZooGenerator[Any]], settings: Any, weights: State, io: State, guidance: Guidance
) -> Mapping[str, Tensor]:
    """The outputs of a golden folder of a generator."""
    for name in ("ids", "labels"):
        if name not in io:
            raise UserError(f"io.safetensors: input {name!r} is missing")
    return made.holding(settings, weights, "weights.safetensors").golden(io, guidance)
