"""Runs one stage under its lock and commits its artifact, in whatever process this is."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from prologue_bench.contracts.components import culprit
from prologue_bench.errors import Interrupted, PrologueBenchError, StageError, own_words
from prologue_bench.guard import brief, pass_interrupt
from prologue_bench.notices import notice
from prologue_bench.pipeline.estimates import count_steps, machine, metric_label
from prologue_bench.pipeline.executors.messages import Ending
from prologue_bench.pipeline.executors.threads import threads_as_before
from prologue_bench.pipeline.memory import PeakMemory
from prologue_bench.pipeline.planner import PlannedStage
from prologue_bench.pipeline.provenance import git_revision, software
from prologue_bench.pipeline.stages import Measure, Stage, components_of
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.files import write_text
from prologue_bench.storage.locks import Held
from prologue_bench.storage.store import Store, is_full_disk
from prologue_bench.storage.unfinished import checked_text, read_checked
from prologue_bench.training.context import StageContext


class Reports(Protocol):
    """Who is told how one stage goes."""

    def waiting(self) -> None:
        """Another run is at work on the stage."""

    def advanced(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """It has done so many of its steps; `losses` are its latest."""


def run_stage(
    planned: PlannedStage,
    workspace: Workspace,
    reports: Reports,
    stop_requested: Callable[[], bool],
) -> Ending:
    """Run one stage whose inputs are in the store.

    What it needs and what it returns can be pickled, `workspace` and the callbacks aside. Waits
    while another run has the stage. Raises nothing but what a signal raises.
    """
    stage, store = planned.stage, workspace.store
    try:
        with store.lock(stage.key, waiting=_Wait(reports, stop_requested)) as held:
            return Ending(_run(planned, workspace, reports, stop_requested, held))
    except Interrupted as error:
        return Ending(stopped=str(error))
    except BaseException as error:  # a component must not end the run, by whatever it raises
        pass_interrupt(error)
        if reason := _ends_the_run(planned, store, error):
            return Ending(fatal=reason)
        return Ending(failure=_failure(stage, store, error))


def _ends_the_run(planned: PlannedStage, store: Store, error: BaseException) -> str:
    """Why no other stage could be finished either; empty where they may."""
    own = isinstance(error, PrologueBenchError)
    if (not own or error.__cause__ is not None) and (is_full_disk(error) or store.is_full()):
        return (
            f"{store.root}: no space is left on the disk; "
            "free some and run the same command again, it goes on from the last checkpoint"
        )
    if isinstance(error, OSError) and store.refuses(error):
        return (
            f"{error.filename}: {error.strerror}; what is finished can be used, "
            f"but the {planned.stage.title} of {planned.experiment} is not; "
            f"take a store that you may write to, or ask the owner of {store.root}"
        )
    return ""


def _failure(stage: Stage, store: Store, error: BaseException) -> str:
    """Why a stage failed, in one line; what a component did is kept whole in traceback.txt."""
    if isinstance(error, PrologueBenchError) and error.__cause__ is None:
        return own_words(str(error))
    trace = _trace(store, stage, error)
    if isinstance(error, PrologueBenchError):
        return own_words(str(error))
    components = components_of(stage)
    who = culprit(error, components)
    if not who and components and not components[0][1].is_own:
        who = components[0][1].called(components[0][0])
    return f"{f'{who}: ' if who else ''}{brief(error)}{trace}"


def _trace(store: Store, stage: Stage, error: BaseException) -> str:
    """Where the traceback of an error is written; empty where it cannot be."""
    path = store.work(stage.key) / "traceback.txt"
    try:
        write_text(path, "".join(traceback.format_exception(error)))
    except OSError:
        return ""
    return f" (traceback in {path})"


def _run(
    planned: PlannedStage,
    workspace: Workspace,
    reports: Reports,
    stop_requested: Callable[[], bool],
    held: Held,
) -> float:
    """Run a stage whose lock is held; returns seconds over all attempts."""
    stage, store = planned.stage, workspace.store
    if done := store.find(stage.key):  # another run finished it while this one waited
        return float(done.manifest.get("seconds") or 0.0)
    folder = store.begin(stage.key)
    output = folder / "output"
    clock, peak = _Clock(folder / "seconds"), PeakMemory()
    losses: dict[str, float] = {}

    def advance(done: int, total: int) -> None:
        if clock.tick():
            held.check()
        reports.advanced(done, total, losses)

    label = stage_name(planned)
    context = StageContext(
        work=folder,
        output=output,
        label=label,
        advance=advance,
        show_losses=losses.update,
        stop_requested=stop_requested,
    )
    with threads_as_before(folder, label) as threads:
        log_line(context.log, f"{label} starts, revision {git_revision()}, threads {threads}")
        try:
            _check_files(stage)
            # Brings the engine of trainings, which runs that find everything finished do without.
            from prologue_bench.pipeline.steps import perform

            perform(stage, workspace, context)
            _check_files(stage)
        except BaseException as error:
            log_line(context.log, f"ended by {type(error).__name__}: {error}")
            raise
        finally:
            clock.note()
        held.check()
        log_line(context.log, f"finished after {clock.seconds:.1f} s")
        store.commit(stage.key, output, _details(planned, workspace, clock.seconds, peak))
    return clock.seconds


def stage_name(planned: PlannedStage) -> str:
    """A stage as messages name it."""
    return f"{planned.stage.title} of {planned.experiment}"


def _check_files(stage: Stage) -> None:
    """Raises StageError where a file that the stage reads is another than when its key was made."""
    if stage.key_now() != stage.key:
        raise StageError(
            "a file that its settings name changed since the run was planned; "
            "run the same command again"
        )


def log_line(log: Path, text: str) -> None:
    """A line in a stage's log; each attempt adds its own."""
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"{_now()} {text}\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Wait:
    """Says once that another run has the stage, and leaves when the user asks to stop."""

    def __init__(self, reports: Reports, stop_requested: Callable[[], bool]) -> None:
        self.reports, self.stop_requested = reports, stop_requested
        self.said = False

    def __call__(self) -> None:
        if not self.said:
            self.reports.waiting()
        self.said = True
        if self.stop_requested():
            raise Interrupted("stopped while another run had the stage")


