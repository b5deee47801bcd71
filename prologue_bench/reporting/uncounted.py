"""Results of older versions, which have 0 where operations could not be counted."""

from __future__ import annotations

from typing import Any

TRAININGS = ("train-tokenizer", "train-generator")


def forget_uncounted(results: dict[str, Any]) -> None:
    """Put None where 0 stands for operations that were not counted, and leave out the totals that they are in."""
    for run in results["runs"]:
        uncounted = [stage for stage in run.get("stages", []) if stage.get("flops") == 0 and not _is_idle(stage, run)]
        for stage in uncounted:
            stage["flops"] = None
        if any(stage["stage"] in TRAININGS for stage in uncounted):
            run["measurements"] = [each for each in run["measurements"] if each["name"] != "training_flops"]


def _is_idle(stage: dict[str, Any], run: dict[str, Any]) -> bool:
    """Whether the stage computed nothing: a prior that was taken over, a frozen tokenizer, which leaves no curves."""
    return stage["stage"] == "take-prior" or (
        stage["stage"] == "train-tokenizer" and "train-tokenizer" not in run.get("curves", {})
    )
