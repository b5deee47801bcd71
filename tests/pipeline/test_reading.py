"""Files that others wrote are checked on reading, and whatever is wrong with them is one line."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_reading_results_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from prologue_bench.results.documents import "
        "read_results\n"
        "read_results(Path('reports/guidance')); assert 'torch' not in sys.modules and 'pandas' "
        "not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
