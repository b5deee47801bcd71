"""Which plots a report has, and along which axis."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest

from prologue_bench.reporting.axes import NumericAxis, Tried, numeric_axis
from prologue_bench.reporting.figures import heat_maps, search_plots, token_curves, tradeoffs
from prologue_bench.reporting.plots import curve_plot
from prologue_bench.results.frame import frame
from prologue_bench.results.schema import Columns, Results
from tests.documents import results_of


def variants(**values: dict[str, Any]) -> list[Tried]:
    return [Tried(name, value) for name, value in values.items()]


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
    found = search_plots(results_of(results))
    assert [title for title, _ in found] == ["temperature, scale 1.0", "temperature, scale 2.0"]
    first, second = (shown(spec) for _, spec in found)
    assert len(first) == len(second) == 3 * 2 * 2
    assert set(first[first.chosen == "yes"].place) == {0.5}
    assert set(second.chosen) == {"no"}
    domains = [spec["layer"][1]["encoding"]["y"]["scale"]["domain"] for _, spec in found]
    assert domains == [[0.5, 2.5], [0.5, 2.5]]
    without = {**results, "runs": [{**run, "search": None} for run in runs]}
    assert search_plots(results_of(without)) == []


def along(name: str, positions: list[float], segment: str, **more: Any) -> dict[str, Any]:
    title = f"{name}, {segment}"
    told = {"positions": positions, "positions_of": segment, "unit": "bits"}
    return {"name": f"{name}_{segment}", "title": title, **told, **more}


def two_segments(*seeds: list[dict[str, Any]]) -> Results:
    layout = [{"name": "prologue", "length": 2}, {"name": "visual", "length": 4, "grid": [2, 2]}]
    runs = [
        {"variant": "p", "seed": seed, "measurements": found} for seed, found in enumerate(seeds)
    ]
    return results_of({"variants": [{"name": "p", "layout": layout}], "runs": runs})


def test_numbers_of_tokens_against_others_are_lines_along_the_tokens() -> None:
    def measured(shift: float) -> list[dict[str, Any]]:
        against = {"rate_visual": "Where the bits go", "gone_visual": "Of what is not there"}
        return [
            along("rate", [4 + shift, 3], "prologue"),
            along("rate", [2, 2, 1, 1], "visual"),
            along("entropy", [1 + shift], "visual", against=against),
        ]

    results = two_segments(measured(0), measured(1))
    curves = token_curves(results)
    assert curves.keys() == {"Where the bits go"}
    ((variant, spec),) = curves["Where the bits go"]
    assert variant == "p"
    points = next(each for each in spec["datasets"].values() if "value" in each)
    rows = pd.read_csv(io.StringIO(points))
    assert rows[rows.of == "rate"].token.tolist() == [2, 3, 4, 5], "behind the prologue's two"
    entropy = rows[rows.of == "entropy"]
    assert (entropy.token.tolist(), entropy.value.tolist()) == ([2], [1.5])
    maps = heat_maps(results)
    assert {name: [title for title, _ in of] for name, of in maps.items()} == {
        "rate": ["p, prologue", "p, visual"]
    }
    assert shown(maps["rate"][0][1]).value.tolist() == [4.5, 3]
    assert tradeoffs(frame(results), results) == []


def test_ids_of_several_codebooks_are_no_map_of_the_image() -> None:
    """Those of a place stand one behind the other."""
    maps = heat_maps(two_segments([along("rate", [1, 2, 3, 4, 5, 6, 7, 8], "visual")]))
    cells = shown(maps["rate"][0][1])
    assert set(cells.row) == {0}
    assert cells.column.tolist() == [*range(8)]


def test_a_legend_has_the_variants_that_are_drawn_in_the_colours_of_all() -> None:
    curves: dict[str, list[Columns]] = {
        "a": [{"step": (1.0, 2.0), "loss": (3.0, 2.0)}],
        "b": [{"step": (1.0, 2.0), "other": (3.0, 2.0)}],
    }
    colour = curve_plot(curves, "loss", "Loss")["layer"][0]["encoding"]["color"]
    assert colour["legend"]["values"] == ["a"]
    assert colour["scale"]["domain"] == ["a", "b"]


@pytest.mark.parametrize(
    ("x", "y", "front"),
    [
        ("lower", "lower", [(1, 4), (2, 3)]),
        ("lower", "higher", [(1, 4), (3, 5)]),
        ("higher", "higher", [(3, 5)]),
        ("neutral", "lower", None),
    ],
)
def test_the_front_joins_what_is_better_in_the_directions_of_both(
    x: str, y: str, front: list[tuple[float, float]] | None
) -> None:
    values = {"a": (1, 4), "b": (2, 3), "c": (3, 5)}

    def measured(of: tuple[int, int]) -> list[dict[str, Any]]:
        one = {"name": "x", "value": of[0], "direction": x}
        return [one, {"name": "y", "value": of[1], "direction": y, "against": {"x": "x and y"}}]

    runs = [
        {"variant": name, "seed": seed, "measurements": measured(of)}
        for name, of in values.items()
        for seed in (0, 1)
    ]
    results = results_of({"variants": [{"name": name} for name in values], "runs": runs})
    ((_, spec),) = tradeoffs(frame(results), results)
    found = [
        pd.read_csv(io.StringIO(each))
        for each in spec["datasets"].values()
        if "variant" not in each
    ]
    drawn = [sorted(zip(rows.x, rows.y, strict=True)) for rows in found]
    assert drawn == ([] if front is None else [front])
