"""What cannot work is said in plans; what does not apply to a variant is left out with a note."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMOKE
from tests.factories.image_files import image_folder

ONE = ("vary={}", "baseline=", "tokenizer.prologue_tokens=2")


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prologue_bench.cli", *arguments, "--store", str(folder / "store")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("arguments", [["plan"], ["run", "--dry-run"], ["run"]])
def test_the_command_line_refuses_with_one_line_and_code_2(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(SMOKE)
    found = command(tmp_path, *arguments, "tiny.yaml", "--set", "metrics=[rate, kid]")
    assert found.returncode == 2
    assert found.stderr.splitlines() == [
        "prologue-bench: tiny.yaml: variant 'prologue_tokens=0': metrics[1]: kid: found 24 images, "
        "expected at least subset_size 1000"
    ]
    assert not (tmp_path / "store").exists()


def test_one_class_leaves_the_probe_out_and_the_run_succeeds(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SMOKE)
    root = image_folder(tmp_path / "images", {"all": (20, 12)})
    values = [
        f"data={{use: image-folder, size: 28, root: {root}}}",
        "metrics=[probe, rate, psnr]",
        *ONE,
    ]
    options = [part for value in values for part in ("--set", value)]
    note = (
        "probe: does not apply: the training images are of one class, "
        "so there is nothing to tell apart"
    )
    planned = command(tmp_path, "plan", "tiny.yaml", *options)
    assert planned.returncode == 0
    assert note in " ".join(planned.stdout.split())
    ran = command(tmp_path, "run", "tiny.yaml", "--out", "report", *options)
    assert ran.returncode == 0, ran.stderr
    assert note in ran.stderr
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["runs"][0]["failures"] == {}
    assert list(results["runs"][0]["left_out"]) == ["probe"]
    assert note in (tmp_path / "report" / "results.md").read_text()
    assert note in (tmp_path / "report" / "report.html").read_text()
