"""How networks start.

`paper` as in the paper's implementation, all of it together, and `open` with open gates.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_the_command_of_the_docs_prints_what_a_start_does_to_the_prologue() -> None:
    command = [
        sys.executable,
        "benchmarks/first_steps.py",
        "--initialisation",
        "paper",
        "--steps",
        "1",
    ]
    assert " ".join(command[1:4]) in (ROOT / "docs" / "paper.md").read_text()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert rows[0] == ["step", "codes in use", "codes per position", "bits", "L1"]
    assert rows[2][2:4] == ["1.0", "0.0"]  # at first the same for all images, whatever the position
    assert int(rows[2][1]) > 4
    assert [row[0] for row in rows[2:]] == ["0", "1"]
