"""Runs the missing stages of a plan as tasks on a Ray cluster.

A task per stage, which takes those of its inputs: so Ray begins none before its inputs are done,
has each where there is room for it, and has those of a lost node elsewhere again. There they wait
for the lock that the lost node held, and go on from the last checkpoint, since all nodes share the
store. A small actor on the node of the run takes what the stages say, and tells them when to stop.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import pickle
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prologue_bench.errors import Interrupted, PrologueBenchError, StageError, shortened
from prologue_bench.guard import brief
from prologue_bench.pipeline.executors import ray_node
from prologue_bench.pipeline.executors.graph import Outcome, StageGraph
from prologue_bench.pipeline.executors.messages import Ending, Setup
from prologue_bench.pipeline.executors.ray_cluster import (
    Cluster,
    check_fits,
    check_nodes,
    cluster_line,
    gone,
    lost_and_new,
    problem_of,
    share_of,
)
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import imported_files
from prologue_bench.storage.locks import release, try_lock
from prologue_bench.storage.store import Store

POLL_SECONDS = 0.5
RETRIES = 5
"""How often a stage is begun anew whose node or process was lost."""
PROBE_SECONDS = 90.0
"""For a first process on each node to start and look around."""
LOOK_SECONDS = 5.0
"""Between two looks at which nodes are there."""
ALONE_SECONDS = 180.0
"""How long a run waits for a node that could take a stage, once none is left."""


def execute_on_ray(
    plan: Plan,
    workspace: Workspace,
    watcher: Watcher,
    stop_requested: Callable[[], bool],
    run: RayRun,
) -> Outcome:
    """As `executor.execute`, on a cluster that this process is connected to."""
    with run.probe(workspace.store) as probe:
        tasks = _Tasks(plan, workspace.store, run, probe)
        outcome = _walk(StageGraph(plan, watcher), tasks, watcher, stop_requested)
    ray_node.await_artifacts(workspace.store, tasks.finished)
    return outcome


def _walk(
    graph: StageGraph, tasks: _Tasks, watcher: Watcher, stop_requested: Callable[[], bool]
) -> Outcome:
    """Follow the tasks to the end of the plan, or of the run."""
    said: set[str] = set()
    ended: PrologueBenchError | None = None
    """Why the run ends before its plan does."""
    try:
        for planned, ending in tasks.unsent:
            if not graph.is_open(planned):
                continue
            graph.start(planned)
            graph.end(planned, ending)
        while tasks.open:
            if stop_requested() and ended is None:
                ended = Interrupted("stopped between two stages")
            if ended is not None:
                tasks.stop()
            finished = tasks.wait()
            for planned, what in tasks.hear():
                _tell(watcher, graph, planned, what, said)
            for line in tasks.look():
                watcher.printed(None, line)
            for planned, ending in finished:
                if not graph.is_open(planned):  # dropped with a stage before it
                    continue
                if not graph.is_running(planned):
                    graph.start(planned)
                ended = graph.end_of_many(planned, ending, ended)
            tasks.keep(graph)
        if ended is not None or stop_requested():
            raise ended or Interrupted("stopped between two stages")
    finally:
        tasks.close()
    return graph.outcome


def _tell(
    watcher: Watcher, graph: StageGraph, planned: PlannedStage, what: Any, said: set[str]
) -> None:
    """Tell the watcher what a stage has said."""
    kind, *values = what
    if kind == "node":
        if graph.is_running(planned):
            watcher.printed(planned, f"goes on, on node {values[0]}")
        elif graph.is_open(planned):
            graph.start(planned)
        return
    if not graph.is_running(planned):
        return
    if kind == "waits":
        watcher.waiting(planned)
    elif kind == "steps":
        watcher.advanced(planned, *values)
    elif values[0] not in said or not values[0].startswith("prologue-bench: "):
        said.add(values[0])
        watcher.printed(planned, shortened(values[0], 2000))


class RayRun:
    """A cluster as one run uses it."""

    def __init__(
        self, cluster: Cluster, plan: Plan, memory: Mapping[str, int], threads: int | None
    ) -> None:
        """Raises UserError for a stage that no node can hold.

        `memory` is what stages are expected to hold, by key, and `threads` how many each of them
        was asked to have.
        """
        self.cluster, self.memory = cluster, memory
        self.nodes = cluster.nodes()
        self.share = share_of(self.nodes, plan.missing, threads)
        check_fits(plan.missing, self.nodes, self.share, memory)
        self.versions = {name: importlib.metadata.version(name) for name in ray_node.PACKAGES}

    @property
    def count(self) -> int:
        """How many stages run at a time."""
        return self.share.at_a_time(self.nodes)

    @property
    def line(self) -> str:
        """What the run has of the cluster."""
        return cluster_line(self.nodes, self.share)

    def check(self, store: Store) -> None:
        """Raises UserError for a node that has other software, or does not share the store."""
        import ray

        with self.probe(store) as probe:
            refs = {
                node.id: self._pinned(ray_node.node_facts(), node.id).remote(
                    sys.path, ray_node.PACKAGES, str(store.root), probe
                )
                for node in self.nodes
            }
            ray.wait([*refs.values()], num_returns=len(refs), timeout=PROBE_SECONDS)
            facts = {key: _fact(ref) for key, ref in refs.items()}
        check_nodes(self.nodes, facts, self.versions)

    @contextlib.contextmanager
    def probe(self, store: Store) -> Iterator[str]:
        """A lock in the store, held inside, by which nodes can tell that they share both."""
        path = store.root / "locks" / f"run-{uuid.uuid4().hex}.lock"
        if (lock := try_lock(path)) is None:
            raise StageError(f"{path}: another process has locked it")
        try:
            yield str(path)
        finally:
            release(path, lock)

    def desk(self) -> Any:
        """A new desk, on the node of this process."""
        import ray

        here = ray.get_runtime_context().get_node_id()
        actor = ray.remote(ray_node.desk_class())
        return actor.options(num_cpus=0, scheduling_strategy=_only_on(here)).remote()

    def task(self, planned: PlannedStage) -> Any:
        """A task that can hold a stage."""
        import ray

        return ray.remote(ray_node.on_node()).options(
            num_cpus=self.share.cpus,
            num_gpus=self.share.gpus,
            memory=self.memory.get(planned.stage.key, 0) or None,
            max_retries=RETRIES,
            name=f"{planned.stage.title} {planned.experiment}",
        )

    def _pinned(self, function: Callable[..., Any], node: str) -> Any:
        import ray

        return ray.remote(function).options(
            num_cpus=0, max_retries=0, scheduling_strategy=_only_on(node)
        )


def _only_on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _fact(ref: Any) -> Any:
    """What a node has found, or why it has not."""
    import ray

    try:
        return ray.get(ref, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return f"has not answered in {PROBE_SECONDS:.0f} seconds"
    except Exception as error:
        return brief(error)


class _Tasks:
    """The tasks of a plan's stages, by key."""

    def __init__(self, plan: Plan, store: Store, run: RayRun, probe: str) -> None:
        self.run = run
        self.unsent: list[tuple[PlannedStage, Ending]] = []
        """Stages that no other process can read, with why."""
        self.finished: list[str] = []
        """Keys whose artifacts are in the store."""
        self._planned = {each.stage.key: each for each in plan.missing}
        self._refs: dict[str, Any] = {}
        self._stopping = False
        self._nodes = run.nodes
        self._looked = self._held = time.monotonic()
        self._said_alone = False
        self.desk = run.desk()
        setup = Setup(store.root, tuple(sys.path), imported_files(), run.share.cpus)
        self._send(pickle.dumps(setup), (run.versions, str(store.root), probe))

    @property
    def open(self) -> bool:
        """Whether some have not ended."""
        return bool(self._refs)

    def _send(self, setup: bytes, expected: tuple[Any, ...]) -> None:
        dropped: set[str] = set()
        for key, planned in self._planned.items():
            before = [each.key for each in planned.stage.inputs]
            if dropped.intersection(before):
                dropped.add(key)
                continue
            try:
                message = pickle.dumps(planned)
            except Exception as error:  # settings of a plugin's, of which anything can be wrong
                dropped.add(key)
                reason = f"its settings cannot be sent to a node ({brief(error)})"
                self.unsent.append((planned, Ending(failure=f"{reason}; run it with --jobs 1")))
                continue
            arguments = (sys.path, self.run.share.cpus, *expected)
            work = (ray_node.__name__, ray_node.work.__name__, setup, message, key, self.desk)
            inputs = [self._refs[each] for each in before if each in self._refs]
            self._refs[key] = self.run.task(planned).remote(*arguments, *work, *inputs)

    def wait(self) -> list[tuple[PlannedStage, Ending]]:
        """Those that have ended since, after a moment in which one may."""
        import ray

        refs = {ref: key for key, ref in self._refs.items()}
        ray.wait([*refs], num_returns=1, timeout=POLL_SECONDS)
        ready, _ = ray.wait([*refs], num_returns=len(refs), timeout=0)
        endings = []
        for ref in ready:
            key = refs[ref]
            del self._refs[key]
            endings.append((self._planned[key], self._ending(ref)))
            if not endings[-1][1].is_unfinished:
                self.finished.append(key)
        return endings

    def hear(self) -> Iterator[tuple[PlannedStage, Any]]:
        """What stages have said since."""
        for key, what in self._ask(self.desk.take):
            yield self._planned[key], what

    def stop(self) -> None:
        """Have what runs save its state and leave, and forget what has not begun."""
        if self._stopping:
            return
        self._stopping = True
        begun = set(self._ask(self.desk.stop))
        self._forget(key for key in list(self._refs) if key not in begun)

    def keep(self, graph: StageGraph) -> None:
        """Forget what was dropped with a stage before it."""
        self._forget(key for key in list(self._refs) if not graph.is_open(self._planned[key]))

    def look(self) -> Iterator[str]:
        """Lines about nodes that are gone or new.

        Raises StageError once no node that could take any of the stages has been there for long.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        nodes = self.run.cluster.nodes()
        yield from lost_and_new(self._nodes, nodes)
        self._nodes = nodes
        needed = [self.run.memory.get(key, 0) for key in self._refs]
        if not needed or any(self.run.share.fits(node, min(needed)) for node in nodes):
            self._held, self._said_alone = now, False
            return
        if now - self._held > ALONE_SECONDS:
            raise StageError(
                "no node of the cluster is left that could take a stage; nothing is lost, the same "
                "command goes on once there is one"
            )
        if not self._said_alone:
            self._said_alone = True
            yield f"no node is left that could take a stage; waits {ALONE_SECONDS:.0f} s for one"

    def close(self) -> None:
        """Let nothing of the run go on."""
        import ray

        self._forget(list(self._refs))
        with contextlib.suppress(Exception):
            ray.kill(self.desk)

    def _ask(self, method: Any) -> Any:
        import ray

        try:
            return ray.get(method.remote(), timeout=ray_node.DESK_SECONDS)
        except Exception as error:
            raise gone(self.run.cluster.address, error) from None

    def _forget(self, keys: Any) -> None:
        import ray

        for key in keys:
            with contextlib.suppress(Exception):
                ray.cancel(self._refs.pop(key), force=False)

    def _ending(self, ref: Any) -> Ending:
        """How a task ended; Ray's own reasons in one line."""
        import ray

        try:
            seconds, failure, stopped, fatal = ray.get(ref)
            if isinstance(fatal, tuple):
                name, facts = fatal
                return Ending(fatal=f"node {name}: {problem_of(facts, self.run.versions)}")
            return Ending(seconds, failure, stopped, fatal)
        except ray.exceptions.OutOfMemoryError:
            return Ending(failure=f"its node ran out of memory, {_GOES_ON}")
        except ray.exceptions.OutOfDiskError:
            return Ending(failure=f"no space is left on a disk of its node, {_GOES_ON}")
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
            return Ending(failure=f"its process was lost {RETRIES + 1} times, {_GOES_ON}")
        except ray.exceptions.RayTaskError as error:
            return Ending(fatal=f"a node cannot take a stage: {brief(error.cause)}")
        except Exception as error:
            return Ending(failure=f"Ray could not run it: {brief(error)}")


_GOES_ON = "and the same command goes on from where the stage last saved its state"
