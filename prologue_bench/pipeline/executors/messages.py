"""What a run and its worker processes say to each other.

A run sends one `Setup`, then stages, one at a time, and STOP to have the running one save and
leave. A worker answers with any number of `Waits` and `Advanced`, and one `Ending` for each stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from prologue_bench.registry import ImportedFile

STOP = b"stop"


@frozen
class Setup:
    """What a worker needs before its first stage."""

    store: Path
    path: tuple[str, ...]
    """`sys.path` of the run, so that the worker imports the same modules."""
    files: tuple[ImportedFile, ...]
    threads: int


@frozen
class Waits:
    """Another run is at work on the stage."""


@frozen
class Advanced:
    """The stage has done so many of its steps."""

    done: int
    total: int
    losses: Mapping[str, float]


@frozen
class Ending:
    """How a stage ended, in plain values that can be sent between processes.

    Without any of the three reasons, its artifact is in the store.
    """

    seconds: float = 0.0
    """Over all attempts."""
    failure: str = ""
    """Why the stage could not be finished, in one line; the rest of the run goes on."""
    stopped: str = ""
    """Where it was asked to stop and has saved its state."""
    fatal: str = ""
    """Why the whole run has to end: the disk is full, or the store cannot be written."""

    @property
    def is_unfinished(self) -> bool:
        """Whether its artifact is not in the store."""
        return bool(self.failure or self.stopped or self.fatal)
