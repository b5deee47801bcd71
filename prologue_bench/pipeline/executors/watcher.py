"""Who is told how a run goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from prologue_bench.pipeline.planner import PlannedStage


class Watcher(Protocol):
    """Who is told how the run goes. Several stages may run at once."""

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        """A stage begins, or goes on; `index` have begun before it."""

    def waiting(self, planned: PlannedStage) -> None:
        """Another run is at work on the stage."""

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        """The stage has done so many of its steps. `losses` are its latest, empty without any."""

    def printed(self, planned: PlannedStage | None, line: str) -> None:
        """A line that a stage's process has printed; None between two stages."""

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        """The stage's artifact is in the store."""

    def failed(self, planned: PlannedStage, reason: str) -> None:
        """The stage could not be finished."""


class Silent(Watcher):
    """Is told how the run goes, and says nothing of it; what fails is left to say."""

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        pass

    def waiting(self, planned: PlannedStage) -> None:
        pass

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        pass

    def printed(self, planned: PlannedStage | None, line: str) -> None:
        pass

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        pass
