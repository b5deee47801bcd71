"""Arrows point down: each part of the framework imports only what is below it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "results.loading",
        "results.frame",
        "results.merge",
        "reporting.report",
        "reporting.comparison",
        "regression.render",
    ],
)
def test_results_are_read_without_torch(module: str) -> None:
    heavy = "print([name for name in ('torch', 'mmengine') if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, prologue_bench.{module}; {heavy}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
