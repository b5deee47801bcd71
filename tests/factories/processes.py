"""Runs of one or several processes, and what they leave."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def arguments(ablation: Path, store: Path, out: Path, *values: str) -> list[str]:
    """What Python, or torchrun, is given to run an ablation."""
    settings = [part for value in values for part in ("--set", value)]
    where = ["--store", str(store), "--out", str(out)]
    return ["-m", "prologue_bench.cli", "run", str(ablation), *where, *settings]


def run(ablation: Path, store: Path, out: Path, processes: int, *values: str) -> str:
    """Run an ablation with so many processes; returns what it printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(processes),
        "--master-port",
        str(port),
    ]
    command = [sys.executable, *(launch if processes > 1 else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *arguments(ablation, store, out, *values)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def artifacts(store: Path, kind: str) -> list[Path]:
    found = [path.parent for path in (store / "artifacts").glob("*/manifest.json")]
    return sorted(
        path for path in found if json.loads((path / "manifest.json").read_text())["kind"] == kind
    )


def curves(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
