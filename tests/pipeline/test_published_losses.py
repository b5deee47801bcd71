"""Losses and optimizers as the paper's method has them, against plain formulas."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from prologue_bench.training import distributed
from prologue_plugins.losses.adversarial import (
    OutputAverages,
)
from tests.factories.processes import artifacts, curves, run


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


def test_two_processes_train_a_discriminator_as_one_does(tmp_path: Path) -> None:
    from tests.conftest import SMOKE

    ablation = tmp_path / "tiny.yaml"
    ablation.write_text(
        SMOKE.replace("[0, 2]", "[2]").replace("baseline: {tokenizer.prologue_tokens: 0}", "")
    )
    losses = (
        "tokenizer_training.losses=[{use: patchgan, width: 8, layers: 1, r1_every_steps: 2, "
        "r1_weight: 10.0}]"
    )
    targets = "tokenizer.ce_target_weights={prologue: 0.5}"
    for processes in (1, 2):
        accumulate = ["tokenizer_training.accumulate=2"] if processes == 2 else []
        only = "metrics=[codebook]"
        run(
            ablation,
            tmp_path / str(processes),
            tmp_path / f"out{processes}",
            processes,
            losses,
            targets,
            only,
            *accumulate,
        )
    [one], [two] = (
        artifacts(tmp_path / "1", "train-tokenizer"),
        artifacts(tmp_path / "2", "train-tokenizer"),
    )
    for first, second in list(zip(curves(one), curves(two), strict=True))[:6]:
        assert first.keys() == second.keys()
        assert ("loss_patchgan/r1" in first) == (first["step"] % 2 == 0)
        for name in first.keys() - {"seconds"}:
            assert second[name] == pytest.approx(first[name], rel=5e-4), (first["step"], name)
