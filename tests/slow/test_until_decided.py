"""How often seeds that are added until a metric is decided lead to a wrong verdict.

By the code that decides in `run`, verdict by verdict, for normal noise. For all kinds of noise,
tests/unit/test_simulated_looks.py asks a faster copy, and holds that to this code.
"""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np

from tests.conftest import ROOT

SIMULATION: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "until_decided.py"))
ABLATIONS = 2000
WRONG = 0.05


def test_at_most_one_null_ablation_in_twenty_is_called_different() -> None:
    random = np.random.default_rng(1)
    for study in SIMULATION["nulls"]("normal"):
        wrong = 0
        for _ in range(ABLATIONS):
            said, _ = SIMULATION["decide"](study.values(random), SIMULATION["LOOKS"])
            wrong += any(verdict in ("better", "worse") for verdict, _ in said)
        assert wrong <= WRONG * ABLATIONS
