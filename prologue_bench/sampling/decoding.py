"""The decoding loop: one token after the other, each from its own segment's vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.interfaces import Generator
from prologue_bench.spec.settings import Sampling


@torch.inference_mode()
def sample_ids(generator: Generator, labels: Tensor, sampling: Sampling, rng: torch.Generator) -> Tensor:
    """Draw ids [B, L] for labels [B], with the temperature of each segment, then top-k, then top-p."""
    state = generator.start(labels)
    chosen: list[Tensor] = []
    previous: Tensor | None = None
    for segment in generator.layout:
        temperature = sampling.temperature_of(segment.name)
        for _ in range(segment.length):
            logits = generator.decode_step(state, previous) / temperature
            probabilities = restrict(logits, sampling.top_k, sampling.top_p).softmax(dim=-1, dtype=torch.float32)
            previous = torch.multinomial(probabilities, 1, generator=rng).squeeze(1)
            chosen.append(previous)
    return torch.stack(chosen, dim=1)


def restrict(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits [B, K] with all but the k likeliest at -inf, and of those all but the likeliest that hold `top_p`.

    The likeliest token always stays. 0 and 1.0 switch the two off.
    """
    if 0 < top_k < logits.shape[-1]:
        kth = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1, dtype=torch.float32)
        before = probabilities.cumsum(dim=-1) - probabilities
        logits = logits.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), float("-inf"))
    return logits
