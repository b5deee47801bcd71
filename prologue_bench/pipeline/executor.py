"""Runs the missing stages of a plan."""

from __future__ import annotations

from collections.abc import Callable

from prologue_bench.pipeline.executors.graph import Outcome
from prologue_bench.pipeline.executors.in_process import execute_in_process
from prologue_bench.pipeline.executors.jobs import Jobs
from prologue_bench.pipeline.executors.on_ray import RayRun, execute_on_ray
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.executors.workers import execute_in_workers
from prologue_bench.pipeline.planner import Plan
from prologue_bench.pipeline.workspace import Workspace

__all__ = ["Jobs", "Outcome", "RayRun", "Watcher", "execute"]


def execute(
    plan: Plan,
    workspace: Workspace,
    watcher: Watcher,
    stop_requested: Callable[[], bool],
    way: Jobs | RayRun | None = None,
) -> Outcome:
    """Run what is missing. A failed stage takes those behind it along, and the rest goes on.

    `way` says how many stages run side by side in worker processes, or which cluster takes them.
    Without it, one runs at a time in this process.

    Raises Interrupted when the user asks to stop, and StageError when the disk is full or the store
    cannot be written.
    """
    if isinstance(way, Jobs):
        return execute_in_workers(plan, workspace, watcher, stop_requested, way)
    if way is not None:
        return execute_on_ray(plan, workspace, watcher, stop_requested, way)
    return execute_in_process(plan, workspace, watcher, stop_requested)
