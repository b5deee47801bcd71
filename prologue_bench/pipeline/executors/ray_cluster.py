"""An existing Ray cluster: reached within seconds, or said in one line why not, and what it has.

Imports no torch, so that what is wrong with a cluster is said at once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from rich.filesize import decimal

from prologue_bench.errors import StageError, UserError, listed, shortened
from prologue_bench.stopping import STOP_SIGNALS

if TYPE_CHECKING:
    from prologue_bench.pipeline.planner import PlannedStage

ANSWER_SECONDS = 20.0
"""In which a cluster answers, with the start of the process that asks."""
PORT_SECONDS = 3.0
REHEARSAL = """
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level=50, log_to_driver=False)
except Exception as error:
    sys.exit(" ".join(str(error).split())[:300])
"""
"""Connects as a run does. `ray.init` waits for minutes where nobody answers, and then ends its
process."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_LOG_TO_DRIVER": "0",
    "RAY_task_oom_retries": "3",
}
"""Nothing is sent to Ray's makers, its log stays in its files, and a stage that never fits into
memory is not begun for ever."""


@frozen
class Node:
    """A node that is alive, and all that Ray may give of it."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: float
    """Bytes."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Node:
        """From what `ray.nodes()` says of it."""
        has = record.get("Resources", {})
        return cls(
            id=record["NodeID"],
            name=record.get("NodeManagerHostname") or record.get("NodeManagerAddress", "?"),
            cpus=has.get("CPU", 0.0),
            gpus=has.get("GPU", 0.0),
            memory=has.get("memory", 0.0),
        )


