"""Keys are the same in every process, whatever order Python gives sets in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import ROOT

PLAN = """
import sys
from pathlib import Path
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.storage.store import Store
from prologue_bench.registry import Registry
from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.files import Overrides
folder = f"{{use: image-folder, size: 28, root: {sys.argv[2]}}}"
for data in ("fashion-mnist-embedded", folder):
    values = (f"data={data}", "profile=smoke", "metrics=[rate, codebook, psnr]")
    overrides = Overrides(values=values)
    ablation = load_ablation(Path(sys.argv[1]), Registry.load(), overrides)
    workspace = Workspace(Store(Path(sys.argv[3])))
    print([planned.stage.key for planned in make_plan(ablation, workspace).stages])
"""


def test_a_plan_has_the_same_keys_in_every_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("a", "b", "c"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(12):
                Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8)).save(
                    folder / f"{number}.png"
                )
    ablation = ROOT / "ablations" / "prologue_count.yaml"
    printed = {
        subprocess.run(
            [
                sys.executable,
                "-c",
                PLAN,
                str(ablation),
                str(tmp_path / "images"),
                str(tmp_path / "store"),
            ],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "XDG_CACHE_HOME": str(tmp_path / f"cache-{seed % 2}"),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (0, 1, 2, 3)
    }
    assert len(printed) == 1
