"""Pictures for data sources, and the contract that each of them keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from prologue_bench.conformance import Skipped, checks_of
from prologue_bench.registry import Registry

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)) for _ in range(12)]
REGISTRY = Registry.load()


def keeps_its_contract(name: str, settings: Mapping[str, Any]) -> None:
    checks = checks_of("data", name, settings, registry=REGISTRY)
    assert len(checks) >= 7
    for check in checks:
        with contextlib.suppress(Skipped):
            check.run()