@frozen
class Share:
    """What a stage has of a node."""

    cpus: int
    """As many threads, too."""
    gpus: int = 0

    def fits(self, node: Node, memory: int) -> bool:
        """Whether a node could hold a stage of so many bytes if it had nothing else."""
        return self.cpus <= node.cpus and self.gpus <= node.gpus and memory <= node.memory

    def at_a_time(self, nodes: Sequence[Node]) -> int:
        """How many stages the nodes hold together, their memory aside."""
        counts = [
            min(node.cpus // self.cpus, node.gpus // self.gpus if self.gpus else node.cpus)
            for node in nodes
        ]
        return max(1, int(sum(counts)))


def share_of(nodes: Sequence[Node], missing: Sequence[PlannedStage], threads: int | None) -> Share:
    """What each stage has: a GPU where there are any, and its part of the CPUs beside it.

    `threads` is how many CPUs were asked for. Without GPUs, the CPUs are divided among as many
    stages as can run at once.
    """
    from prologue_bench.pipeline.executors.schedule import widest

    with_gpus = [node for node in nodes if node.gpus >= 1]
    if with_gpus:
        part = min(node.cpus // node.gpus for node in with_gpus)
        return Share(threads or max(1, int(part)), 1)
    all_cpus = int(sum(node.cpus for node in nodes))
    at_once = widest(missing, all_cpus) or 1
    most = max((int(node.cpus) for node in nodes), default=1)
    return Share(threads or max(1, min(all_cpus // at_once, most)))


def check_fits(
    missing: Sequence[PlannedStage], nodes: Sequence[Node], share: Share, memory: Mapping[str, int]
) -> None:
    """Raises UserError for a stage that no node could ever hold."""
    from prologue_bench.pipeline.executors.stage import stage_name

    for planned in missing:
        needed = memory.get(planned.stage.key, 0)
        if any(share.fits(node, needed) for node in nodes):
            continue
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus, node.memory), default=None)
        has = (
            f"the largest, {largest.name}, has {amount(largest.cpus, largest.gpus)} and "
            f"{decimal(int(largest.memory))}"
            if largest
            else "it has no node"
        )
        raise UserError(
            f"--executor ray: {stage_name(planned)} needs "
            f"{amount(share.cpus, share.gpus)} and {decimal(needed)} of memory, and no node of the "
            f"cluster has that: {has}; start a larger one, set OMP_NUM_THREADS to fewer CPUs, or "
            "say ray start --memory where a node has more than Ray believes"
        )


def amount(cpus: float, gpus: float) -> str:
    """CPUs and GPUs in words.

    >>> amount(1, 0), amount(8.0, 2.0)
    ('1 CPU', '8 CPUs, 2 GPUs')
    """
    parts = [
        f"{count:g} {unit}{'s' * (count != 1)}"
        for count, unit in ((cpus, "CPU"), (gpus, "GPU"))
        if count or unit == "CPU"
    ]
    return ", ".join(parts)


@frozen
class Cluster:
    """A cluster that this process is connected to."""

    address: str

    def nodes(self) -> list[Node]:
        """Those that are alive."""
        import ray

        return [Node.of(record) for record in _records(ray) if record["Alive"]]


def _records(ray: Any) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = ray.nodes()
    return records


@contextlib.contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Be connected to the cluster at an address, "auto" for the one on this machine.

    Raises UserError where Ray is not installed and where no cluster answers within seconds.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--executor ray: Ray is not installed; pip install 'prologue-bench[ray]'")
    _check_answers(address)
    os.environ.update(QUIET)
    import ray

    handlers = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    try:
        ray.init(address=address, logging_level=logging.CRITICAL, log_to_driver=False)
    except Exception as error:
        raise _unreachable(address, str(error)) from None
    finally:
        for each, handler in handlers.items():  # Ray puts its own in their place
            signal.signal(each, handler)
    try:
        yield Cluster(address)
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises UserError where nobody answers at an address, in bounded time."""
    where = os.environ.get("RAY_ADDRESS") or "auto" if address == "auto" else address
    if where.startswith("ray://"):
        raise UserError(
            f"--ray-address {where}: found the address of a Ray client server, expected the head "
            "node's own, such as HOST:6379"
        )
    if where != "auto":
        host, _, port = where.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise UserError(f"--ray-address {where}: expected auto, or HOST:PORT of the head node")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PORT_SECONDS).close()
        except OSError as error:
            raise _unreachable(where, error.strerror or str(error)) from None
    try:
        done = subprocess.run(
            [sys.executable, "-c", REHEARSAL, address],
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(where, f"no answer in {ANSWER_SECONDS:.0f} seconds") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise _unreachable(where, said[-1] if said else f"exit code {done.returncode}")


def _unreachable(address: str, reason: str) -> UserError:
    """One line, with the most frequent reasons in this program's words."""
    where = f"--ray-address {address}"
    if "Could not find any running Ray instance" in reason:
        return UserError(
            f"{where}: found no Ray cluster on this machine; start one (ray start --head), join "
            "one (ray start --address HOST:6379), or name its head node by --ray-address HOST:6379"
        )
    if "Version mismatch" in reason or "version mismatch" in reason:
        return UserError(
            f"{where}: this machine and the cluster have different versions of Ray or Python; "
            f"install the same on all nodes ({shortened(reason, 200)})"
        )
    if "node" in reason.lower() and "ip address" in reason.lower():
        return UserError(
            f"{where}: this machine is no node of that cluster; join it first "
            f"(ray start --address {address}), or run the command on one of its nodes"
        )
    return UserError(
        f"{where}: no Ray cluster could be reached ({shortened(reason, 160)}); "
        "see that it runs (ray status) and that no firewall is between"
    )


def check_nodes(nodes: Sequence[Node], facts: Mapping[str, Any], here: Mapping[str, str]) -> None:
    """Raises UserError where a node cannot take part.

    `facts` has, by a node's id, what `node_facts` found there, or the text of an error. `here` are
    the versions of this process.
    """
    for node in nodes:
        found = facts[node.id]
        problem = found if isinstance(found, str) else problem_of(found, here)
        if problem:
            raise UserError(f"--executor ray: node {node.name}: {problem}")


def problem_of(found: Mapping[str, Any], here: Mapping[str, str]) -> str:
    """Why a node where `node_facts` found that cannot take part; empty where it can."""
    versions: Mapping[str, str | None] = found["versions"]
    for name, version in here.items():
        if versions.get(name) != version:
            return (
                f"found {name} {versions.get(name) or 'not installed'}, expected {version} as "
                "here; install the same on all nodes"
            )
    root = found["store"]
    if found["sees"] != "yes":
        return (
            f"{root} is not the store that this machine has ({found['sees']}); take a folder on a "
            "file system that all nodes share (--store)"
        )
    if not found["locks"]:
        return (
            f"file locks in {root} do not reach it; mount the file system with locks that hold "
            "for all nodes (NFSv4; Lustre with -o flock; CephFS), or take another (--store)"
        )
    return ""


def lost_and_new(before: Sequence[Node], after: Sequence[Node]) -> Iterator[str]:
    """A line per node that is gone, and one per node that has come."""
    old, new = {node.id for node in before}, {node.id for node in after}
    for node in before:
        if node.id not in new:
            yield (
                f"node {node.name} is lost; what ran there goes on elsewhere, from where it last "
                "saved its state"
            )
    for node in after:
        if node.id not in old:
            yield f"node {node.name} has joined ({amount(node.cpus, node.gpus)})"


def cluster_line(nodes: Sequence[Node], share: Share) -> str:
    """What a run has of the cluster."""
    names = sorted({node.name for node in nodes})
    total = amount(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes))
    count = share.at_a_time(nodes)
    return (
        f"Ray: {len(nodes)} node{'s' * (len(nodes) != 1)} ({listed(names)}) with {total}; "
        f"{count} stage{'s' * (count != 1)} at a time at most, each with "
        f"{amount(share.cpus, share.gpus)}"
    )


def gone(address: str, error: BaseException) -> StageError:
    """The cluster has ended in the middle of a run."""
    return StageError(
        f"the Ray cluster at {address} is gone ({type(error).__name__}); nothing is lost, the same "
        "command goes on once it is there again"
    )
