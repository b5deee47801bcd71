"""Whole runs in processes: two side by side, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prologue_bench.config.ablation import Ablation
from prologue_bench.storage.store import Store

Load = Callable[..., Ablation]


def run_command(ablation: Path, store: Store) -> list[str]:
    program = [sys.executable, "-m", "prologue_bench.cli", "run"]
    return [*program, str(ablation), "--store", str(store.root)]


def test_two_runs_side_by_side_share_the_work(load: Load, store: Store, smoke_file: Path) -> None:
    command = run_command(smoke_file, store)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [*command, "--out", str(smoke_file.parent / f"r{i}")],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for i in range(2)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors.decode()
    assert len(list((store.root / "artifacts").iterdir())) == 20
    assert not list((store.root / "work").iterdir())


def test_a_killed_run_keeps_its_checkpoints_and_its_time(smoke_file: Path, store: Store) -> None:
    command = run_command(smoke_file, store)
    command += [
        "--jobs",
        "1",
        "--set",
        "tokenizer_training.steps=5000",
        "--out",
        str(smoke_file.parent / "out"),
    ]
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(store.root.glob("work/*/seconds")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (work,) = (store.root / "work").iterdir()
    assert float((work / "seconds").read_text().splitlines()[0]) >= 5
    assert list(work.glob("run/iter_*.pth"))
    curves = work / "output" / "curves.jsonl"
    trained = len(curves.read_text().splitlines())
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    while not curves.exists() or len(curves.read_text().splitlines()) <= trained:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    points = [json.loads(line) for line in curves.read_text().splitlines()[:-1]]
    assert [p["step"] for p in points] == sorted({p["step"] for p in points})
