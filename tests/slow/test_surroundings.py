"""The program in odd surroundings.

Users without a home, terminals without Unicode, launchers' variables.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


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
