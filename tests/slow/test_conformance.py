"""The contracts of metrics that look at images through windows or networks: seconds for each."""

from __future__ import annotations

import pytest

from prologue_bench.conformance import checks_of
from prologue_bench.registry import Registry


@pytest.mark.parametrize("name", ["rfid", "gfid", "ssim"])
def test_slow_metrics_keep_their_contracts(name: str, registry: Registry) -> None:
    for check in checks_of("metric", name, registry=registry):
        check.run()
