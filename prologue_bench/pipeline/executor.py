"""Runs the missing stages of a plan."""

from __future__ import annotations

from collections.abc import Callable

from prologue_bench.pipeline.executors.graph import Outcome
from prologue_bench.pipeline.executors.in_process import execute_in_process
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.planner import Plan
from prologue_bench.pipeline.workspace import Workspace

__all__ = ["Outcome", "Watcher", "execute"]


def execute(
    plan: Plan, workspace: Workspace, watcher: Watcher, stop_requested: Callable[[], bool]
) -> Outcome:
    """Run what is missing. A failed stage takes those behind it along, and the rest goes on.

    Raises Interrupted when the user asks to stop, and StageError when the disk is full or the store
    cannot be written.
    """
    return execute_in_process(plan, workspace, watcher, stop_requested)
