"""Losses and optimizers as the paper's method has them, against plain formulas."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.training.models import TokenizerModel
from tests.factories.models import ar, prologue
from tests.factories.processes import artifacts, curves, run
from tests.factories.training import byte_images

# ---- the cross-entropy by target


def by_target(separator: bool = True, **weights: float) -> TokenizerModel:
    tokenizer = prologue(ce_weight=3.0, ce_target_weights=weights, separator=separator)
    return TokenizerModel(tokenizer, ar(tokenizer.layout), TokenizerTraining(), none_label=3)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_targets_weigh_alike_compiled_and_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    )
    eager = by_target(prologue=0.2, visual=5.0)
    batch, dropped = byte_images(4), torch.tensor([True, False] * 2)
    expected = eager(images=batch, dropped_visual=dropped)
    sum(expected.values()).backward()  # type: ignore[union-attr]
    for changes, tolerance in (({"compile": True}, 1e-5), ({"precision": "bfloat16"}, 0.05)):
        training = TokenizerTraining(**changes)  # type: ignore[arg-type]
        tokenizer = prologue(ce_weight=3.0, ce_target_weights={"prologue": 0.2, "visual": 5.0})
        model = TokenizerModel(tokenizer, ar(tokenizer.layout), training, none_label=3)
        found = model(images=batch, dropped_visual=dropped)
        assert {k: v.item() for k, v in found.items()} == pytest.approx(
            {k: v.item() for k, v in expected.items()}, rel=tolerance
        )
        sum(found.values()).backward()  # type: ignore[union-attr]
        assert gradients(model).keys() == gradients(eager).keys()


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
