"""How a run looks while it goes: one live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from attrs import evolve
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from prologue_bench.cli.console.logs import StageLog
from prologue_bench.cli.console.terminal import raw
from prologue_bench.cli.options import Verbosity
from prologue_bench.pipeline.executors.schedule import makespan
from prologue_bench.pipeline.executors.watcher import Silent, Watcher
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.storage.store import Store
from prologue_bench.texts.durations import duration
from prologue_bench.texts.lines import one_line

LINE_EVERY_SECONDS = 30.0
BUDGET_EVERY_SECONDS = 5.0
SHOWN_LOSSES = 4


def label(planned: PlannedStage) -> str:
    """A stage as displays name it."""
    return f"{planned.stage.title} · {planned.experiment}"


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

    By the estimates of what is left, so many stages at a time, corrected by how well the estimates
    held so far.
    """

    def __init__(self, plan: Plan, jobs: int) -> None:
        self.left = {planned.stage.key: planned for planned in plan.missing}
        self.jobs = jobs
        self.shares: dict[str, float] = {}
        """Of running stages, what share of their steps is left."""
        self.estimated = 0.0
        self.taken = 0.0

    def done(self, planned: PlannedStage, seconds: float) -> None:
        """A stage is finished."""
        self.failed(planned)
        if planned.seconds:
            self.estimated += planned.seconds
            self.taken += seconds

    def advanced(self, planned: PlannedStage, done: int, total: int) -> None:
        """A stage has done so many of its steps."""
        self.shares[planned.stage.key] = 1 - done / total if total else 1.0

    def failed(self, planned: PlannedStage) -> None:
        """A stage has failed, so its time teaches nothing."""
        self.left.pop(planned.stage.key, None)

    def text(self) -> str:
        """About how much is left of the whole run, and how many stages nobody can tell."""
        left = list(self.left.values())
        unknown = sum(planned.seconds is None for planned in left)
        if left and unknown == len(left):
            return "the time left in total is not known yet"
        held = self.taken / self.estimated if self.estimated else 1.0
        known = [
            evolve(each, seconds=(each.seconds or 0.0) * self.shares.get(each.stage.key, 1.0))
            for each in left
        ]
        plus = f", plus {unknown} stage{'s' * (unknown > 1)} of unknown length" if unknown else ""
        return f"about {duration(makespan(known, self.jobs) * held)} left in total{plus}"


