"""Ablations on a Ray cluster of two nodes that are processes of this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from prologue_bench.storage.files import checksum
from tests.conftest import ROOT, SMOKE
from tests.factories.processes import arguments, artifacts

ray = pytest.importorskip("ray.cluster_utils", reason="needs the extra ray")
LONG = ("tokenizer_training.steps=200", "tokenizer_training.checkpoint_steps=10")
"""A training in whose middle something can happen."""
TIMED = ("log.txt", "curves.jsonl", "manifest.json")
"""Files of an artifact that hold times or machines."""


@frozen
class Nodes:
    """A cluster, with two nodes that take stages."""

    address: str
    lose: Callable[[], None]
    """Kill one of the two nodes, and start a third."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    store = {"object_store_memory": 80_000_000}
    head = {"num_cpus": 0, "include_dashboard": False, **store}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "plugins")]))
        cluster = ray.Cluster(initialize_head=True, head_node_args=head)
        try:
            two = [cluster.add_node(num_cpus=1, **store) for _ in range(2)]

            def lose() -> None:
                cluster.remove_node(two.pop(0), allow_graceful=False)
                two.append(cluster.add_node(num_cpus=1, **store))

            yield Nodes(cluster.address, lose)
        finally:
            cluster.shutdown()


def start(folder: Path, *options: str, values: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Run the ablation of a folder, with its store and its report there."""
    command = arguments(folder / "tiny.yaml", folder / "store", folder / "report", *values)
    return subprocess.Popen(
        [sys.executable, *command, *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=400)
    return printed


def await_checkpoints(store: Path) -> None:
    """Wait until both trainings have whole checkpoints, each on a node of its own."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        counts = [len(list(run.glob("iter_*.pth"))) for run in store.glob("work/*/run")]
        if len(counts) == 2 and min(counts) > 1:
            return
        time.sleep(0.1)
    raise AssertionError("no checkpoints in 200 s")


def contents(store: Path) -> dict[str, str]:
    """Checksums of what every stage has made, without times."""
    return {
        f"{folder.name}/{path.relative_to(folder)}": checksum(path)
        for folder in (store / "artifacts").iterdir()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in TIMED
    }


def numbers(report: Path) -> Any:
    """The measurements of a report."""
    found = json.loads((report / "results.json").read_text())
    return [(run["variant"], run["seed"], run["measurements"]) for run in found["runs"]]


@pytest.mark.timeout(900)
def test_a_run_that_loses_a_node_ends_as_a_local_one(nodes: Nodes, tmp_path: Path) -> None:
    local, cluster = tmp_path / "local", tmp_path / "ray"
    for folder in (local, cluster):
        folder.mkdir()
        (folder / "tiny.yaml").write_text(SMOKE)
    process = start(cluster, "--executor", "ray", "--ray-address", nodes.address, values=LONG)
    await_checkpoints(cluster / "store")
    nodes.lose()
    printed = end(process)
    assert process.returncode == 0, printed
    assert re.search(r"node \S+ is lost; what ran there goes on elsewhere", printed), printed
    assert "goes on, on node" in printed
    first = start(local, "--jobs", "1", values=LONG)
    assert "Report: " in end(first)
    assert contents(cluster / "store") == contents(local / "store")
    assert numbers(cluster / "report") == numbers(local / "report")
    logs = [
        (folder / "log.txt").read_text()
        for folder in artifacts(cluster / "store", "train-tokenizer")
    ]
    [begun_again] = [log for log in logs if log.count(" starts, revision ") == 2]
    assert re.search(r"resumed epoch: 0, iter: [1-9]", begun_again)


@pytest.mark.timeout(600)
def test_an_interrupt_leaves_checkpoints(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SMOKE)
    endless = ("tokenizer_training.steps=100000", "tokenizer_training.checkpoint_steps=100000")
    where = ("--executor", "ray", "--ray-address", nodes.address)
    process = start(tmp_path, *where, values=endless)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not any(
        path.stat().st_size for path in tmp_path.glob("store/work/*/output/curves.jsonl")
    ):
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    printed = end(process)
    assert process.returncode == 130, printed
    stopped = re.search(r"stopped after step (\d+); nothing is lost", printed)
    assert stopped, printed
    assert list(tmp_path.glob(f"store/work/*/run/iter_{stopped[1]}.pth"))


METRIC = """
from prologue_bench.contracts import Component, Metric, hookimpl

class Failing(Metric):
    needs = ("tokens",)

    def __init__(self, settings):
        pass

    def measure(self, inputs):
        print("about to fail")
        raise ValueError("nothing to measure")

@hookimpl
def prologue_metrics():
    return [Component(name="failing", target="failing:Failing", summary="fails")]
"""


@pytest.mark.timeout(600)
def test_a_plugin_s_file_is_found_on_the_nodes_and_its_failure_is_its_own(
    nodes: Nodes, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(METRIC)
    text = SMOKE.replace("[rate]", "[rate, failing]").replace("[0, 2]", "[0]")
    (tmp_path / "tiny.yaml").write_text(text + "plugins: [failing.py]\n")
    process = start(tmp_path, "--executor", "ray", "--ray-address", nodes.address)
    printed = end(process)
    assert process.returncode == 1, printed
    assert "1 stage failed: " in printed
    assert "ValueError: nothing to measure" in printed
    assert "about to fail" in printed
    assert "Traceback" not in printed
    [(_, _, measured)] = numbers(tmp_path / "report")
    assert measured  # of the other metric
