"""Losses and optimizers as the paper's method has them, against plain formulas."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.multiprocessing

from prologue_bench.training import distributed
from prologue_plugins.losses.adversarial import (
    OutputAverages,
)


def _average(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    averages = OutputAverages()
    for step in range(3):
        averages(step)
        averages.note(torch.tensor([10.0 * rank + step]), torch.tensor([-1.0 * rank]))
    averages(3)
    torch.save(averages.averages, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_all_processes_have_the_same_averages(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_average, args=(str(tmp_path),), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    expected = torch.zeros(2)
    for step in range(3):
        expected = 0.999 * expected + 0.001 * torch.tensor([5.0 + step, -0.5])
    assert torch.equal(one, other)
    assert torch.allclose(one, expected, atol=1e-7)
    assert distributed.world_size() == 1
