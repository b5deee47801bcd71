"""Which stages of a plan can run, in what order, and what a failed one takes along."""

from __future__ import annotations

from attrs import define, field

from prologue_bench.errors import Interrupted, PrologueBenchError, StageError
from prologue_bench.pipeline.executors.messages import Ending
from prologue_bench.pipeline.executors.schedule import critical_paths
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.planner import Plan, PlannedStage


@define
class Outcome:
    """Reasons, by stage key, of the stages that failed or whose inputs did."""

    failures: dict[str, str] = field(factory=dict)


class StageGraph:
    """The missing stages of a plan, from waiting over running to ended.

    Knows no processes. An executor takes what is `ready`, says `start` of it, runs it somewhere,
    and says `end`; once nothing is ready and nothing runs, the plan is done.
    """

    def __init__(self, plan: Plan, watcher: Watcher) -> None:
        self.outcome = Outcome()
        self._watcher = watcher
        self._waiting = {planned.stage.key: planned for planned in plan.missing}
        self._running: dict[str, PlannedStage] = {}
        self._total = len(self._waiting)
        self._begun = 0
        self._urgency = critical_paths(plan.missing)
        self._place = {key: place for place, key in enumerate(self._waiting)}

    @property
    def running(self) -> tuple[PlannedStage, ...]:
        """The stages that have started and not ended."""
        return tuple(self._running.values())

    @property
    def is_done(self) -> bool:
        """Whether every stage has ended."""
        return not self._waiting and not self._running

    def is_running(self, planned: PlannedStage) -> bool:
        """Whether a stage has started and not ended."""
        return planned.stage.key in self._running

    def is_open(self, planned: PlannedStage) -> bool:
        """Whether a stage has not ended, nor fallen with one before it."""
        return planned.stage.key in self._waiting or self.is_running(planned)

    def in_order(self) -> PlannedStage | None:
        """The next stage in the order of the plan, for one at a time. None when all have begun."""
        return next(iter(self._waiting.values()), None)

    def ready(self) -> list[PlannedStage]:
        """The stages whose inputs are there, the most urgent first.

        That is the one at the head of the longest chain of stages, by their estimates.
        """
        open_keys = self._waiting.keys() | self._running.keys()
        found = [
            planned
            for planned in self._waiting.values()
            if not any(before.key in open_keys for before in planned.stage.inputs)
        ]
        return sorted(
            found,
            key=lambda each: (-self._urgency[each.stage.key], self._place[each.stage.key]),
        )

    def start(self, planned: PlannedStage) -> None:
        """The stage runs from now on."""
        key = planned.stage.key
        self._running[key] = self._waiting.pop(key)
        self._watcher.started(planned, self._begun, self._total)
        self._begun += 1

    def end_of_many(
        self, planned: PlannedStage, ending: Ending, before: PrologueBenchError | None
    ) -> PrologueBenchError | None:
        """As `end`, where other stages still run: why the run ends before its plan does.

        `before` says why it was to end already. A failure counts for more than a stop.
        """
        try:
            self.end(planned, ending)
        except StageError as error:
            return error
        except Interrupted as error:
            return before if isinstance(before, StageError) else error
        return before

    def end(self, planned: PlannedStage, ending: Ending) -> None:
        """The stage has ended. Where it failed, those behind it fail with it, without a word.

        Raises Interrupted where it was stopped, and StageError for an ending that ends the run.
        """
        key = planned.stage.key
        self._running.pop(key)
        if ending.stopped:
            raise Interrupted(ending.stopped)
        if ending.fatal:
            raise StageError(ending.fatal)
        if not ending.failure:
            self._watcher.finished(planned, ending.seconds)
            return
        self.outcome.failures[key] = ending.failure
        self._drop_behind(key, ending.failure)
        self._watcher.failed(planned, ending.failure)

    def _drop_behind(self, key: str, reason: str) -> None:
        """What needs a failed stage fails for its reason, and so on."""
        for planned in list(self._waiting.values()):
            behind = planned.stage.key
            if behind in self._waiting and any(
                before.key == key for before in planned.stage.inputs
            ):
                self._begun += 1
                self.outcome.failures[behind] = reason
                del self._waiting[behind]
                self._drop_behind(behind, reason)
