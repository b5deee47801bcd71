"""A signal in the middle of a training."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slow.harness import Ending

Call = Callable[..., Ending]
PROGRAM = shutil.which("prologue-bench", path=str(Path(sys.executable).parent)) or "prologue-bench"


def last_step(curves: Path) -> int:
    """That of the last point; 0 while the file is written anew."""
    try:
        return int(json.loads(curves.read_text().splitlines()[-1])["step"])
    except (OSError, ValueError, IndexError):
        return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_the_same_command_goes_on(
    smoke_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [PROGRAM, "run", str(smoke_file), "--jobs", "1"]
    command += ["--set", "tokenizer_training.steps=3000"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PROLOGUE_BENCH_STORE": str(tmp_path / "store"),
    }
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    curves = []
    deadline = time.monotonic() + 120
    while not curves and time.monotonic() < deadline:
        time.sleep(0.1)
        curves = [
            path
            for path in tmp_path.glob("store/work/*/output/curves.jsonl")
            if path.stat().st_size
        ]
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing is lost, the same command goes on from here" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    stopped = int(re.search(r"stopped after step (\d+)", errors)[1])  # type: ignore[index]
    assert stopped > 10
    # The command goes on from there: its first progress report is of a later step.
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    while last_step(curves[0]) <= stopped + 30:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=60)
    steps = [json.loads(line)["step"] for line in curves[0].read_text().splitlines()]
    assert steps == sorted(set(steps)), "no step was trained twice"
