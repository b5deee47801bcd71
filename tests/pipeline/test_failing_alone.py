"""Two processes, of which one fails alone.

The other ends within seconds, with the reason, and a rerun goes on.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from attrs import frozen

import prologue_bench.training.runner  # noqa: F401 - what the children need
from prologue_bench.cli.endings import main
from prologue_bench.storage.store import Store
from prologue_bench.training.watch import open_watch
from tests.conftest import SMOKE

LOSS = """
import os, pathlib, signal
from prologue_bench.contracts import Component, ReconstructionLoss, hookimpl

class Failing(ReconstructionLoss):
    learns = False

    def __init__(self, settings, images):
        super().__init__()

    def forward(self, reconstruction, images, step):
        if step == 7 and os.environ["FAILS"] in (os.environ["RANK"], "both"):
            pathlib.Path(os.environ["MARK"]).touch()
            if os.environ["HOW"] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if os.environ["HOW"] == "exits":
                raise SystemExit(3)
            raise MemoryError("device out of memory")
        return {"nothing": 0 * reconstruction.mean()}

@hookimpl
def prologue_losses():
    return [Component(name="failing", target="failing_loss:Failing", summary="fails")]
"""
LIMIT = 10.0
"""Seconds after a failure in which all processes are to end."""


@frozen
class Ending:
    """How one process ended.

    Its exit code, or the signal as a negative one, what it said, and when after a failure.
    """

    code: int
    err: str
    after: float


def run_two(folder: Path, fails: str = "none", how: str = "raises") -> list[Ending]:
    """Run the ablation of the folder with two processes, of which those that are named fail."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mark = folder / f"failing-{fails}-{how}"
    common = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "FAILS": fails,
        "HOW": how,
    }
    left: dict[int, int] = {}
    for rank in range(2):
        child = os.fork()
        if child == 0:
            _be_process(
                folder,
                rank,
                {**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "MARK": str(mark)},
            )
        left[child] = rank
    ended: dict[int, tuple[int, float]] = {}
    deadline = time.monotonic() + 90
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        for child in list(left):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                after = time.time() - mark.stat().st_mtime if mark.exists() else 0.0
                ended[left.pop(child)] = os.waitstatus_to_exitcode(status), after
    for child in left:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not left, f"still running: {(folder / 'err0').read_text()}"
    return [
        Ending(ended[rank][0], (folder / f"err{rank}").read_text(), ended[rank][1])
        for rank in range(2)
    ]


def _be_process(folder: Path, rank: int, environment: dict[str, str]) -> NoReturn:
    """In a child: one of the processes, with its output in files."""
    code = 70
    try:
        for descriptor, name in ((1, f"out{rank}"), (2, f"err{rank}")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.update(environment)
        sys.argv = [
            "prologue-bench",
            "run",
            str(folder / "tiny.yaml"),
            "--plugin",
            str(folder / "failing_loss.py"),
            "--store",
            str(folder / "store"),
            "--out",
            str(folder / "report"),
        ]
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "failing_loss.py").write_text(LOSS)
    losses = "tokenizer_training: {losses: [{use: failing}], steps: 20, checkpoint_steps: 5}\n"
    smoke = SMOKE.replace("[0, 2]", "[2]").replace("baseline: {tokenizer.prologue_tokens: 0}", "")
    (tmp_path / "tiny.yaml").write_text(smoke + losses)
    return tmp_path


def test_one_that_fails_alone_ends_the_other_with_its_reason(folder: Path) -> None:
    endings = run_two(folder, "1", "raises")
    assert (
        "prologue-bench: process 1 failed alone: MemoryError: device out of memory"
        in endings[0].err
    )
    assert "Traceback" not in endings[0].err + endings[1].err
    assert [ending.code for ending in endings] == [1, 1]
    assert max(ending.after for ending in endings) < LIMIT


def test_one_that_is_killed_ends_the_other_and_a_rerun_goes_on(folder: Path) -> None:
    endings = run_two(folder, "0", "killed")
    assert "prologue-bench: process 0 ended without a word" in endings[1].err
    assert [ending.code for ending in endings] == [-signal.SIGKILL, 1]
    assert endings[1].after < LIMIT
    (key,) = [path.name for path in (folder / "store" / "work").iterdir()]
    with Store(folder / "store").lock(key):
        assert list((folder / "store" / "work" / key / "run").glob("iter_5.pth"))
    endings = run_two(folder)
    assert [each.code for each in endings] == [0, 0], endings[0].err
    logs = "".join(path.read_text() for path in (folder / "store" / "artifacts").glob("*/log.txt"))
    assert "resumed epoch: 0, iter: 5" in logs
    assert (folder / "report" / "report.html").exists()


def test_what_fails_in_all_processes_is_a_failed_stage_and_the_run_goes_on(folder: Path) -> None:
    endings = run_two(folder, "both")
    assert [each.code for each in endings] == [1, 0], endings[0].err
    assert (
        "1 stage failed, and 9 behind it did not run: "
        "loss 'failing' of failing_loss.py: MemoryError: device out of memory" in endings[0].err
    )


def watched(rank: int, fails: int, how: str, port: int) -> NoReturn:
    """In a child: one of two processes that watch each other, without anything else."""
    store = torch.distributed.TCPStore("127.0.0.1", port, 2, rank == 0)

    def share(value: object) -> object:
        if rank == 0:
            store.set("shared", json.dumps(value))
        return json.loads(store.get("shared"))

    watch = open_watch(rank, 2, share)
    if rank == fails:
        if how == "leaves":
            watch.leave()
            os._exit(0)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        watch.failed("MemoryError: all of it")
        if how == "ends":
            os._exit(5)
    if how == "over":
        time.sleep(0.1)
        watch.stage_over()
    time.sleep(0.8)
    watch.leave()
    os._exit(0)


@pytest.mark.parametrize("fails", [0, 1])
@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("waits", 1, "failed alone: MemoryError: all of it"),
        ("ends", 1, "process"),
        ("killed", 1, "ended without a word"),
        ("leaves", 0, ""),
        ("over", 0, ""),
    ],
)
def test_each_kind_of_end_reaches_the_other(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fails: int,
    how: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr("prologue_bench.training.watch.GRACE_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = {}
    for rank in range(2):
        if (child := os.fork()) == 0:
            watched(rank, fails, how, port)
        children[rank] = child
    codes = {
        rank: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for rank, child in children.items()
    }
    assert codes[1 - fails] == code
    assert said in capfd.readouterr().err
