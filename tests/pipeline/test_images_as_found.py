"""Image files as people have them are read as a viewer shows them: pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from tests.conftest import Recorder
from tests.factories.image_files import folder, plain

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_before_its_training_is_named_in_one_line(
    workers: int, tmp_path: Path, load: Callable[..., Ablation], store: Store, recorder: Recorder
) -> None:
    root = folder(tmp_path / "set", plain)
    settings = (
        "tokenizer_training.batch_size=4",
        f"tokenizer_training.workers={workers}",
        "vary={}",
        "baseline=",
    )
    workspace = Workspace(store)
    plan = make_plan(
        load(f"data={{use: image-folder, root: {root}, size: 14}}", "metrics=[psnr]", *settings),
        workspace,
    )
    (root / "train/b/1.png").write_bytes(bytes(200))
    found = set(execute(plan, workspace, recorder, lambda: False).failures.values())
    assert found == {
        f"{root}: train/b/1.png cannot be read (not an image of a known format), "
        "but could be before; restore it, or run the same command again to leave it out"
    }
