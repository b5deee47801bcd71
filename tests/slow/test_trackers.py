"""Curves in MLflow and Weights & Biases, whose imports alone take seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from prologue_bench.errors import StageError
from tests.factories.training import run


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
