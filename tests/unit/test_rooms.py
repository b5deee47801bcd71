"""Each test is in the room of its cost, and unit tests stay cheap."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
from collections.abc import Callable

import pytest

from prologue_bench.pipeline import steps
from prologue_bench.training.engine import Runner
from tests.conftest import ROOT

ROOMS = ("unit", "pipeline", "browser", "slow")
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize(
    ("what", "begin"),
    [
        ("a process", lambda: subprocess.run(["true"], check=True)),
        ("a fork", lambda: os.fork()),
        ("a worker", lambda: multiprocessing.Process(target=print).start()),
        ("a training", lambda: Runner.train(None)),
        ("a stage", lambda: steps.perform(None, None, None)),
    ],
)
def test_a_unit_test_begins_nothing_that_takes_seconds(
    what: str, begin: Callable[[], object], refused: list[str]
) -> None:
    with pytest.raises(AssertionError, match=f"begins {what}; its room is tests/pipeline"):
        begin()
    assert refused == [what]
    refused.clear()


def test_every_test_is_in_a_room() -> None:
    assert {path.parent.relative_to(ROOT / "tests").as_posix() for path in TESTS} == set(ROOMS)


def test_no_test_imports_another() -> None:
    importing = re.compile(r"^\s*(from|import) tests\.(\w+\.)?test_", re.M)
    assert [path.name for path in TESTS if importing.search(path.read_text())] == []
