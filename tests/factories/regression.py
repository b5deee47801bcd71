"""Results and benchmarks that a baseline is held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PROTOCOL = {"name": "fid", "details": {"resize": 64}}


def results(values: dict[str, dict[str, list[float]]], **changes: Any) -> dict[str, Any]:
    """Results of variants and metrics; gfid is better low, probe high, use has no direction."""
    directions = {"gfid": "lower", "probe": "higher", "use": "neutral"}
    runs = [
        {
            "variant": variant,
            "seed": seed,
            "failures": {},
            "stages": [{"stage": "sample", "key": f"{variant}-{seed}"}],
            "measurements": [
                {
                    "name": metric,
                    "title": metric,
                    "value": series[seed],
                    "unit": "",
                    "count": 1,
                    "detail": False,
                    "direction": directions[metric],
                    "protocol": PROTOCOL,
                }
                for metric, series in metrics.items()
            ],
        }
        for variant, metrics in values.items()
        for seed in range(len(next(iter(metrics.values()))))
    ]
    return {
        "schema": 1,
        "name": "study",
        "title": "A study",
        "baseline": None,
        "varied": [],
        "seeds": [0, 1, 2],
        "profile": "micro",
        "created": "2026-01-02T00:00:00",
        "software": {"git": "abc"},
        "variants": [{"name": name} for name in values],
        "runs": runs,
        **changes,
    }


def benchmarks(path: Path, **seconds: tuple[float, float]) -> Path:
    """A file as pytest-benchmark writes it: fastest round and calibration by name."""
    path.write_text(
        json.dumps(
            {
                "benchmarks": [
                    {
                        "name": name,
                        "stats": {"min": fastest, "median": fastest, "iqr": 0.01 * fastest},
                        "extra_info": {"calibration_seconds": kernel},
                    }
                    for name, (fastest, kernel) in seconds.items()
                ]
            }
        )
    )
    return path
