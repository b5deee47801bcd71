"""Forest plots: what their axes hold."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pandas as pd
import pytest

from prologue_bench.reporting.axes import in_numeric_order
from prologue_bench.reporting.figures import forest_plots, metric_plots
from prologue_bench.reporting.forest import shared_rows
from prologue_bench.reporting.leaderboard import leaderboard
from prologue_bench.reporting.names import shortest_names
from prologue_bench.reporting.summary import metric_infos
from prologue_bench.results.frame import frame, measured, summary
from prologue_bench.results.loading import load_results
from tests.conftest import ROOT
from tests.documents import loaded, results_of


def rows_of(plot: Any) -> list[dict[str, str]]:
    """All rows that are drawn."""
    return [row for text in plot["datasets"].values() for row in csv.DictReader(io.StringIO(text))]


def forest(
    changes: dict[tuple[str, int], float], seeds: int = 5, warning: str | None = None
) -> Any:
    """The plot of gFD of the published prologue_count, with changes of values by variant, seed."""
    document = loaded(ROOT / "reports" / "prologue_count")
    document["runs"] = [run for run in document["runs"] if run["seed"] < seeds]
    for run in document["runs"]:
        for each in run["measurements"]:
            if each["name"] == "gfid":
                each["value"] += changes.get((run["variant"], run["seed"]), 0.0)
                if warning and run["variant"] != document["baseline"]:
                    each["warning"] = warning
    results = results_of(document)
    metrics = metric_infos(measured(results))
    primary = next(each for each in metrics if each.name == "gfid")
    names = [each.name for each in results.variants]
    plots = forest_plots(primary, metrics, names, summary(results), frame(results), results)
    return plots[0][1]


def domain(plot: Any) -> Any:
    """Of the axis; None where it follows all that is drawn."""
    scales = [layer["encoding"]["x"].get("scale", {}) for layer in plot["layer"]]
    return next((scale["domain"] for scale in scales if "domain" in scale), None)


def test_all_is_drawn_in_its_place_where_no_seed_is_far_from_the_others() -> None:
    plot = forest({})
    assert domain(plot) is None
    assert not [row for row in rows_of(plot) if row.get("told")]


@pytest.mark.parametrize(("by", "edge"), [(4000.0, 1), (-4000.0, 0)])
def test_a_seed_beyond_the_intervals_is_an_arrow_and_stretches_no_axis(
    by: float, edge: int
) -> None:
    outlier = ("prologue_tokens=8", 3)
    plot = forest({outlier: by})
    ends = domain(plot)
    assert ends is not None
    arrows = [row for row in rows_of(plot) if row.get("told")]
    for arrow, who in zip(arrows, ("seed 3", "mean"), strict=True):
        assert float(arrow["place"]) == pytest.approx(ends[edge], rel=1e-4)
        assert abs(float(arrow["value"])) > abs(ends[edge])
        assert arrow["told"].startswith(f"8, {who}: ")
        assert arrow["told"].endswith(", beyond the axis")
    bars = [row for row in rows_of(plot) if "half_width" in row and row.get("low")]
    assert len(bars) == 3
    for row in bars:
        assert ends[0] - 0.01 <= float(row["low"]) <= float(row["high"]) <= ends[1] + 0.01
    assert ends[1] - ends[0] < 250, "as without the outlier, whose difference is in thousands"


def test_arrows_of_seeds_stand_clear_of_the_bar_of_their_variant() -> None:
    plot = forest({("prologue_tokens=8", 3): 4000.0, ("prologue_tokens=8", 2): -900.0})
    rows = {
        name: list(csv.DictReader(io.StringIO(text))) for name, text in plot["datasets"].items()
    }
    arrows = [
        (layer["mark"], rows[layer["data"]["name"]])
        for layer in plot["layer"]
        if str(layer["mark"].get("shape", "")).startswith("triangle")
    ]
    bar = max(layer["mark"].get("strokeWidth", 0) for layer in plot["layer"])
    of_seeds = [mark for mark, of in arrows if of[0]["seed"] != "mean"]
    assert len(of_seeds) == 2
    for mark in of_seeds:
        assert abs(mark["yOffset"]) > math.sqrt(mark["size"]) / 2 + bar / 2
        inwards = 1 if mark["shape"].endswith("left") else -1
        assert inwards * mark["xOffset"] > 0, "all of it is on the axis"


@pytest.mark.parametrize(
    ("report", "order"),
    [
        ("ce_weight", ["weight 0", "weight 1", "weight 3", "weight 10"]),
        ("straight_through", ["softmax 0.03", "softmax 0.1", "softmax 0.3", "plain vq"]),
        ("prologue_count", ["4", "8", "16"]),
        ("tokenizers", ["prologue-post", "prologue", "onestage", "1d", "2d, CE on visual"]),
    ],
)
def test_values_of_one_setting_stand_in_their_order(report: str, order: list[str]) -> None:
    results = load_results(ROOT / "reports" / report)
    metrics = metric_infos(measured(results))
    primary = next(each for each in metrics if each.name == "gfid")
    cells = summary(results)
    board = leaderboard(results, cells, primary, metrics)
    plots = forest_plots(primary, metrics, board.names, cells, frame(results), results)
    orders = [
        layer["encoding"]["y"]["sort"]
        for _, plot in plots[:1]
        for layer in plot["layer"]
        if "sort" in layer["encoding"].get("y", {})
    ]
    assert orders
    assert all(each == order for each in orders)


def test_variants_of_several_settings_stand_by_the_one_that_is_the_axis() -> None:
    results = load_results(ROOT / "reports" / "ar_scale")
    names = [each.name for each in results.variants]
    mixed = [names[index] for index in (5, 1, 3, 0, 2, 4)]
    assert in_numeric_order(mixed, results.variants, results.varied) == [*names[3:], *names[:3]]
    assert in_numeric_order(mixed[:2], results.variants, results.varied) == [names[5], names[1]]


def test_where_all_variants_have_collapsed_the_axis_holds_them() -> None:
    changes = {(f"prologue_tokens={n}", seed): 4000.0 for n in (4, 8, 16) for seed in range(5)}
    plot = forest(changes, warning="all images have the same features")
    assert domain(plot) is None
    assert not [row for row in rows_of(plot) if row.get("told")]


def test_of_three_seeds_none_is_an_outlier_and_the_mean_has_its_place() -> None:
    plot = forest({("prologue_tokens=8", 2): 4000.0}, seeds=3)
    assert domain(plot) is None
    assert not [row for row in rows_of(plot) if row.get("told")]


@pytest.mark.parametrize(
    ("names", "shortest"),
    [
        (["2d, layers=4", "prologue, layers=1"], ["2d, 4", "prologue, 1"]),
        (["tokens=4", "tokens=16"], ["4", "16"]),
        (["tokens=4, weight=1", "tokens=8, weight=1"], ["4, 1", "8, 1"]),
        (["2d", "2d, CE on visual"], ["2d", "2d, CE on visual"]),
        (["2d, scale=1", "2d, layers=1"], ["2d, scale=1", "2d, layers=1"]),
        (["2d, scale=1", "2d, none"], ["2d, scale=1", "2d, none"]),
        (["same", "same=1"], ["same", "same=1"]),
    ],
)
def test_small_plots_leave_out_what_all_names_have(names: list[str], shortest: list[str]) -> None:
    assert list(shortest_names(names).values()) == shortest


def plots_of(report: str) -> dict[str, Any]:
    """The forest plots of a published report by metric, the primary one first."""
    results = load_results(ROOT / "reports" / report)
    metrics = metric_infos(measured(results))
    primary = next(each for each in metrics if each.name == "gfid")
    names = [each.name for each in results.variants]
    plots = forest_plots(primary, metrics, names, summary(results), frame(results), results)
    return {info.name: plot for info, plot in plots}


def row_names(plot: Any) -> list[str]:
    return next(
        layer["encoding"]["y"]["sort"]
        for layer in plot["layer"]
        if "sort" in layer["encoding"].get("y", {})
    )


def test_variants_of_the_same_values_in_every_seed_share_a_row_of_a_small_plot() -> None:
    plots = plots_of("guidance")
    assert len(row_names(plots["gfid"])) == 7
    assert row_names(plots["rfid"]) == ["2d", "prologue"]
    dots = [row for row in rows_of(plots["rfid"]) if row.get("seed")]
    assert {row["variant"] for row in dots} == {"2d", "prologue"}
    assert len(row_names(plots["generation_gap"])) == 7


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"a": 1.0, "b": 1.0, "c": 2.0}, {"a": "a = b", "c": "c"}),
        (
            {"the first one": 1.0, "another one": 1.0, "the one that is alone": 2.0},
            {"the first one": "2 variants", "the one that is alone": "the one that is alone"},
        ),
        ({"2d, n=1": 1.0, "2d, n=2": 1.0, "x, n=1": 2.0}, {"2d, n=1": "2d", "x, n=1": "x, 1"}),
        (
            {"x, n=1": 1.0, "x, n=2": 1.0, "x, n=4": 2.0, "x, n=8": 2.0},
            {"x, n=1": "x, 1 = x, 2", "x, n=4": "x, 4 = x, 8"},
        ),
        (
            {"first, n=1": 1.0, "first, n=2": 1.0, "first, n=4": 2.0, "first, n=8": 2.0},
            {"first, n=1": "first, 1 and 1 more", "first, n=4": "first, 4 and 1 more"},
        ),
        ({"a": 1.0, "b": 1.0 + 1e-15}, {"a": "a", "b": "b"}),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": "all"}),
        ({"a": 1.0}, {"a": "a"}),
    ],
)
def test_a_shared_row_is_named_by_what_its_variants_have_in_common(
    values: dict[str, float], rows: dict[str, str]
) -> None:
    means = pd.DataFrame({name: [value, 3.0] for name, value in values.items()}, index=[0, 1])
    assert shared_rows(means, list(values)) == rows


def test_small_plots_with_something_decided_come_first() -> None:
    assert list(plots_of("prologue_count")) == ["gfid", "rate", "rfid", "training_flops"]
    assert list(plots_of("guidance")) == ["gfid", "rfid", "generation_gap"]


def test_what_does_not_depend_on_what_was_varied_is_a_line_and_no_plot() -> None:
    results = load_results(ROOT / "reports" / "guidance")
    metrics = [each for each in metric_infos(measured(results)) if each.name in ("rfid", "gfid")]
    shown, told = metric_plots(metrics, summary(results), frame(results), results)
    assert [info.name for info, _ in shown] == ["gfid"]
    (line,) = told
    assert line.startswith("rFD (EfficientNet-Lite0): the same for all values of scale (2d 32")


def test_a_metric_of_one_variant_has_a_plot() -> None:
    results = load_results(ROOT / "reports" / "colour_scenes")
    metrics = [each for each in metric_infos(measured(results)) if each.name == "rate_prologue"]
    shown, told = metric_plots(metrics, summary(results), frame(results), results)
    assert len(shown) == 1
    assert told == []
