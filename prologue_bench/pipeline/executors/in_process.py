"""Runs the missing stages of a plan in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from prologue_bench.errors import Interrupted
from prologue_bench.pipeline.executors.graph import Outcome, StageGraph
from prologue_bench.pipeline.executors.stage import run_stage
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.pipeline.workspace import Workspace


def execute_in_process(
    plan: Plan, workspace: Workspace, watcher: Watcher, stop_requested: Callable[[], bool]
) -> Outcome:
    """As `executor.execute`, in the order of the plan."""
    graph = StageGraph(plan, watcher)
    while (planned := graph.in_order()) is not None:
        graph.start(planned)
        ending = run_stage(planned, workspace, _Told(planned, watcher), stop_requested)
        graph.end(planned, ending)
        if stop_requested():
            raise Interrupted("stopped between two stages")
    return graph.outcome


@frozen
class _Told:
    """Names the stage to the watcher."""

    planned: PlannedStage
    watcher: Watcher

    def waiting(self) -> None:
        self.watcher.waiting(self.planned)

    def advanced(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        self.watcher.advanced(self.planned, done, total, losses)
