"""The leaderboard: one protocol per table, ranks where intervals do not touch, published apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import evolve

from pages import leaderboard as leaderboard_page
from prologue_bench.registry import Registry
from prologue_bench.reporting.standings import Row, Standings, standings
from prologue_bench.results.schema import Results, StageRecord
from prologue_bench.stats.student import critical
from tests.documents import DATA, MEASUREMENT, SETTINGS, STAGE, results_of

VALUES = {"a": [10.0, 10.1, 10.2], "b": [1.0, 1.1, 1.2]}


def results(
    values: dict[str, list[float]] = VALUES, details: dict[str, Any] | None = None, **more: Any
) -> Results:
    """Results with a metric gfid of variants by seed, and metrics of `others` by their details."""
    others, direction = more.pop("others", {}), more.pop("direction", "lower")
    unit = more.pop("unit", "")
    artifact = more.pop("artifact", "")
    known = {"gfid": {"sampling.samples": 50, **(details or {})}, **others}
    return results_of(
        {
            "runs": [
                {
                    "variant": variant,
                    "seed": seed,
                    "measurements": [
                        {
                            **MEASUREMENT,
                            "name": name,
                            "title": name,
                            "value": value,
                            "unit": unit,
                            "direction": direction,
                            "half_width": 0.25,
                            "artifact": artifact and f"{artifact}{variant}",
                            "protocol": {"name": name, "details": own},
                        }
                        for name, own in known.items()
                    ],
                }
                for variant, by_seed in values.items()
                for seed, value in enumerate(by_seed)
            ],
            "seeds": list(range(max(map(len, values.values())))),
            **more,
        }
    )


def names(table: Standings) -> list[str]:
    return [f"{row.name}: {row.variant.name}" for row in table.rows]


def ranks(rows: tuple[Row, ...]) -> list[str]:
    return ["" if row.rank is None else str(row.rank) for row in rows]


def test_variants_of_several_files_share_a_table_in_the_order_of_their_means() -> None:
    (table,) = standings({"one": results(), "two": results({"c": [5.0, 5.1, 5.2]})})
    assert names(table) == ["one: b", "two: c", "one: a"]
    (table,) = standings({"one": results(direction="higher")})
    assert names(table) == ["one: a", "one: b"]


@pytest.mark.parametrize(
    "other",
    [
        results(details={"resize": 299}),
        results(data={**DATA, "fingerprint": "other"}),
        results(data={**DATA, "shape": [3, 28, 28]}),
        results(data={**DATA, "name": "other"}),
    ],
    ids=["features", "images", "resolution", "data"],
)
def test_other_protocols_data_and_resolutions_have_tables_of_their_own(other: Results) -> None:
    found = standings({"one": results(), "two": other})
    assert sorted(map(names, found)) == [["one: b", "one: a"], ["two: b", "two: a"]]


@pytest.mark.parametrize("another", [{"unit": "per mille"}, {"direction": "higher"}])
def test_other_units_and_directions_have_tables_of_their_own(
    another: dict[str, str], registry: Registry
) -> None:
    found = {"one": results(), "two": results(**another)}
    assert sorted(names(table) for table in standings(found)) == [
        ["one: b", "one: a"],
        ["two: b", "two: a"] if "unit" in another else ["two: a", "two: b"],
    ]
    shown = "unit per mille" if "unit" in another else "better higher"
    assert f"gfid, {shown}\n" in page_of(found, registry)


def test_a_column_has_one_protocol_and_is_empty_elsewhere() -> None:
    one = results(others={"rfid": {"size": 1}, "psnr": {}})
    two = results(others={"rfid": {"size": 2}, "psnr": {}})
    (table,) = standings({"one": one, "two": two})
    heads = [(column.info.name, column.protocol.details) for column in table.columns]
    assert [name for name, _ in heads] == ["gfid", "rfid", "psnr", "rfid"]
    assert [details["size"] for name, details in heads if name == "rfid"] == [1, 2]
    for row in table.rows:
        measured = [
            column.protocol.details.get("size")
            for column in table.columns
            if column.key in row.cells
        ]
        assert {1: "one", 2: "two"}[next(filter(None, measured))] == row.name
        assert len(measured) == 3


def test_what_an_ablation_varies_does_not_part_its_variants() -> None:
    found = results(details={"sampling.guidance.all.scale": 2}, varied=["sampling.guidance"])
    (table,) = standings({"one": found, "two": results()})
    assert len(table.rows) == 4
    assert "sampling.guidance.all.scale" not in table.columns[0].protocol.details


def test_a_row_is_behind_another_where_their_intervals_do_not_touch() -> None:
    width = critical(0.05, 2) * 0.1 / 3**0.5
    for distance, expected in ((2 * width - 0.01, ["1=", "1="]), (2 * width + 0.01, ["1", "2"])):
        values = {"a": [1.0, 1.1, 1.2], "b": [each + distance for each in (1.0, 1.1, 1.2)]}
        (table,) = standings({"one": results(values)})
        assert names(table) == ["one: a", "one: b"]
        assert ranks(table.rows) == expected


@pytest.mark.parametrize(("noise", "most"), [(1, 0.01), (100, 0.05)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_equals_are_put_apart_as_seldom_as_the_page_says(
    noise: float, most: float, seeds: int
) -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(2, 20_000, seeds)) * np.array([1, noise])[:, None, None]
    share = critical(0.05, seeds - 1) / seeds**0.5
    widths = share * (one.std(1, ddof=1) + other.std(1, ddof=1))
    assert np.mean(np.abs(one.mean(1) - other.mean(1)) > widths) < most


def with_keys(found: Results, sampling: dict[str, Any] | None = None) -> Results:
    """Results whose artifacts and trainings are named by their seeds alone."""
    runs = [
        evolve(
            run,
            measurements=[evolve(each, artifact=f"{run.seed}") for each in run.measurements],
            stages=[StageRecord(**{**STAGE, "stage": "train-tokenizer", "key": f"t{run.seed}"})],
        )
        for run in found.runs
    ]
    settings = [evolve(each.settings, sampling=sampling or {}) for each in found.variants]
    variants = [evolve(v, settings=s) for v, s in zip(found.variants, settings, strict=True)]
    return evolve(found, runs=tuple(runs), variants=tuple(variants))


def test_a_model_that_several_files_have_is_one_row_with_all_its_numbers() -> None:
    one = with_keys(results({"c": [5.0, 5.1, 5.2]}, others={"psnr": {}}))
    two = with_keys(results({"d": [5.0, 5.1, 5.2]}, others={"rfid": {}}))
    (table,) = standings({"one": one, "two": two})
    (row,) = table.rows
    assert (names(table), row.also) == (["one: c"], (("two", "d"),))
    assert {name for name, *_ in row.cells} == {"gfid", "psnr", "rfid"}


def test_a_model_with_more_seeds_stands_for_that_with_some_of_them() -> None:
    some = with_keys(results({"c": [5.0, 5.1]}, others={"psnr": {}}))
    more = with_keys(results({"d": [5.0, 5.1, 5.2]}))
    (table,) = standings({"some": some, "more": more})
    (row,) = table.rows
    assert (names(table), row.also) == (["more: d"], (("some", "c"),))
    assert row.cells[table.columns[0].key].seeds == 3
    assert {name for name, *_ in row.cells} == {"gfid"}  # not of all seeds


def test_other_sampling_or_unknown_keys_are_other_rows() -> None:
    one = results({"c": [5.0, 5.1, 5.2]})
    (table,) = standings({"one": one, "two": one})
    assert len(table.rows) == 2
    (table,) = standings({"one": with_keys(one), "two": with_keys(one, {"temperature": 0.9})})
    assert len(table.rows) == 2


def test_one_seed_has_no_rank_and_takes_none_from_others() -> None:
    (table,) = standings({"one": results(), "two": results({"c": [0.5]})})
    assert names(table) == ["one: b", "one: a", "two: c"]
    assert ranks(table.rows) == ["1", "2", ""]


def test_a_frozen_model_is_ranked_by_its_interval_over_images() -> None:
    frozen = results({"c": [5.0, 5.0, 5.0]}, artifact="k")
    (table,) = standings({"one": results(), "two": frozen})
    assert ranks(table.rows) == ["1", "2", "3"]
    assert table.rows[1].cells[table.columns[0].key].half_width == 0.25


def test_results_in_which_nothing_can_be_ranked_have_no_rows() -> None:
    assert standings({"one": results(direction="neutral")}) == []


def page_of(found: dict[str, Results], registry: Registry) -> str:
    return leaderboard_page.page(found, registry)


def test_published_and_measured_rows_never_share_a_table(registry: Registry) -> None:
    page = page_of({"one": results()}, registry)
    measured, published = page.split("\n## Published\n")
    assert "| 1 | `one`: b |" in measured
    assert "titok-l32" not in measured
    assert "Prologue B-B" not in measured
    assert "`one`" not in published
    assert "| Prologue B-B | 115M | 2.24 |" in published
    assert "[`titok-l32`](zoo.md#titok-l32)" in published
    assert "rank |" not in published


def test_published_rows_are_those_of_the_cards(registry: Registry) -> None:
    page = page_of({}, registry)
    rows = [line for line in page.splitlines() if line.startswith("| [`")]
    assert len(rows) > 40
    for row in rows:
        name = row.split("`")[1]
        folder = "generators" if name in registry.cards("generators") else "tokenizers"
        card = registry.cards(folder)[name].read_text()
        numbers = [cell.strip() for cell in row.split("|")[2:-2] if cell.strip()]
        assert numbers
        assert all(f'"{number}"' in card for number in numbers), name


def test_a_measured_row_has_its_protocol_seeds_interval_and_origin(registry: Registry) -> None:
    page = page_of({"one": results(details={"resize": 64}, remarks=["Too small."])}, registry)
    assert "| 1 | `one`: b | 1.10 ± 0.25 | 3 | 4 × 8 | `vq-2d`, `ar` |" in page
    assert "- gfid: gfid, sampling.samples 50; resize 64." in page
    assert "- [`one`](../registry/results/one.json), A study: profile smoke" in page
    assert "training seeds 0-2, 2026-01-02" in page
    assert "\n`one`: Too small.\n" in page


def test_what_metrics_warn_of_stands_below_the_table(registry: Registry) -> None:
    found = results()
    first = found.runs[0]
    warned = evolve(first.measurements[0], warning="one code in use")
    runs = (evolve(first, measurements=(warned,)), *found.runs[1:])
    page = page_of({"one": evolve(found, runs=runs)}, registry)
    assert "Warnings:\n\n- `one`, a: seed 0: one code in use.\n" in page
    assert "Warnings" not in page_of({"one": found}, registry)


def test_tables_of_one_title_are_told_apart_by_what_differs(registry: Registry) -> None:
    found = {"one": results(), "two": results(details={"resize": 299})}
    page = page_of(found, registry)
    heads = [line for line in page.splitlines() if line.startswith("### shapes")]
    assert sorted(heads) == ["### shapes, 14 × 14: gfid", "### shapes, 14 × 14: gfid, resize 299"]
    data = {**DATA, "fingerprint": "other"}
    found = {"one": results(), "two": results(details={"grid": "x" * 99, "of": "other"}, data=data)}
    heads = [line for line in page_of(found, registry).splitlines() if line.startswith("### sh")]
    assert heads == [
        "### shapes, 14 × 14: gfid, data f",
        "### shapes, 14 × 14: gfid, data other, grid",
    ]


def test_a_prologue_of_no_tokens_is_named_as_the_baseline_that_it_is(registry: Registry) -> None:
    def shown(**settings: Any) -> str:
        variants = [
            {
                "name": name,
                "settings": {**SETTINGS, "tokenizer": {"use": "prologue", **settings}},
            }
            for name in VALUES
        ]
        page = page_of({"one": results(variants=variants)}, registry)
        (line,) = (line for line in page.splitlines() if "`one`: b" in line)
        return line.split("|")[-2].strip()

    assert shown(prologue_tokens=0) == "`vq-2d`, `ar`"
    assert shown(prologue_tokens=8) == "`prologue`, `ar`"
    assert shown(prologue_tokens=0, of_another_version=1) == "`prologue`, `ar`"


def test_names_of_others_are_texts_on_the_page(registry: Registry) -> None:
    page = page_of({"one": results({"<b>|": [1.0, 1.1, 1.2]})}, registry)
    assert "<b>" not in page
    assert "&lt;b>\\|" in page


def test_the_page_is_made_from_the_results_that_are_there(registry: Registry) -> None:
    found = leaderboard_page.results_in(leaderboard_page.FOLDER)
    committed = leaderboard_page.PAGE.read_text(encoding="utf-8")
    assert committed == leaderboard_page.page(found, registry), "run python -m pages.leaderboard"
    for name in found:
        assert f"registry/results/{name}.json" in committed


def test_rows_stand_in_the_order_of_their_ranks() -> None:
    noisy = results({"c": [-20.0, 15.0, 60.0]})
    (table,) = standings({"one": results(), "two": noisy})
    assert names(table) == ["one: b", "two: c", "one: a"]
    assert ranks(table.rows) == ["1=", "1=", "2"]
