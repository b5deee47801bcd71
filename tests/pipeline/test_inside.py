"""Looking inside a training changes nothing of it, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prologue_bench.errors import Interrupted
from prologue_bench.results.loading import load_results
from prologue_bench.storage.artifacts import INSIDE
from prologue_bench.training.curves import read_curves
from prologue_bench.training.inside import LookedAt
from tests.factories.training import byte_images, run

SEEN = LookedAt(images=byte_images(6).numpy(), labels=np.arange(6) % 3)


def points(folder: Path) -> list[dict[str, Any]]:
    return read_curves(folder / "output" / INSIDE)


def test_a_training_that_is_looked_into_has_the_weights_of_one_that_is_not(tmp_path: Path) -> None:
    shown: dict[str, float] = {}
    seen = run(
        tmp_path / "seen", looked_at=SEEN, inspect_steps=2, accumulate=2, show_losses=shown.update
    )
    unseen = run(tmp_path / "unseen", accumulate=2)
    for name, value in unseen.state_dict().items():
        assert torch.equal(value, seen.state_dict()[name]), name
    assert not (tmp_path / "unseen" / "output" / INSIDE).exists()
    found = points(tmp_path / "seen")
    assert [point["step"] for point in found] == [2, 4, 6, 8, 10, 12]
    # Twelve images are looked at for 96 that are trained on: every 12 of 4 a step.
    assert [point["step"] for point in found if "codes/visual" in point] == [12]
    assert all(point["gradient/encoder"] > 0 for point in found)
    assert shown["prologue bits"] == found[-1]["joint_bits/prologue"]
    assert shown["visual codes"] == found[-1]["codes/visual"]


def test_a_resumed_training_saw_what_an_uninterrupted_one_did(tmp_path: Path) -> None:
    arguments = {"looked_at": SEEN, "inspect_steps": 4, "steps": 50, "rate": 0.1}
    run(tmp_path / "whole", **arguments)  # type: ignore[arg-type]
    for stop_after in (13, 27):
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", stop_after=stop_after, **arguments)  # type: ignore[arg-type]
    run(tmp_path / "parts", **arguments)  # type: ignore[arg-type]
    assert points(tmp_path / "parts") == points(tmp_path / "whole")
    assert len(points(tmp_path / "whole")) == 13


def test_results_and_report_tell_what_was_seen(two_seeds: Path) -> None:
    results = load_results(two_seeds / "report")
    by_variant = {run.variant: run.inside for run in results.runs}
    none, two = by_variant["prologue_tokens=0"], by_variant["prologue_tokens=2"]
    assert "joint_bits/prologue" in two
    assert "joint_bits/visual" not in none
    assert not any("by_position" in name for name in two), "lists stay in the artifact"
    html = (two_seeds / "report" / "report.html").read_text()
    assert "Joint bits, prologue" in html
    assert "Gradient norm, encoder" in html
