"""Runs the missing stages of a plan in this process, one after the other."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field

from prologue_bench import __version__
from prologue_bench.contracts.components import culprit
from prologue_bench.errors import Interrupted, PrologueBenchError, StageError, own_words
from prologue_bench.guard import brief, pass_interrupt
from prologue_bench.notices import notice
from prologue_bench.pipeline import steps as work
from prologue_bench.pipeline.estimates import count_steps, machine, metric_label
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.pipeline.stages import Measure, Stage, components_of
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.results.migration import fill_in_figures
from prologue_bench.storage.files import write_text
from prologue_bench.storage.store import Store, is_full_disk
from prologue_bench.storage.unfinished import checked_text, read_checked
from prologue_bench.training.context import StageContext

SOFTWARE = ("torch", "mmengine", "torch-fidelity", "numpy")


class Watcher(Protocol):
    """Who is told how the run goes."""

    def started(self, planned: PlannedStage, index: int, total: int) -> None:
        """A stage begins, or goes on."""

    def waiting(self, planned: PlannedStage) -> None:
        """Another run is at work on the stage."""

    def advanced(self, done: int, total: int) -> None:
        """The running stage has done so many of its steps."""

    def finished(self, planned: PlannedStage, seconds: float) -> None:
        """The stage's artifact is in the store."""

    def failed(self, planned: PlannedStage, reason: str) -> None:
        """The stage could not be finished."""


@define
class Outcome:
    """Reasons, by stage key, of the stages that failed or whose inputs did."""

    failures: dict[str, str] = field(factory=dict)


def execute(
    plan: Plan, workspace: Workspace, watcher: Watcher, stop_requested: Callable[[], bool]
) -> Outcome:
    """Run what is missing. A failed stage takes those behind it along, and the rest goes on.

    Raises Interrupted when the user asks to stop, and StageError when the disk is full or the store
    cannot be written.
    """
    store, outcome = workspace.store, Outcome()
    missing = plan.missing
    for index, planned in enumerate(missing):
        stage = planned.stage
        broken = [
            outcome.failures[before.key]
            for before in stage.inputs
            if before.key in outcome.failures
        ]
        if broken:
            outcome.failures[stage.key] = broken[0]
            continue
        watcher.started(planned, index, len(missing))
        try:
            with store.lock(stage.key, waiting=_Wait(planned, watcher, stop_requested)):
                seconds = _run_stage(planned, workspace, watcher, stop_requested)
        except Interrupted:
            raise
        except BaseException as error:  # a component must not end the run, by whatever it raises
            pass_interrupt(error)
            own = isinstance(error, PrologueBenchError)
            if (not own or error.__cause__ is not None) and (
                is_full_disk(error) or store.is_full()
            ):
                raise StageError(
                    f"{store.root}: no space is left on the disk; "
                    "free some and run the same command again, it goes on from the last checkpoint"
                ) from None
            if isinstance(error, OSError) and store.refuses(error):
                raise StageError(
                    f"{error.filename}: {error.strerror}; what is finished can be used, "
                    f"but the {stage.kind} of {planned.experiment} is not; "
                    f"take a store that you may write to, or ask the owner of {store.root}"
                ) from None
            outcome.failures[stage.key] = _failure(stage, store, error)
        if stage.key in outcome.failures:
            watcher.failed(planned, outcome.failures[stage.key])
        else:
            watcher.finished(planned, seconds)
        if stop_requested():
            raise Interrupted("stopped between two stages")
    return outcome


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


def _run_stage(
    planned: PlannedStage,
    workspace: Workspace,
    watcher: Watcher,
    stop_requested: Callable[[], bool],
) -> float:
    """Run one stage under its lock and commit its artifact; returns seconds over all attempts."""
    stage, store = planned.stage, workspace.store
    if done := store.find(stage.key):  # another run finished it while this one waited
        return float(done.manifest.get("seconds") or 0.0)
    folder = store.begin(stage.key)
    output = folder / "output"
    clock = _Clock(folder / "seconds")

    def advance(done: int, total: int) -> None:
        clock.tick()
        watcher.advanced(done, total)

    label = f"{stage.kind} of {planned.experiment}"
    context = StageContext(
        work=folder, output=output, label=label, advance=advance, stop_requested=stop_requested
    )
    _log(context, f"{label} starts, revision {git_revision()}")
    try:
        _check_files(stage)
        work.perform(stage, workspace, context)
        _check_files(stage)
    except BaseException as error:
        _log(context, f"ended by {type(error).__name__}: {error}")
        raise
    finally:
        clock.note()
    _log(context, f"finished after {clock.seconds:.1f} s")
    store.commit(stage.key, output, _details(planned, workspace, clock.seconds))
    return clock.seconds


def _check_files(stage: Stage) -> None:
    """Raises StageError where a file that the stage reads is another than when its key was made."""
    if stage.key_now() != stage.key:
        raise StageError(
            "a file that its settings name changed since the run was planned; "
            "run the same command again"
        )


def _log(context: StageContext, text: str) -> None:
    """A line in the stage's log; each attempt adds its own."""
    with contextlib.suppress(OSError), context.log.open("a", encoding="utf-8") as file:
        file.write(f"{_now()} {text}\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Wait:
    """Says once that another run has the stage, and leaves when the user asks to stop."""

    def __init__(
        self, planned: PlannedStage, watcher: Watcher, stop_requested: Callable[[], bool]
    ) -> None:
        self.planned, self.watcher, self.stop_requested = planned, watcher, stop_requested
        self.said = False

    def __call__(self) -> None:
        if not self.said:
            self.watcher.waiting(self.planned)
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

    def tick(self) -> None:
        """Note the time where the last note is old."""
        if time.monotonic() - self.noted >= self.NOTED_EVERY:
            self.note()

    def note(self) -> None:
        """Write the seconds down."""
        self.noted = time.monotonic()
        # On a full disk the error that matters is on its way already.
        with contextlib.suppress(OSError):
            write_text(self.path, checked_text(f"{self.seconds:.3f}"))


def _details(planned: PlannedStage, workspace: Workspace, seconds: float) -> dict[str, Any]:
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
        "finished": _now(),
        "machine": machine(),
        "software": software(),
    }


def software() -> Mapping[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "prologue-bench": __version__,
        "git": git_revision(),
        "python": platform.python_version(),
        **{name: version(name) for name in SOFTWARE},
    }


@cache
def git_revision() -> str:
    """The revision of the checkout that the package runs from; "none" for an installed package."""
    folder = Path(__file__).resolve().parent
    try:
        revision = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__],
            cwd=folder,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "none"
    return revision.stdout.strip() if tracked.returncode == 0 else "none"


def read_measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements of a finished Measure stage."""
    measurements: list[dict[str, Any]] = json.loads((folder / "measurements.json").read_text())
    fill_in_figures(measurements)
    return measurements
