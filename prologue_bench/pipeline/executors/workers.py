"""Runs the missing stages of a plan side by side, in worker processes on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from prologue_bench.errors import Interrupted, PrologueBenchError, StageError
from prologue_bench.guard import brief, short
from prologue_bench.pipeline.executors.graph import Outcome, StageGraph
from prologue_bench.pipeline.executors.jobs import Jobs
from prologue_bench.pipeline.executors.messages import STOP, Advanced, Ending, Setup, Waits
from prologue_bench.pipeline.executors.stage import log_line
from prologue_bench.pipeline.executors.watcher import Watcher
from prologue_bench.pipeline.memory import available_memory, resident_memory
from prologue_bench.pipeline.planner import Plan, PlannedStage
from prologue_bench.pipeline.stages import Stage, components_of
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import imported_files
from prologue_bench.stopping import STOP_SIGNALS
from prologue_bench.storage.artifacts import LOG

POLL_SECONDS = 0.2
CLOSE_SECONDS = 5.0
"""How long idle workers may take to end."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LONGEST_LINE = 1 << 16
"""Bytes of what a worker prints without a line's end."""


def execute_in_workers(
    plan: Plan,
    workspace: Workspace,
    watcher: Watcher,
    stop_requested: Callable[[], bool],
    jobs: Jobs,
) -> Outcome:
    """As `executor.execute`, the most urgent first, with one stage at a time in each worker."""
    graph = StageGraph(plan, watcher)
    crew = _Crew(workspace, jobs)
    ended: PrologueBenchError | None = None
    """Why the run ends before its plan does."""
    try:
        while not graph.is_done:
            if stop_requested() and ended is None:
                ended = Interrupted("stopped between two stages")
            if ended is not None:
                crew.stop()
                if not graph.running:
                    raise ended
            elif crew.is_free:
                for planned in graph.ready():
                    if not crew.take(planned):
                        break
                    graph.start(planned)
            for of, said in crew.hear():
                if isinstance(said, str):
                    watcher.printed(of, said)
                elif of is None:
                    ended = _last_word(said) or ended
                elif isinstance(said, Waits):
                    watcher.waiting(of)
                elif isinstance(said, Advanced):
                    watcher.advanced(of, said.done, said.total, said.losses)
                else:
                    ended = graph.end_of_many(of, said, ended)
        if ended is not None or stop_requested():
            raise ended or Interrupted("stopped between two stages")
    finally:
        crew.close()
    return graph.outcome


def _last_word(said: object) -> StageError | None:
    """Why a worker that had no stage cannot take one."""
    return StageError(said.fatal) if isinstance(said, Ending) and said.fatal else None


class _Crew:
    """The workers of a run, each started when there is something for it to do."""

    def __init__(self, workspace: Workspace, jobs: Jobs) -> None:
        self.workspace, self.jobs = workspace, jobs
        self.workers: dict[int, _Worker] = {}
        """By the number of their share of the machine."""
        self.said: set[str] = set()

    @property
    def is_free(self) -> bool:
        """Whether some worker has nothing to do, or is still to be started."""
        busy = sum(each.planned is not None for each in self.workers.values())
        return busy < self.jobs.count

    def take(self, planned: PlannedStage) -> bool:
        """Give a stage to a worker that is free.

        Returns False where none is, and where the memory that is free would not hold it beside
        those that run.
        """
        if not self._fits(planned):
            return False
        for number in range(self.jobs.count):
            worker = self.workers.get(number)
            if worker is None:
                worker = self.workers[number] = self._hire(number)
            if worker.planned is None:
                worker.begin(planned)
                return True
        return False

    def _fits(self, planned: PlannedStage) -> bool:
        """Whether all stages would find the memory that they are expected to hold.

        What the workers hold already is theirs.
        """
        running = [each.planned.stage.key for each in self.workers.values() if each.planned]
        if not running:
            return True
        needed = sum(self.jobs.memory.get(key, 0) for key in (*running, planned.stage.key))
        held = sum(resident_memory(each.process.pid) for each in self.workers.values())
        return needed <= available_memory() + held

    def stop(self) -> None:
        """Have all running stages save their state and leave."""
        for worker in self.workers.values():
            worker.stop()

    def hear(self) -> Iterator[tuple[PlannedStage | None, Any]]:
        """What workers print and say of their stages, as it comes.

        A worker that is gone has failed its stage, and another takes its place when needed.
        """
        sources = [source for worker in self.workers.values() for source in worker.sources()]
        wait(sources, POLL_SECONDS)
        for number, worker in list(self.workers.items()):
            gone = worker.process.poll() is not None
            for line in worker.printed(gone):
                if self._is_new(line):
                    yield worker.planned, line
            for message in worker.messages():
                planned = worker.planned
                if isinstance(message, Ending):
                    worker.planned = None
                yield planned, message
            if gone:
                del self.workers[number]
                worker.close()
                if worker.planned is not None:
                    yield worker.planned, self._death(worker)

    def close(self) -> None:
        """End all workers; those that still have a stage are killed."""
        for worker in self.workers.values():
            if worker.planned is not None:
                worker.process.kill()
            worker.close()
        for worker in self.workers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(CLOSE_SECONDS)
            worker.process.kill()
            worker.process.wait()

    def _hire(self, number: int) -> _Worker:
        gpu = self.jobs.gpus[number] if self.jobs.gpus else None
        return _Worker(self.workspace.store.root, self.jobs.threads, gpu)

    def _is_new(self, line: str) -> bool:
        """Whether no other worker has said it: each of them finds the same damage or old setting.

        What components print is always new.
        """
        if not line.startswith("prologue-bench: "):
            return True
        is_new = line not in self.said
        self.said.add(line)
        return is_new

    def _death(self, worker: _Worker) -> Ending:
        """The ending of a stage whose worker is gone."""
        assert worker.planned is not None
        code = worker.process.returncode
        if worker.stopping and code in [-each for each in STOP_SIGNALS]:
            return Ending(stopped="stopped")
        stage = worker.planned.stage
        reason = how_it_died(code, stage)
        log_line(self.workspace.store.work(stage.key) / "output" / LOG, f"ended: {reason}")
        return Ending(
            failure=f"{reason}; the same command goes on from where the stage last saved its state"
        )


