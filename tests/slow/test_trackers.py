"""Curves in MLflow and Weights & Biases, whose imports alone take seconds."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.errors import StageError
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.models import (
    TokenizerModel,
)
from prologue_bench.training.runner import TrainingJob, train
from tests.factories.training import FAST, byte_images, joint_model


class Stop:
    """Asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.done = 0

    def advance(self, done: int, total: int) -> None:
        self.done = done

    def requested(self) -> bool:
        return self.done >= self.after


def run(
    folder: Path, stop_after: int = 10**9, rate: float = 1e-2, steps: int = 12, **changes: object
) -> TokenizerModel:
    stop = Stop(stop_after)
    (folder / "output").mkdir(parents=True, exist_ok=True)
    context = StageContext(
        work=folder,
        output=folder / "output",
        label="train-tokenizer of a, b seed 0",
        advance=stop.advance,
        stop_requested=stop.requested,
    )
    torch.manual_seed(0)
    model = joint_model()
    training = TokenizerTraining(
        steps=steps,
        batch_size=4,
        ema_half_life_steps=3,
        checkpoint_steps=4,
        **changes,  # type: ignore[arg-type]
    )
    fast = attrs.evolve(FAST, learning_rate=rate)
    parts = {
        "autoencoder": (list(model.tokenizer.parameters()), fast),
        "prior": (list(model.prior.parameters()), fast),  # type: ignore[union-attr]
    }
    data = ArrayDataset({"images": byte_images().numpy()})
    job = TrainingJob(
        model=model, data=data, training=training, parts=parts, seed=3, context=context
    )
    return train(job)  # type: ignore[return-value]


def test_mlflow_has_a_run_for_each_training_also_after_one_that_failed(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    options = {"trackers": ("mlflow",), "tracking_folder": str(tmp_path / "runs")}
    with pytest.raises(StageError):
        run(tmp_path / "failing", rate=1e30, steps=40, **options)
    assert mlflow.active_run() is None
    run(tmp_path / "work", **options)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("prologue-bench").experiment_id])
    names = ["train-tokenizer_of_a_b_seed_0-work", "train-tokenizer_of_a_b_seed_0-failing"]
    assert [each.info.run_name for each in found] == names
    assert len(client.get_metric_history(found[0].info.run_id, "loss_ce")) > 1
    assert found[0].data.params["training.steps"] == "12"


def test_weights_and_biases_records_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(tmp_path / "work", trackers=("wandb",), tracking_folder=str(tmp_path / "runs"))
    (found,) = (tmp_path / "runs").rglob("offline-run-*/*.wandb")
    assert b"loss_ce" in found.read_bytes()
