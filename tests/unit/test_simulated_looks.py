"""How often seeds that are added until a metric is decided lead to wrong verdicts, simulated."""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

SIMULATION: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "until_decided.py"))
LOOKS = SIMULATION["LOOKS"]
NOISES = list(SIMULATION["NOISES"])
ABLATIONS = 2000
WRONG = 0.05


@pytest.mark.parametrize("kind", NOISES)
def test_at_most_one_null_ablation_in_twenty_is_called_different(kind: str) -> None:
    for study in SIMULATION["nulls"](kind):
        assert SIMULATION["simulate"](study, ABLATIONS).any_different <= WRONG


@pytest.mark.parametrize("kind", NOISES)
def test_at_most_one_ablation_in_twenty_at_the_margin_is_found_within_it(kind: str) -> None:
    for study in SIMULATION["edges"](kind):
        assert SIMULATION["simulate"](study, ABLATIONS).any_within <= WRONG


@pytest.mark.parametrize("kind", NOISES)
def test_what_is_simulated_is_what_reports_say(kind: str) -> None:
    """Verdict by verdict, and seed by seed, in ablations with and without differences."""
    random = np.random.default_rng(0)
    for study in (*SIMULATION["nulls"](kind), *SIMULATION["edges"](kind)):
        values = np.array([study.values(random) for _ in range(4)])
        different, within, seeds = SIMULATION["decide_all"](values, LOOKS)
        for index, each in enumerate(values):
            said, count = SIMULATION["decide"](each, LOOKS)
            assert count == seeds[index]
            assert [verdict in ("better", "worse") for verdict, _ in said] == list(different[index])
            assert [is_within for _, is_within in said] == list(within[index])