class _Line:
    """What is shown of one running stage."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.pace = Pace()
        self.said = time.monotonic()
        self.bar: TaskID | None = None

    def note(self, done: int, total: int, losses: Mapping[str, float]) -> str:
        """Pace and losses; empty as long as there is no pace."""
        pace = self.pace.text(done, total)
        return f"{pace}{shown_losses(losses)}" if pace else ""


def shown_losses(losses: Mapping[str, float]) -> str:
    """The first few losses behind a comma, and behind them all other figures.

    >>> shown_losses({"prologue bits": 7.25, "loss_l1": 0.12345, "loss_ce": 3.0})
    ', loss_l1 0.123, loss_ce 3, prologue bits 7.25'
    """
    first = [name for name in losses if name.startswith("loss")][:SHOWN_LOSSES]
    others = [name for name in losses if not name.startswith("loss")]
    return "".join(f", {name} {losses[name]:.3g}" for name in (*first, *others))


class PlainProgress(Watcher):
    """A line when a stage starts, every half minute, and when it ends; each names its stage."""

    def __init__(self, plan: Plan, out: TextIO | None = None, jobs: int = 1) -> None:
        self.out = out
        self.budget = _Budget(plan, jobs)
        self.lines: dict[str, _Line] = {}

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        line = self.lines[planned.stage.key] = _Line(f"[{index + 1}/{total}] {label(planned)}")
        self.say(f"{line.prefix}: starts; {self.budget.text()}")

    def waiting(self, planned: PlannedStage) -> None:
        self.say(f"{self._prefix(planned)}: waits for another run that is working on it")

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        self.budget.advanced(planned, done, total)
        line = self.lines[planned.stage.key]
        note = line.note(done, total, losses)
        if time.monotonic() - line.said >= LINE_EVERY_SECONDS and note:
            line.said = time.monotonic()
            self.say(f"{line.prefix}: {done}/{total}, {note}")

    def printed(self, planned: PlannedStage | None, line: str) -> None:
        self.say(line)

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self.budget.done(planned, seconds)
        self.say(f"{self._prefix(planned)}: done in {duration(seconds)}")
        del self.lines[planned.stage.key]

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self.budget.failed(planned)
        self.say(f"{self._prefix(planned)}: failed: {reason}")
        del self.lines[planned.stage.key]

    def say(self, text: str) -> None:
        """Show a line."""
        print(one_line(text), file=self.out or sys.stderr, flush=True)

    def _prefix(self, planned: PlannedStage) -> str:
        return self.lines[planned.stage.key].prefix


class LiveProgress(Watcher):
    """A bar for the whole run and one for each running stage; finished ones scroll away above."""

    def __init__(self, plan: Plan, console: Console, jobs: int = 1) -> None:
        self.console = console
        self.budget = _Budget(plan, jobs)
        self.lines: dict[str, _Line] = {}
        self.begun = ""
        self.said = 0.0
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
        )
        self.whole: TaskID = self.bars.add_task("whole run", total=len(plan.missing) or 1, note="")

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
        line = self.lines[planned.stage.key] = _Line("")
        self.begun = f"stage {index + 1} of {total}"
        self.bars.update(self.whole, completed=index + 1 - len(self.lines), total=total)
        self._say_budget()
        line.bar = self.bars.add_task(escape(one_line(label(planned))), total=None, note="")

    def waiting(self, planned: PlannedStage) -> None:
        self._update(planned, note="waits for another run that is working on it")

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        line = self.lines.get(planned.stage.key)
        if line is not None:
            note = escape(one_line(line.note(done, total, losses)))
            self._update(planned, completed=done, total=total, note=f"{done}/{total}  {note}")
            self.budget.advanced(planned, done, total)
            if time.monotonic() - self.said >= BUDGET_EVERY_SECONDS:
                self._say_budget()

    def printed(self, planned: PlannedStage | None, line: str) -> None:
        self.say(line)

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self.budget.done(planned, seconds)
        self._close(
            planned,
            f"[green]done[/]    {escape(one_line(label(planned)))}  [dim]{duration(seconds)}[/]",
        )

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self.budget.failed(planned)
        self._close(
            planned,
            f"[red]failed[/]  {escape(one_line(label(planned)))}  {escape(one_line(reason))}",
        )

    def say(self, text: str) -> None:
        """Show a line above the bars."""
        self.console.print(one_line(text), highlight=False, markup=False)

    def _say_budget(self) -> None:
        """Show the time left of the whole run."""
        self.said = time.monotonic()
        self.bars.update(self.whole, note=f"{self.begun}, {self.budget.text()}")

    def _update(self, planned: PlannedStage, **values: Any) -> None:
        line = self.lines.get(planned.stage.key)
        if line is not None and line.bar is not None:
            self.bars.update(line.bar, **values)

    def _close(self, planned: PlannedStage, text: str) -> None:
        self.console.print(text, highlight=False)
        line = self.lines.pop(planned.stage.key, None)
        if line is not None and line.bar is not None:
            self.bars.remove_task(line.bar)


class QuietProgress(Silent, PlainProgress):
    """Says what failed, and what the user asked for, such as to stop."""

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        self.lines[planned.stage.key] = _Line(label(planned))

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        del self.lines[planned.stage.key]


class VerboseProgress(PlainProgress):
    """Plain lines, and between them those of the stages' logs as they are written."""

    def __init__(self, plan: Plan, store: Store, out: TextIO | None = None, jobs: int = 1) -> None:
        super().__init__(plan, out, jobs)
        self.store = store
        self.logs: dict[str, StageLog] = {}

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        self.logs[planned.stage.key] = StageLog(self.store, planned.stage.key)
        super().started(planned, index, total)

    def advanced(
        self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
    ) -> None:
        if self.logs[planned.stage.key].is_due():
            self._show_log(planned)
        super().advanced(planned, done, total, losses)

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        self._show_log(planned)
        super().finished(planned, seconds)

    def failed(self, planned: PlannedStage, reason: str) -> None:
        self._show_log(planned)
        super().failed(planned, reason)

    def _show_log(self, planned: PlannedStage) -> None:
        for line in self.logs[planned.stage.key].new_lines():
            self.say(f"{self._prefix(planned)}: {line}")


def open_progress(
    plan: Plan, jobs: int, verbosity: Verbosity, store: Store
) -> PlainProgress | LiveProgress:
    """The live display on a terminal, plain lines elsewhere; both on stderr.

    `jobs` is how many stages run at a time. `store` is where their logs are.
    """
    if verbosity == "quiet":
        return QuietProgress(plan, jobs=jobs)
    if verbosity == "verbose":
        return VerboseProgress(plan, store, jobs=jobs)
    console = Console(file=raw(sys.stderr))
    if console.is_terminal:
        return LiveProgress(plan, console, jobs)
    return PlainProgress(plan, jobs=jobs)
