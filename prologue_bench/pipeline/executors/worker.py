"""A worker process: runs one stage after the other for a run in another process.

It lives as long as the run, so that torch is imported once. It takes no Ctrl-C of the terminal,
which reaches it too: the run says when to stop. When the run is gone, its running stage saves its
state, and the worker ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from prologue_bench.guard import brief, pass_interrupt
from prologue_bench.notices import warnings_as_notices
from prologue_bench.pipeline.executors.messages import STOP, Advanced, Ending, Setup, Waits
from prologue_bench.registry import import_files
from prologue_bench.stopping import EXIT_INTERRUPTED, STOP_SIGNALS

if TYPE_CHECKING:
    from prologue_bench.pipeline.executors.stage import Reports
    from prologue_bench.pipeline.planner import PlannedStage
    from prologue_bench.pipeline.workspace import Workspace

LEAVE_SECONDS = 30.0
"""How long a stage may take to save its state once the run is gone."""
ADVANCED_EVERY = 0.1
"""Seconds between two reports of steps."""


def main(descriptor: int) -> None:
    """Work for the run at the other end of a connection, until it closes that."""
    link = _Link(Connection(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: link.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace", line_buffering=True)
    threading.Thread(target=link.listen, daemon=True, name="run").start()
    with warnings_as_notices():
        try:
            _work(link)
        except BaseException as error:
            link.send(Ending(fatal=f"a worker process cannot go on: {brief(error)}"))


def _work(link: _Link) -> None:
    message = link.next()
    if message is None:
        return
    setup: Setup = pickle.loads(message)
    sys.path[:] = setup.path
    problems = import_files(setup.files)

    import torch

    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.storage.store import Store

    torch.set_num_threads(setup.threads)
    workspace = Workspace(Store(setup.store))
    while (message := link.next()) is not None:
        link.send(perform(message, workspace, _Sent(link), lambda: link.stopping, problems))


def perform(
    message: bytes,
    workspace: Workspace,
    reports: Reports,
    stop_requested: Callable[[], bool],
    problems: Mapping[str, str],
    prepare: Callable[[PlannedStage], None] = lambda planned: None,
) -> Ending:
    """Run a pickled stage, as `run_stage`.

    `problems` says, by module, which plugins' files could not be imported here.
    """
    from prologue_bench.pipeline.executors.stage import run_stage
    from prologue_bench.pipeline.stages import components_of

    try:
        planned = pickle.loads(message)
    except BaseException as error:  # a plugin's module does whatever it does
        pass_interrupt(error)
        reasons = "; ".join(problems.values()) or brief(error)
        return Ending(failure=f"a worker process cannot take the stage: {reasons}")
    for _, component in components_of(planned.stage):
        for reference in (component.target, component.settings):
            if problem := problems.get(reference.partition(":")[0]):
                return Ending(failure=problem)
    prepare(planned)
    return run_stage(planned, workspace, reports, stop_requested)


class _Sent:
    """Reports of a stage, for the run."""

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.said = 0.0

    def waiting(self) -> None:
        self.link.send(Waits())

    def advanced(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        if time.monotonic() - self.said >= ADVANCED_EVERY or done == total:
            self.said = time.monotonic()
            self.link.send(Advanced(done, total, dict(losses)))


class _Link:
    """The connection to the run, read by a thread of its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stopping = False
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen(self) -> None:
        """Hear the run until it closes the connection, or is gone."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = self.connection.recv_bytes()
                if message == STOP:
                    self.stop()
                else:
                    self._messages.put(message)
        if self.stopping:  # the run has left without waiting for what it asked for
            os._exit(EXIT_INTERRUPTED)
        self.stop()
        self._messages.put(None)
        time.sleep(LEAVE_SECONDS)
        os._exit(EXIT_INTERRUPTED)

    def stop(self) -> None:
        """Have the running stage save its state and leave."""
        self.stopping = True

    def next(self) -> bytes | None:
        """The next message; None when the run has no more."""
        return self._messages.get()

    def send(self, message: Any) -> None:
        """Say something to the run. Where it is gone, the listener has seen that."""
        with contextlib.suppress(OSError):
            self.connection.send(message)