def how_it_died(code: int, stage: Stage) -> str:
    """Why the process of a stage is gone, by its exit code, as subprocess has it."""
    if code == -signal.SIGKILL:
        return f"its process was killed by signal {-code}, as when memory runs out"
    components = components_of(stage)
    kind, component = components[0] if components else ("", None)
    who = f"{component.called(kind)}: " if component and not component.is_own else ""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"{who}its process was ended by signal {-code}, {signal.strsignal(-code)}"
        return f"{who}its process was ended by signal {-code}"
    return f"{who}its process was ended by its own code, with exit code {code}"


class _Worker:
    """A worker process, as the run sees it."""

    def __init__(self, store: Path, threads: int, gpu: str | None) -> None:
        self.planned: PlannedStage | None = None
        """What it is at work on."""
        self.stopping = False
        self._own: list[Ending] = []
        """What is known of a stage without asking the process."""
        self._partial = b""
        ours, theirs = multiprocessing.Pipe()
        self.connection: Connection = ours
        self.process = _start(theirs.fileno(), threads, gpu)
        theirs.close()
        assert self.process.stdout is not None
        self.output: int | None = self.process.stdout.fileno()
        os.set_blocking(self.output, False)
        self._send(pickle.dumps(Setup(store, tuple(sys.path), imported_files(), threads)))

    def begin(self, planned: PlannedStage) -> None:
        """Send it a stage. One that cannot be sent has failed."""
        self.planned = planned
        try:
            message = pickle.dumps(planned)
        except Exception as error:  # settings of a plugin's, of which anything can be wrong
            self._own.append(
                Ending(
                    failure="its settings cannot be sent to a worker process "
                    f"({brief(error)}); run it with --jobs 1"
                )
            )
        else:
            self._send(message)

    def stop(self) -> None:
        """Have it save its state; once is enough."""
        if not self.stopping:
            self.stopping = True
            self._send(STOP)

    def sources(self) -> list[Any]:
        """What to wait for."""
        output = [] if self.output is None else [self.output]
        return [self.connection, *output]

    def messages(self) -> Iterator[Any]:
        """What it has said since."""
        while self._own:
            yield self._own.pop()
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll():
                yield self.connection.recv()

    def printed(self, gone: bool) -> Iterator[str]:
        """The lines that it has printed since, with an unfinished last one where it is gone."""
        if self.output is None:
            return
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.output, LONGEST_LINE):
                self._partial += chunk
                *lines, self._partial = self._partial.replace(b"\r", b"\n").split(b"\n")
                if len(self._partial) > LONGEST_LINE:
                    lines, self._partial = [*lines, self._partial], b""
                yield from filter(None, map(_text, lines))
            self.output = None
        if (gone or self.output is None) and (rest := _text(self._partial)):
            self._partial = b""
            yield rest

    def close(self) -> None:
        """Let it end, as nothing more comes."""
        self.connection.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, which shows in its process
            self.connection.send_bytes(message)


def _text(line: bytes) -> str:
    return short(line.decode(errors="replace").rstrip())


def _start(descriptor: int, threads: int, gpu: str | None) -> subprocess.Popen[bytes]:
    """Start a worker that talks over a descriptor, with its share of the machine.

    Signals to stop are held back until it is ready for them: a Ctrl-C reaches it too.
    """
    root = str(Path(__file__).resolve().parents[3])
    code = (
        f"import sys; sys.path.insert(0, {root!r}); "
        f"from prologue_bench.pipeline.executors.worker import main; main({descriptor})"
    )
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[descriptor],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
