"""Two gloo processes against one, through the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.factories.processes import arguments, artifacts, curves, run


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Stores of one ablation, run by one process and by two, the latter in parts of a batch too."""
    from tests.conftest import SMOKE

    folder = tmp_path_factory.mktemp("distributed")
    ablation = folder / "tiny.yaml"
    ablation.write_text(
        SMOKE.replace("[0, 2]", "[2]").replace("baseline: {tokenizer.prologue_tokens: 0}", "")
    )
    for processes in (1, 2):
        accumulate = ["tokenizer_training.accumulate=2"] if processes == 2 else []
        printed = run(
            ablation, folder / str(processes), folder / f"out{processes}", processes, *accumulate
        )
        assert printed.count("Report: ") == 1
    return {processes: folder / str(processes) for processes in (1, 2)}


@pytest.mark.parametrize("kind", ["train-tokenizer", "train-generator"])
def test_two_processes_learn_what_one_learns(stores: dict[int, Path], kind: str) -> None:
    [one], [two] = artifacts(stores[1], kind), artifacts(stores[2], kind)
    assert one.name == two.name  # how a stage is run is no part of its key
    # Tokens may differ in single ids, from which generators learn.
    steps = 5 if kind == "train-tokenizer" else 1
    for first, second in list(zip(curves(one), curves(two), strict=True))[:steps]:
        for name in first.keys() - {"seconds"}:
            assert second[name] == pytest.approx(first[name], rel=2e-4), (first["step"], name)
    assert len(curves(two)) == 20


def test_shared_work_is_complete(stores: dict[int, Path]) -> None:
    for kind, name, shape in (("encode", "train.npy", (96, 6)), ("sample", "tokens.npy", (24, 6))):
        [two] = artifacts(stores[2], kind)
        assert np.load(two / name).shape == shape
    [one], [two] = artifacts(stores[1], "train-tokenizer"), artifacts(stores[2], "train-tokenizer")
    first, second = (load_file(folder / "tokenizer.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()


def test_an_interrupt_of_all_processes_leaves_a_checkpoint(tmp_path: Path) -> None:
    from tests.conftest import SMOKE

    ablation = tmp_path / "tiny.yaml"
    ablation.write_text(SMOKE)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            *arguments(
                ablation,
                tmp_path / "store",
                tmp_path / "out",
                "tokenizer_training.steps=100000",
            ),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if any(path.stat().st_size for path in tmp_path.glob("store/work/*/output/curves.jsonl")):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, and torchrun then once more
    _, errors = process.communicate(timeout=90)
    stopped = re.search(r"stopped after step (\d+); nothing is lost", errors)
    assert stopped, errors
    assert list(tmp_path.glob(f"store/work/*/run/iter_{stopped[1]}.pth"))


def test_a_batch_that_does_not_split_is_one_line(tmp_path: Path) -> None:
    from tests.conftest import SMOKE

    ablation = tmp_path / "tiny.yaml"
    ablation.write_text(SMOKE)
    done = subprocess.run(
        [
            sys.executable,
            *arguments(
                ablation, tmp_path / "store", tmp_path / "out", "tokenizer_training.accumulate=5"
            ),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert (
        "batch_size: found 32, expected a multiple of 1 processes x 5 parts of a batch"
        in done.stderr
    )
