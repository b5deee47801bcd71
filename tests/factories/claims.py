"""Results of the variants that claims are about."""

from __future__ import annotations

from typing import Any

PROTOCOL = {"name": "p", "details": {}}


def results(
    values: dict[str, dict[str, list[float]]], **settings: dict[str, Any]
) -> dict[str, Any]:
    """Results with a baseline "0" and prologue variants named by their lengths."""
    variants, runs = [], []
    for name, metrics in values.items():
        layout = [{"name": "visual", "length": 9}]
        if name != "0":
            layout.insert(0, {"name": "prologue", "length": 4})
        own = {"tokenizer": {"use": "prologue"}, "generator_training": {}, **settings.get(name, {})}
        variants.append({"name": name, "layout": layout, "settings": own})
        for seed in range(len(next(iter(metrics.values())))):
            runs.append(
                {
                    "variant": name,
                    "seed": seed,
                    "measurements": [
                        {
                            "name": metric,
                            "title": metric,
                            "value": series[seed],
                            "unit": "",
                            "direction": "lower",
                            "count": 1,
                            "protocol": PROTOCOL,
                        }
                        for metric, series in metrics.items()
                    ],
                }
            )
    return {"schema": 1, "baseline": "0", "variants": variants, "runs": runs, "varied": []}
