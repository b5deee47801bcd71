"""Plugins come in by one door, and a broken one harms nobody."""

from __future__ import annotations

import subprocess
import sys


def test_listing_components_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['prologue-bench', 'list']\n"
        "from prologue_bench.cli.endings import main\n"
        "try: main()\n"
        "finally: print('HEAVY', [m for m in ('torch', 'mmengine', 'pandas', 'numpy') if m in "
        "sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "HEAVY []" in out
    for name in ("vq-2d", "prologue", "ar", "gfid", "fashion-mnist-embedded", "micro"):
        assert name in out
