from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slow.harness import Ending, Program


@pytest.fixture(scope="session")
def program() -> Iterator[Program]:
    """The program in processes of its own, forked from one that has the heavy imports behind it."""
    with Program() as each:
        yield each


@pytest.fixture
def call(program: Program, tmp_path: Path) -> Callable[..., Ending]:
    """Run a command in the test's folder, with its store there."""

    def run(*arguments: str, **environment: str) -> Ending:
        own = {"PROLOGUE_BENCH_STORE": str(tmp_path / "store"), "COLUMNS": None}
        return program.run(arguments, tmp_path, {**own, **environment}, timeout=300)

    return run
