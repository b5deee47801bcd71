"""How a run looks while it goes: one live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from prologue_bench.cli.console.terminal import raw
from prologue_bench.pipeline.executor import Watcher
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.texts.durations import duration
from prologue_bench.texts.lines import one_line

LINE_EVERY_SECONDS = 30.0


def label(planned: PlannedStage) -> str:
    """A stage as displays name it."""
    from prologue_bench.pipeline.stages import Measure

    stage = planned.stage
    name = f"{stage.kind} {stage.metric.name}" if isinstance(stage, Measure) else stage.kind
    return f"{name} · {planned.experiment}"


class Pace:
    """Steps per second and time left of one stage, from the steps done since it started here."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first: int | None = None
        self.last = 0

    def text(self, done: int, total: int) -> str:
        """Rate and time left."""
        # A stage may count anew: samples, then the reference.
        if self.first is None or done < self.last:
            self.first, self.started = done, time.monotonic()
        self.last = done
        steps, seconds = done - self.first, time.monotonic() - self.started
        if steps <= 0 or seconds <= 0:
            return ""
        rate = steps / seconds
        shown = f"{rate:.1f}/s" if rate < 100 else f"{rate:,.0f}/s"
        return f"{shown}, {duration((total - done) / rate)} left"


class _Budget:
    """Time left of the whole run.

    The sum of the estimates of what is left, corrected by how well the estimates held so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.left = {planned.stage.key: planned.seconds for planned in plan.missing}
        self.estimated = 0.0
        self.taken = 0.0

    def done(self, planned: PlannedStage, seconds: float) -> None:
        """A stage is finished."""
        self.failed(planned)
        if planned.seconds:
            self.estimated += planned.seconds
            self.taken += seconds

    def failed(self, planned: PlannedStage) -> None:
        """A stage has failed, so its time teaches nothing."""
        self.left.pop(planned.stage.key, None)

    def text(self) -> str:
        """About how much is left of the whole run, and how many stages nobody can tell."""
        known = [seconds for seconds in self.left.values() if seconds is not None]
        if self.left and not known:
            return "the time left in total is not known yet"
        held = self.taken / self.estimated if self.estimated else 1.0
        unknown = len(self.left) - len(known)
        plus = f", plus {unknown} stage{'s' * (unknown > 1)} of unknown length" if unknown else ""
        return f"about {duration(sum(known) * held)} left in total{plus}"


class PlainProgress(Watcher):
    """A line when a stage starts, every half minute, and when it ends."""

    def __init__(self, plan: Plan, out: TextIO | None = None) -> None:
        self.out = out
        self.budget = _Budget(plan)
        self.pace = Pace()
        self.said = 0.0
        self.prefix = ""

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        self.pace = Pace()
        self.said = time.monotonic()
        self.prefix = f"[{index + 1}/{total}] {label(planned)}"
        self.say(f"{self.prefix}: starts; {self.budget.text()}")

    def waiting(self, planned: PlannedStage) -> None:
        self.say(f"{self.prefix}: waits for another run that is working on it")

    def advanced(self, done: int, total: int) -> None:
        pace = self.pace.text(done, total)
        if time.monotonic() - self.said >= LINE_EVERY_SECONDS and pace:
            self.said = time.monotonic()
            self.say(f"{self.prefix}: {done}/{total}, {pace}")

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self.budget.done(planned, seconds)
        self.say(f"{self.prefix}: done in {duration(seconds)}")

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self.budget.failed(planned)
        self.say(f"{self.prefix}: failed: {reason}")

    def say(self, text: str) -> None:
        """Show a line."""
        print(one_line(text), file=self.out or sys.stderr, flush=True)


class LiveProgress(Watcher):
    """Two bars, for the whole run and for the running stage; finished stages scroll away above."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.console = console
        self.budget = _Budget(plan)
        self.pace = Pace()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
        )
        self.whole: TaskID = self.bars.add_task("whole run", total=len(plan.missing) or 1, note="")
        self.stage: TaskID | None = None

    def __enter__(self) -> LiveProgress:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        self.pace = Pace()
        self.bars.update(
            self.whole,
            completed=index,
            total=total,
            note=f"stage {index + 1} of {total}, {self.budget.text()}",
        )
        self.stage = self.bars.add_task(escape(one_line(label(planned))), total=None, note="")

    def waiting(self, planned: PlannedStage) -> None:
        if self.stage is not None:
            self.bars.update(self.stage, note="waits for another run that is working on it")

    def advanced(self, done: int, total: int) -> None:
        if self.stage is not None:
            note = f"{done}/{total}  {self.pace.text(done, total)}"
            self.bars.update(self.stage, completed=done, total=total, note=note)

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self.budget.done(planned, seconds)
        self._close(
            f"[green]done[/]    {escape(one_line(label(planned)))}  [dim]{duration(seconds)}[/]"
        )

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self.budget.failed(planned)
        self._close(
            f"[red]failed[/]  {escape(one_line(label(planned)))}  {escape(one_line(reason))}"
        )

    def say(self, text: str) -> None:
        """Show a line above the bars."""
        self.console.print(one_line(text), highlight=False, markup=False)

    def _close(self, line: str) -> None:
        self.console.print(line, highlight=False)
        if self.stage is not None:
            self.bars.remove_task(self.stage)
            self.stage = None


def open_progress(plan: Plan) -> PlainProgress | LiveProgress:
    """The live display on a terminal, plain lines elsewhere; both on stderr."""
    console = Console(file=raw(sys.stderr))
    return LiveProgress(plan, console) if console.is_terminal else PlainProgress(plan)
