"""Which plots a report has, and along which axis."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from prologue_bench.reporting.axes import NumericAxis, numeric_axis
from prologue_bench.reporting.figures import search_plots


def variants(**values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "values": value} for name, value in values.items()]


def shown(spec: dict[str, Any]) -> pd.DataFrame:
    """What the points of a plot say."""
    (rows,) = spec["datasets"].values()
    return pd.read_csv(io.StringIO(rows))


def test_one_varied_number_is_one_line() -> None:
    axis = numeric_axis(variants(few={"a.tokens": 0}, many={"a.tokens": 8}), ["a.tokens"])
    assert axis == NumericAxis("a.tokens", {"few": 0, "many": 8}, {"few": "few", "many": "few"})
    assert axis.title == "tokens"


def test_a_varied_number_has_a_line_for_each_choice_of_the_others() -> None:
    named = {
        f"{name}, scale={scale}": {"tokenizer": use, "sampling.scale": scale}
        for name, use in {"2d": "vq-2d", "2d, CE": "vq-2d with CE"}.items()
        for scale in (1.0, 2.0)
    }
    axis = numeric_axis(variants(**named), ["tokenizer", "sampling.scale"])
    assert axis is not None
    assert axis.key == "sampling.scale"
    assert list(axis.lines.values()) == ["2d", "2d", "2d, CE", "2d, CE"]


def test_the_number_with_the_most_values_is_the_axis() -> None:
    grid = {f"a={a}, b={b}": {"a": a, "b": b} for a in (1, 2) for b in (1, 2, 3)}
    axis = numeric_axis(variants(**grid), ["a", "b"])
    assert axis is not None
    assert (axis.key, set(axis.lines.values())) == ("b", {"a=1", "a=2"})


def test_names_switches_and_lone_points_make_no_axis() -> None:
    assert numeric_axis(variants(one={"use": "ar"}, two={"use": "rar"}), ["use"]) is None
    assert numeric_axis(variants(one={"tied": False}, two={"tied": True}), ["tied"]) is None
    assert numeric_axis(variants(one={"n": 1}, two={}), ["n"]) is None
    assert (
        numeric_axis(variants(one={"use": "a", "n": 1}, two={"use": "b", "n": 2}), ["use", "n"])
        is None
    )


def test_a_search_is_drawn_along_its_number_once_for_each_choice_of_the_others() -> None:
    points = [
        {"temperature": t, "guidance.all.scale": s} for t in (0.5, 1.0, 1.5) for s in (1.0, 2.0)
    ]
    runs = [
        {
            "variant": variant,
            "seed": seed,
            "search": {
                "points": [
                    {"point": p, "metric": "gFID", "value": p["temperature"] + seed} for p in points
                ],
                "chosen": points[0],
            },
        }
        for variant in ("2d", "prologue")
        for seed in (0, 1)
    ]
    results = {"variants": [{"name": "2d"}, {"name": "prologue"}], "runs": runs}
    found = search_plots(results)
    assert [title for title, _ in found] == ["temperature, scale 1.0", "temperature, scale 2.0"]
    first, second = (shown(spec) for _, spec in found)
    assert len(first) == len(second) == 3 * 2 * 2
    assert set(first[first.chosen == "yes"].place) == {0.5}
    assert set(second.chosen) == {"no"}
    domains = [spec["layer"][1]["encoding"]["y"]["scale"]["domain"] for _, spec in found]
    assert domains == [[0.5, 2.5], [0.5, 2.5]]
    assert search_plots({**results, "runs": [{**run, "search": None} for run in runs]}) == []
