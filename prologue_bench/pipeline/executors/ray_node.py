"""What runs on the nodes of a Ray cluster: a stage per task, and the desk that they report to.

Ray pickles functions of an importable module by their names, and nested ones whole. `on_node` and
`desk_class` give nested ones, which need nothing but Python: so a node without this package, or
with another version of it, can say that.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import astuple

from prologue_bench.pipeline.executors.messages import Ending, Setup
from prologue_bench.registry import import_files

if TYPE_CHECKING:
    from prologue_bench.pipeline.planner import PlannedStage
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.storage.store import Store

PACKAGES = ("prologue-bench", "torch", "numpy")
"""Whose versions are the same on all nodes."""
SAY_SECONDS = 1.0
"""Between two reports of a stage."""
DESK_SECONDS = 60.0
"""After which a desk that does not answer counts as gone."""
SEEN_SECONDS = 90.0
"""In which an artifact that one node has written shows on another. NFS keeps what it knows of a
folder for up to a minute."""

_workspaces: dict[Path, Workspace] = {}
"""Of this process, which Ray uses for one stage after the other."""


def on_node() -> Callable[..., Any]:
    """Calls a function of a module on a node, where modules are found as in the run's process.

    On a node that cannot take part, as it may be that has joined after the run began, the last of
    the values that make an `Ending` is what `node_facts` found, with the node's name.
    """
    find = node_facts()

    def call(
        path: list[str],
        threads: int,
        versions: dict[str, str],
        root: str,
        lock: str,
        module: str,
        name: str,
        *arguments: Any,
    ) -> Any:
        import importlib
        import os
        import socket
        import sys

        facts = find(path, tuple(versions), root, lock)
        if facts["versions"] != versions or facts["sees"] != "yes" or not facts["locks"]:
            return 0.0, "", "", (socket.gethostname(), facts)
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(threads)
        there = [each for each in path if os.path.exists(each)]
        sys.path[:] = [*dict.fromkeys([*there, *sys.path])]
        return getattr(importlib.import_module(module), name)(*arguments)

    return call


def node_facts() -> Callable[..., dict[str, Any]]:
    """Finds what a node has installed, and whether it sees a store with its locks."""

    def find(path: list[str], packages: tuple[str, ...], root: str, lock: str) -> dict[str, Any]:
        import fcntl
        import importlib.metadata
        import os
        import sys

        there = [each for each in path if os.path.exists(each)]
        versions: dict[str, str | None] = {}
        for name in packages:
            found = importlib.metadata.distributions(
                name=name, path=[*dict.fromkeys([*there, *sys.path])]
            )
            versions[name] = next((each.version for each in found), None)
        sees, locks = "yes", True
        try:
            os.listdir(os.path.dirname(lock))  # so that NFS looks anew
            file = os.open(lock, os.O_RDWR)
        except OSError as error:
            sees = error.strerror or "it cannot be read"
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locks = False
            except OSError:
                pass
            finally:
                os.close(file)
        return {"versions": versions, "store": root, "sees": sees, "locks": locks}

    return find


def desk_class() -> type[Any]:
    """The class of an actor between a run and its stages, on the node of the run."""

    class Desk:
        def __init__(self) -> None:
            self.running: set[str] = set()
            self.stopping = False
            self.messages: list[tuple[str, Any]] = []

        def begin(self, key: str, node: str) -> bool:
            """Whether a stage may begin; none does once the run is to stop."""
            if not self.stopping:
                self.running.add(key)
                self.messages.append((key, ("node", node)))
            return not self.stopping

        def say(self, key: str, messages: list[Any]) -> bool:
            """Take what a stage says of itself; returns whether it is to stop."""
            self.messages += [(key, each) for each in messages]
            return self.stopping

        def take(self) -> list[tuple[str, Any]]:
            """What stages have said since."""
            taken, self.messages = self.messages, []
            return taken

        def stop(self) -> list[str]:
            """Let no stage begin and have all others stop; returns those that had begun."""
            self.stopping = True
            return sorted(self.running)

    return Desk


def work(setup: bytes, message: bytes, key: str, desk: Any, *inputs: tuple[Any, ...]) -> Any:
    """Run a pickled stage and return its `Ending` as a tuple.

    `inputs` are the endings of the stages before it. Where one is not finished, nor is this.
    """
    from prologue_bench.notices import warnings_as_notices

    if any(Ending(*each).is_unfinished for each in inputs):
        return astuple(Ending(stopped="a stage before it is not finished"))
    if not _answer(desk.begin.remote(key, socket.gethostname())):
        return astuple(Ending(stopped="stopped between two stages"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run says when to stop
    with _Link(key, desk) as link, link.printed(), warnings_as_notices():
        return astuple(_perform(pickle.loads(setup), message, link))


def _answer(ref: Any) -> Any:
    """What a call of the desk returns.

    Not by `ray.get`: to Ray, a task that waits in it lends its CPUs to another one.
    """
    return ref.future().result(timeout=DESK_SECONDS)


def _perform(setup: Setup, message: bytes, link: _Link) -> Ending:
    import torch

    from prologue_bench.pipeline.executors.worker import perform
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.storage.store import Store

    torch.set_num_threads(setup.threads)
    problems = import_files(setup.files)
    workspace = _workspaces.setdefault(setup.store, Workspace(Store(setup.store)))

    def prepare(planned: PlannedStage) -> None:
        await_artifacts(workspace.store, [each.key for each in planned.stage.inputs])

    ending = perform(message, workspace, link, lambda: link.stopping, problems, prepare)
    if ending.fatal and not workspace.store.is_full() and "no space" in ending.fatal:
        return Ending(
            failure=f"no space is left on a disk of node {socket.gethostname()}, which is not that "
            "of the store; free some and run the same command again"
        )
    return ending


def await_artifacts(store: Store, keys: list[str], seconds: float = SEEN_SECONDS) -> None:
    """Wait for artifacts that another node has written; who reads those that do not come says so.

    No clock of another node is looked at.
    """
    deadline = time.monotonic() + seconds
    while any(store.find(key) is None for key in keys) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.listdir(store.root / "artifacts")  # so that NFS looks anew
        time.sleep(1.0)


class _Link:
    """What a stage says to the run, sent once a second by a thread of its own."""

    def __init__(self, key: str, desk: Any) -> None:
        self.key, self.desk = key, desk
        self.stopping = False
        self._lock = threading.Lock()
        self._lines: list[Any] = []
        self._steps: Any = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_all, daemon=True, name="desk")

    def __enter__(self) -> _Link:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(2 * DESK_SECONDS)

    def waiting(self) -> None:
        with self._lock:
            self._lines.append(("waits",))

    def advanced(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        self._steps = ("steps", done, total, dict(losses))

    @contextlib.contextmanager
    def printed(self) -> Iterator[None]:
        """Whatever Python code prints inside is said, too."""
        lines = _Lines(self._line)
        with contextlib.redirect_stdout(lines), contextlib.redirect_stderr(lines):
            yield
        lines.close()

    def _line(self, line: str) -> None:
        with self._lock:
            self._lines.append(("line", line))

    def _send_all(self) -> None:
        while not self._ended.wait(SAY_SECONDS):
            self._send()
        self._send()

    def _send(self) -> None:
        from ray.exceptions import RayError

        with self._lock:
            messages, self._lines = self._lines, []
        steps, self._steps = self._steps, None
        if steps is not None:
            messages.append(steps)
        try:
            self.stopping |= _answer(self.desk.say.remote(self.key, messages))
        except (RayError, TimeoutError):  # the run is gone
            self.stopping = True


class _Lines(io.TextIOBase):
    """A text file that gives each of its lines away."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._partial = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._partial = (self._partial + text).replace("\r", "\n").split("\n")
        for line in filter(None, map(str.rstrip, lines)):
            self._take(line)
        return len(text)

    def close(self) -> None:
        if not self.closed and self._partial.strip():
            self._take(self._partial.rstrip())
        super().close()
