"""The program in odd surroundings.

Users without a home, terminals without Unicode, launchers' variables.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slow.harness import Program, faults_of

NOBODY = (12345, 12345)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "prologue_bench", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=False
    )


WITHOUT = """
import fcntl, os, platform, signal, sys, types
import mmengine.runner, multiprocessing.connection, scipy.stats, sklearn.linear_model, torchvision

def locking(file, mode, count):
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, count, 0, os.SEEK_CUR)
    except BlockingIOError as error:
        raise PermissionError(*error.args) from None

sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
for name in ("uname", "getuid", "sysconf", "pwrite", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
for name in ("pthread_sigmask", "SIGKILL"):
    delattr(signal, name)
platform.system = lambda: "Windows"
from prologue_bench.cli.endings import main
words = sys.argv[1:]
for jobs in ("2", "auto"):
    sys.argv[1:] = [*words, "--jobs", jobs]
    try:
        main()
    except SystemExit as end:
        print("ended with", end.code)
"""
"""The program without what Windows lacks; other libraries are imported before, since they ask for
the system by its name."""


def test_a_run_needs_nothing_that_windows_lacks(smoke_file: Path, tmp_path: Path) -> None:
    where = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "report")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "run", str(smoke_file), *where],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.findall("ended with (.*)", done.stdout) == ["2", "0"], done.stderr
    assert "--jobs 2: found Windows, where stages run one after the other" in done.stderr
    assert "One training seed: no verdict." in done.stdout
    assert not list((tmp_path / "store").rglob("*.lock"))


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


def test_a_warning_of_a_plugin_is_one_line_and_said_once(tmp_path: Path) -> None:
    (tmp_path / "warns.py").write_text(
        "import warnings\n"
        "warnings.simplefilter('always')\n"
        "for _ in range(3):\n"
        "    warnings.warn('soon\\nother \\x1b[31mthings', FutureWarning)\n"
        "from prologue_bench.contracts import hookimpl\n"
        "@hookimpl\n"
        "def prologue_tokenizers():\n"
        "    return []\n"
    )
    told = python("show", "ar", "--plugin", str(tmp_path / "warns.py"))
    assert told.returncode == 0
    assert told.stderr.decode() == (
        "prologue-bench: FutureWarning: soon other \\x1b[31mthings (warns.py:4)\n"
    )
