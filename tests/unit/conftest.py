from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from prologue_bench.pipeline import steps
from prologue_bench.training.engine import Runner

SLOW: dict[str, tuple[object, str]] = {
    "a process": (subprocess.Popen, "__init__"),
    "a fork": (os, "fork"),
    "a worker": (multiprocessing.process.BaseProcess, "start"),
    "a training": (Runner, "train"),
    "a stage": (steps, "perform"),
}
"""What takes seconds, and where it begins."""


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the test began although a unit test may not; whoever looks at it empties it."""
    begun: list[str] = []

    def refusal(what: str) -> Callable[..., NoReturn]:
        def refuse(*_: Any, **__: Any) -> NoReturn:
            begun.append(what)
            raise AssertionError(f"a unit test begins {what}; its room is tests/pipeline")

        return refuse

    for what, (owner, name) in SLOW.items():
        monkeypatch.setattr(owner, name, refusal(what))
    yield begun
    assert not begun, "the program caught the refusal; the room of this test is tests/pipeline"