class _Clock:
    """Seconds of one stage over all attempts, noted every few seconds so that killed runs count."""

    NOTED_EVERY = 5.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = self._noted()
        self.started = self.noted = time.monotonic()

    def _noted(self) -> float:
        noted = read_checked(self.path)
        if noted is None and self.path.exists():
            notice(
                f"{self.path} is not what was written; the time before this attempt is not counted"
            )
        return float(noted or 0.0)

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def tick(self) -> bool:
        """Note the time where the last note is old; returns whether it was."""
        if is_old := time.monotonic() - self.noted >= self.NOTED_EVERY:
            self.note()
        return is_old

    def note(self) -> None:
        """Write the seconds down."""
        self.noted = time.monotonic()
        # On a full disk the error that matters is on its way already.
        with contextlib.suppress(OSError):
            write_text(self.path, checked_text(f"{self.seconds:.3f}"))


def _details(
    planned: PlannedStage, workspace: Workspace, seconds: float, peak: PeakMemory
) -> dict[str, Any]:
    stage = planned.stage
    return {
        "kind": stage.kind,
        "version": stage.version,
        "experiment": planned.experiment,
        "reads": stage.reads(),
        "inputs": [before.key for before in stage.inputs],
        "metric": metric_label(stage, workspace) if isinstance(stage, Measure) else None,
        "seconds": round(seconds, 3),
        "flops": planned.flops,
        "steps": count_steps(stage, workspace),
        "peak_memory": peak.bytes(),
        "peak_gpu_memory": peak.gpu_bytes(),
        "finished": _now(),
        "machine": machine(),
        "software": software(),
    }
