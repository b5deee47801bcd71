"""What files outside the project hold is part of every key, and where they lie is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.storage.store import Store
from tests.conftest import Recorder

Load = Callable[..., Ablation]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("INCEPTION_WEIGHTS", raising=False)


def test_a_file_that_changes_after_planning_fails_its_stage_in_one_line(
    load: Load, store: Store, recorder: Recorder, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.npz"
    np.savez(reference, mu=np.zeros(1280), sigma=np.eye(1280))
    gfid = f"metrics=[{{use: gfid, reference: {reference}, few_samples: shrink}}]"
    plan = make_plan(load(gfid, "vary={}", "baseline="), store)
    np.savez(reference, mu=np.ones(1280), sigma=np.eye(1280))
    outcome = execute(plan, store, recorder, lambda: False)
    assert list(outcome.failures.values()) == [
        (
            "a file that its settings name changed since the run was planned; "
            "run the same command again"
        )
    ]
