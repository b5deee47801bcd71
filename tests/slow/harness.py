"""What campaigns are made of: the program in a forked child, its ending, what no ending may be."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

ROOT = Path(__file__).parent.parent.parent
LONGEST_MESSAGE = 500
"""Characters of one line of an error."""
UNFORESEEN = 70
"""The exit code of an error that nobody has foreseen."""

Kind = Literal["traceback", "silent", "stuck", "lost", "hang", "message"]
KINDS: dict[Kind, str] = {
    "traceback": "tracebacks",
    "silent": "silent differences",
    "stuck": "stuck",
    "lost": "files lost",
    "hang": "hangs",
    "message": "long messages",
}


@frozen
class Ending:
    """How a command ended. A negative code is the signal that ended it."""

    code: int
    out: str
    err: str
    seconds: float
    processor_seconds: float
    timed_out: bool

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.out + self.err


@frozen
class Fault:
    """What a try found: its kind, and what was done and seen, in one line."""

    kind: Kind
    what: str


def faults_of(ending: Ending, doing: str = "", killed: bool = False) -> list[Fault]:
    """What no ending may be. `killed`: a signal was sent, so that ending by it is no crash."""
    if ending.timed_out:
        return [Fault("hang", f"{doing}: still runs after {ending.seconds:.0f} s")]
    lines = ending.err.strip().splitlines() or ["nothing printed"]
    if ending.code == UNFORESEEN or "Traceback (most recent call last)" in ending.text:
        return [Fault("traceback", f"{doing}: exit {ending.code}, {lines[-1][:300]}")]
    if ending.code < 0 and not killed:
        return [Fault("traceback", f"{doing}: ended by signal {-ending.code}, {lines[-1][:300]}")]
    if ending.code != 0 and (longest := max(map(len, lines))) > LONGEST_MESSAGE:
        return [
            Fault(
                "message", f"{doing}: a line of {longest} characters: {max(lines, key=len)[:200]}"
            )
        ]
    return []


class Program:
    """A process that has imported everything, and forks one child per command.

    Use it as a context manager. One command runs at a time; take several programs for several at
    once.
    """

    def __init__(self) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="prologue-campaign-")
        Path(self._files.name).chmod(0o777)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.slow.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n", (
            "the server of the campaigns did not start"
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server.

        An empty line tells it to end: a child that was forked meanwhile, such as a reader of
        training data, may hold its standard input open.
        """
        assert self._server.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.write("\n")
            self._server.stdin.close()
        self._server.wait()
        self._files.cleanup()

    def run(
        self,
        argv: Sequence[str | Path] = (),
        cwd: Path | str = "/",
        env: Mapping[str, str | None] | None = None,
        timeout: float = 60.0,
        memory: int | None = None,
        signals: Sequence[tuple[float, int]] = (),
        user: tuple[int, int] | None = None,
        umask: int = 0o022,
        call: str = "prologue_bench.cli.endings:main",
    ) -> Ending:
        """Run one command in a forked child.

        Args:
            argv: The arguments after `prologue-bench`.
            cwd: Its working folder.
            env: Variables to set, or to remove where the value is None.
            timeout: Seconds after which it and all that it has started are killed; the ending is
                `timed_out`.
            memory: Bytes that it may take beyond what the imports take.
            signals: (seconds after the start, signal), each sent once.
            user: uid and gid to run as; needs root.
            umask: Its umask.
            call: `module:function` to call in place of the command line; other functions get argv
                as a list.
        """
        request = {
            "argv": list(map(str, argv)),
            "cwd": str(cwd),
            "env": dict(env or {}),
            "timeout": timeout,
            "memory": memory,
            "signals": [list(each) for each in signals],
            "user": user,
            "umask": umask,
            "call": call,
            "files": self._files.name,
        }
        for name in ("out", "err"):
            Path(self._files.name, name).unlink(missing_ok=True)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ending(**json.loads(self._server.stdout.readline()))


@frozen
class Campaign:
    """Random tries of one kind.

    Attributes:
        name: As it is called on the command line.
        title: What is tried, for the table of docs/reliability.md.
        tries: How many a whole campaign makes.
        share: How many `make test-slow` makes: under about 15 seconds.
        prepare: Called once, with an empty folder; what it returns is the context of all tries.
        attempt: One try: context, its own random draws, and an empty folder. Returns the faults.
    """

    name: str
    title: str
    tries: int
    share: int
    prepare: Callable[[Path, Program], Any]
    attempt: Callable[[Any, random.Random, Path], list[Fault]]


@frozen
class Tally:
    """What a campaign found."""

    campaign: Campaign
    seed: int
    tries: int
    faults: list[tuple[int, Fault]] = field(factory=list)

    def count(self, kind: Kind) -> int:
        """How many faults of one kind there are."""
        return sum(fault.kind == kind for _, fault in self.faults)


def campaigns() -> Iterator[Campaign]:
    """All campaigns, by the names of their modules."""
    package = importlib.import_module("tests.slow")
    for module in sorted(each.name for each in pkgutil.iter_modules(package.__path__)):
        if module not in ("__main__", "harness", "server") and not module.startswith("test_"):
            found = getattr(importlib.import_module(f"tests.slow.{module}"), "CAMPAIGN", None)
            if isinstance(found, Campaign):
                yield found


def carry_out(
    campaign: Campaign,
    tries: Sequence[int],
    seed: int,
    program: Program,
    say: Callable[[str], None] = lambda text: None,
) -> Tally:
    """Make the tries of these numbers; each depends on the seed and its number alone."""
    tally = Tally(campaign, seed, len(tries))
    with tempfile.TemporaryDirectory(prefix=f"prologue-{campaign.name}-") as name:
        root = Path(name)
        root.chmod(0o755)
        prepared = root / "prepared"
        prepared.mkdir()
        context = campaign.prepare(prepared, program)
        for number in tries:
            folder = root / f"try-{number}"
            folder.mkdir()
            draw = random.Random(f"{campaign.name} {seed} {number}")
            try:
                faults = campaign.attempt(context, draw, folder)
            except Exception as error:  # of the campaign's own code; the other tries go on
                faults = [
                    Fault("traceback", f"the campaign itself: {type(error).__name__}: {error}")
                ]
            for fault in faults:
                tally.faults.append((number, fault))
                say(f"{campaign.name} --seed {seed} --only {number}: {fault.kind}: {fault.what}")
            shutil.rmtree(folder, ignore_errors=True)
    return tally
