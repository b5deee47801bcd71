"""Runs with several jobs that are stopped or killed, and two of them side by side."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.storage.store import Store
from tests.conftest import ROOT
from tests.factories.misbehaving import behaving, unmeasured

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two jobs need two cores")


def in_session(leader: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def begin(
    ablation: Path, store: Path, *options: str, jobs: int = 2, errors: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start a run in a session of its own, as a terminal has it."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "prologue_bench.cli", "run", str(ablation)),
            *("--store", str(store), "--out", str(ablation.parent / "out")),
            *("--jobs", str(jobs), *options),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=errors,
        text=True,
        start_new_session=True,
    )


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def gone(leader: int, seconds: float) -> bool:
    """Whether all processes of a session end within some seconds."""
    deadline = time.monotonic() + seconds
    while in_session(leader) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not in_session(leader)


LONG = ("--set", "tokenizer_training.steps=400")


def both_train(store: Path) -> bool:
    curves = list(store.glob("work/*/output/curves.jsonl"))
    return len(curves) == 2 and all(path.stat().st_size for path in curves)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_every_worker_save_and_the_same_command_goes_on(
    smoke_file: Path, store: Store, number: signal.Signals
) -> None:
    """SIGINT as a terminal sends it, to all processes; SIGTERM to the run alone."""
    run = begin(smoke_file, store.root, *LONG)
    until(lambda: both_train(store.root), run)
    if number == signal.SIGINT:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert "stopping: what runs saves its state" in errors
    last = errors.splitlines()[-1]
    assert re.fullmatch(
        r"prologue-bench: stopped after step \d+; nothing is lost, "
        r"the same command goes on from here",
        last,
    ), errors
    assert "Traceback" not in errors
    assert gone(run.pid, 5)
    assert {path.parts[-3] for path in store.root.glob("work/*/run/iter_*.pth")} == {
        path.name for path in store.root.glob("work/*")
    }
    if number == signal.SIGTERM:
        return
    again = begin(smoke_file, store.root, *LONG)
    _, errors = again.communicate(timeout=500)
    assert again.returncode == 0, errors
    assert len(list(store.manifests())) == 20
    logs = [path.read_text() for path in store.root.glob("artifacts/*/log.txt")]
    assert sum("ended by Interrupted: stopped after step" in log for log in logs) == 2


def test_workers_end_when_their_run_is_killed(smoke_file: Path, store: Store) -> None:
    run = begin(smoke_file, store.root, *LONG, errors=subprocess.DEVNULL)
    until(lambda: both_train(store.root), run)
    run.kill()
    run.wait()
    assert gone(run.pid, 30)
    logs = [path.read_text() for path in store.root.glob("work/*/output/log.txt")]
    assert all("ended by Interrupted: stopped after step" in log for log in logs)


def test_a_second_signal_ends_all_at_once(tmp_path: Path, trained: Store) -> None:
    behaving(tmp_path, "sleeps")
    store = unmeasured(trained)
    run = begin(tmp_path / "tiny.yaml", store.root, errors=subprocess.DEVNULL)
    until((tmp_path / "marker").exists, run)
    run.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    assert run.wait(10) == -signal.SIGTERM
    assert gone(run.pid, 5)


def test_two_runs_with_two_jobs_each_share_the_work(smoke_file: Path, store: Store) -> None:
    runs = [begin(smoke_file, store.root, "--force") for _ in range(2)]
    for run in runs:
        _, errors = run.communicate(timeout=400)
        assert run.returncode == 0, errors
    assert len(list(store.manifests())) == 20
    assert not list((store.root / "work").iterdir())
