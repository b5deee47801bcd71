"""Does a component keep its contract? The checks behind `prologue-bench check-plugin`, also for a plugin's own tests:

from prologue_bench.conformance import checks_of

@pytest.mark.parametrize("check", checks_of("tokenizer", "mine", {"width": 32}), ids=lambda check: check.name)
def test_contract(check):
    check.run()
"""

from __future__ import annotations

from prologue_bench.conformance.checks import Broken, Check, Skipped, checks_of

__all__ = ["Broken", "Check", "Skipped", "checks_of"]
