"""Learning curves beyond the report: TensorBoard, MLflow and Weights & Biases, by mmengine."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from prologue_bench.config.settings import Training
from prologue_bench.errors import UserError
from prologue_bench.storage.files import user_path
from prologue_bench.training.context import StageContext

LIBRARIES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


def visualizer(training: Training, context: StageContext, name: str) -> dict[str, Any] | None:
    """mmengine's configuration of a visualizer with the trackers of the settings; None without any.

    Each run has a folder of its own in `tracking_folder`. Raises UserError for a tracker that is
    not installed.
    """
    if not training.trackers:
        return None
    check_trackers(training)
    run = f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', context.label)}-{context.work.name[:8]}"
    folder = user_path(training.tracking_folder).resolve() / run
    return {
        "type": "Visualizer",
        "name": name,
        "save_dir": str(folder),
        "vis_backends": [_backend(tracker, folder, run) for tracker in training.trackers],
    }


def check_trackers(training: Training) -> None:
    """Raises UserError for a tracker that is not installed."""
    for tracker in training.trackers:
        if importlib.util.find_spec(LIBRARIES[tracker]) is None:
            raise UserError(
                f"trackers: {tracker!r} is not installed; pip install 'prologue-bench[trackers]'"
            )


def _backend(tracker: str, folder: Path, run: str) -> dict[str, Any]:
    if tracker == "mlflow":
        # MLflow no longer writes to plain folders: all runs are one database, or go to the server
        # of the variable.
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.parent / 'mlflow.db'}"
        return {
            "type": "MLflowVisBackend",
            "save_dir": str(folder),
            "exp_name": "prologue-bench",
            "run_name": run,
            "tracking_uri": uri,
            "artifact_location": None
            if uri.startswith("http")
            else (folder.parent / "mlflow-artifacts").as_uri(),
        }
    if tracker == "wandb":
        options = {"project": "prologue-bench", "name": run, "dir": str(folder)}
        return {"type": "WandbVisBackend", "save_dir": str(folder), "init_kwargs": options}
    return {"type": "TensorboardVisBackend", "save_dir": str(folder)}
