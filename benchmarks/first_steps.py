"""What a start does to a prologue: its codes in the first steps of a joint training.

    python benchmarks/first_steps.py --initialisation paper --seed 0

Models are those of the profile `quick`, on 16 embedded images a step and one thread. Ids are those
of the first 500 test images: codes in use at any of the 8 positions, codes in use per position (the
mean), and the entropy of whole prologues, which is 0 while all images have the same one, and at
most 9 bits. Weights are the raw ones, without a moving average.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from prologue_bench.config.resolving import resolve_alone
from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.contracts import Tokenizer, to_float
from prologue_bench.pipeline.models import build_generator, build_tokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from prologue_bench.training.models import TokenizerModel

IMAGES, BATCH, WARMUP, RATE, EVERY = 500, 16, 60, 1e-3, 100


def bits(ids: Tensor) -> float:
    """Entropy of the rows of ids [N, n]."""
    counts = ids.unique(dim=0, return_counts=True)[1].double()
    shares = counts / counts.sum()
    return float((shares * -shares.log2()).sum())


def line(step: int, tokenizer: Tokenizer, images: Tensor, l1: float) -> str:
    """One row of the table."""
    with torch.no_grad():
        ids = tokenizer.layout.split(tokenizer.encode(images))["prologue"]
    alone = sum(len(column.unique()) for column in ids.T) / ids.shape[1]
    return f"| {step} | {len(ids.unique())} | {alone:.1f} | {bits(ids):.1f} | {l1:.3f} |"


def main() -> None:
    """Train for a few steps, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--initialisation", choices=["open", "paper"], default="open")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    registry, start = Registry.load(), {"initialisation": chosen.initialisation}
    workspace = Workspace(Store(Path(".benchmarks")))
    data = workspace.open_data(
        resolve_alone("data", "fashion-mnist-embedded", {}, "quick", registry)
    )
    prologue = resolve_alone(
        "tokenizer", "prologue", {"prologue_tokens": 8, **start}, "quick", registry
    )
    tokenizer = build_tokenizer(prologue, data.spec)
    prior = build_generator(
        resolve_alone("generator", "ar", start, "quick", registry),
        tokenizer.layout,
        data.spec.labels,
    )
    model = TokenizerModel(tokenizer, prior, TokenizerTraining(l2_weight=1.0), data.spec.none_label)
    optimizers = [
        torch.optim.AdamW(tokenizer.parameters(), RATE, betas=(0.0, 0.99), weight_decay=0.0),
        torch.optim.AdamW(prior.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0.03),
    ]
    train = torch.from_numpy(data.images("train")[:].copy())
    test = to_float(torch.from_numpy(data.images("test")[:IMAGES].copy()))
    order = torch.randperm(len(train))
    print(
        "| step | codes in use | codes per position | bits | L1 |\n"
        "| ---: | ---: | ---: | ---: | ---: |"
    )
    print(line(0, tokenizer, test, float("nan")), flush=True)
    recent: list[float] = []
    for step in range(chosen.steps):
        model.begin_step(step, seed=(chosen.seed << 16) + step)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / WARMUP)
        batch = train[order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(order)]]
        losses = model(mode="loss", images=batch, **model.draws(BATCH))
        sum(losses.values(), torch.zeros(())).backward()
        recent.append(next(value.item() for name, value in losses.items() if name.endswith("l1")))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % EVERY == 0 or step + 1 == chosen.steps:
            print(
                line(step + 1, tokenizer, test, sum(recent[-20:]) / len(recent[-20:])), flush=True
            )


if __name__ == "__main__":
    main()
