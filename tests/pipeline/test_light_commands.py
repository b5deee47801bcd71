"""What commands that only read results do without: the training stack, and what draws reports."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from prologue_bench.storage.store import Store
from tests.conftest import OLD_REPORTS
from tests.documents import loaded

REPORT = OLD_REPORTS / "prologue_count"
HEAVY = ("torch", "mmengine", "torchvision", "sklearn")
DRAWING = ("pandas", "altair", "jinja2", "vl_convert", "scipy.stats")
RUN = """
import sys

from prologue_bench.cli.app import cli

cli(sys.argv[2:], standalone_mode=False)
print([name for name in sys.argv[1].split() if name in sys.modules])
"""


def imported(unwanted: Iterable[str], command: Sequence[object], folder: Path) -> tuple[str, str]:
    """Which of the modules a command has imported, as a list, and all that it prints."""
    found = subprocess.run(
        [sys.executable, "-c", RUN, " ".join(unwanted), *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return found.stdout.splitlines()[-1], found.stdout


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Results with other numbers, whose differences from REPORT vary over seeds."""
    document = loaded(REPORT)
    for index, run in enumerate(document["runs"]):
        for each in run["measurements"]:
            each["value"] *= 1 + 0.01 * (index % 3)
    (tmp_path / "results.json").write_text(json.dumps(document))
    return tmp_path


@pytest.mark.parametrize(
    "command", ["compare", "regress", "bless", "claims", "report", "store", "validate"]
)
def test_a_command_that_reads_results_imports_no_more_than_it_needs(
    command: str, other: Path
) -> None:
    (other / "store").mkdir()
    arguments = {
        "compare": [REPORT, other],
        "regress": [other, "--against", REPORT, "--fail-on", "gfid:+90%"],
        "bless": [other, "--out", other / "baseline.json"],
        "claims": [other, REPORT],
        "report": [other],
        "validate": [REPORT, "--extract", other / "extract.json"],
        "store": ["push", other / "remote", "--kind", "sample", "--store", other / "store"],
    }[command]
    unwanted = HEAVY if command == "report" else HEAVY + DRAWING
    assert imported(unwanted, [command, *arguments], other)[0] == "[]"


def test_a_plan_imports_no_compiler_and_no_engine(smoke_file: Path, tmp_path: Path) -> None:
    command = ["run", smoke_file, "--dry-run", "--store", tmp_path / "store"]
    found, printed = imported(["mmengine", "torch._dynamo"], command, tmp_path)
    assert "memory" in printed
    assert found == "[]"


def test_a_run_that_finds_everything_finished_imports_torch_alone(
    smoke_file: Path, trained: Store
) -> None:
    command = ["run", smoke_file, "--store", trained.root, "--out", "report"]
    unwanted = sorted(set(HEAVY + DRAWING) - {"torch", "jinja2"})
    for _ in range(2):
        found, printed = imported(unwanted, command, smoke_file.parent)
    assert "(as it was)" in printed
    assert found == "[]"


def test_who_waits_at_a_terminal_sees_a_line_before_torch_is_imported(smoke_file: Path) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-X", "importtime", "-m", "prologue_bench", "plan", str(smoke_file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end) as process:
        os.close(end)
        with os.fdopen(terminal, "rb") as shown:
            before = []
            for line in shown:  # each import is a line, once it is done
                before.append(line)
                if line.startswith(b"Planning "):
                    break
        process.kill()
    assert before[-1].strip() == f"Planning {smoke_file}".encode()
    assert not [line for line in before if b" torch" in line]
