"""The program in odd surroundings.

Users without a home, terminals without Unicode, launchers' variables.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slow.harness import Program, faults_of

NOBODY = (12345, 12345)


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with Program() as each:
        yield each


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "prologue_bench", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=False
    )


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("home", [None, "/nonexistent", "/"])
def test_a_user_without_a_home_and_a_name_has_a_cache_of_temporary_files(
    program: Program, tmp_path: Path, home: str | None
) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    nothing = dict.fromkeys(("USER", "LOGNAME", "XDG_CACHE_HOME", "PROLOGUE_BENCH_STORE"))
    environment = {**nothing, "HOME": home, "TMPDIR": str(tmp_path)}
    ending = program.run(["store", "ls"], cwd="/tmp", env=environment, user=NOBODY)
    assert ending.code == 0, ending.err
    assert not faults_of(ending)
    assert (tmp_path / f"prologue-bench-{NOBODY[0]}").stat().st_uid == NOBODY[0]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_output_in_an_old_encoding_loses_no_line(encoding: str) -> None:
    told = python("list", PYTHONIOENCODING=encoding)
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == len(python("list").stdout.splitlines())


def test_a_store_whose_name_is_not_utf_8_is_refused_before_anything_runs(
    program: Program, tmp_path: Path
) -> None:
    ending = program.run(
        ["store", "ls", "--store", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")]
    )
    assert ending.code == 2
    assert "not UTF-8" in ending.err


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal.

    Before that Python itself is still starting.
    """
    (caught,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigCgt")
    ]
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.8])
def test_a_signal_while_the_program_starts_ends_with_130(
    seconds: float, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "prologue_bench",
        "plan",
        "ablations/prologue_count.yaml",
        "--profile",
        "smoke",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not catches(process.pid, signal.SIGTERM):
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "prologue-bench: interrupted"


def test_an_error_that_nobody_has_foreseen_is_one_line_and_exit_code_70(
    program: Program, tmp_path: Path
) -> None:
    ending = program.run(
        call="tests.pipeline.test_surroundings:run_a_broken_command", env={"TMPDIR": str(tmp_path)}
    )
    assert ending.code == 70
    (line,) = ending.err.splitlines()
    assert line.startswith("prologue-bench: unforeseen ZeroDivisionError: ")
    (file,) = tmp_path.glob("prologue-bench-*.txt")
    assert str(file) in line
    assert "Traceback (most recent call last)" in file.read_text()


def run_a_broken_command(argv: list[str]) -> None:
    from prologue_bench.cli import endings
    from prologue_bench.cli.app import cli

    sys.argv = ["prologue-bench", "broken"]
    cli.command("broken")(lambda: 1 / 0)
    endings.main()


def test_an_interrupt_that_passes_an_exec_ends_with_130_and_by_no_signal(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, sys\n"
        "from prologue_bench.cli import app, endings\n"
        "stop = 'import os, signal; os.kill(os.getpid(), signal.SIGTERM)'\n"
        "app.cli.command('list')(lambda: exec(stop))\n"
        "sys.argv = ['x', 'list']\n"
        "endings.main()\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 130


def test_a_shell_can_ask_how_a_command_goes_on() -> None:
    told = python("list", _PROLOGUE_BENCH_COMPLETE="bash_source")
    assert told.returncode == 0, told.stderr
    assert b"complete" in told.stdout
