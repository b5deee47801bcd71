"""The numbers of a report, against computations by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from scipy import stats

from prologue_bench.reporting.comparison import compare_results
from prologue_bench.results.frame import measured
from prologue_bench.results.protocols import conflicts, protocol_hash
from prologue_bench.results.schema import ProtocolRecord
from prologue_bench.stats.differences import summarise
from tests.documents import results_of
from tests.factories.verdicts import rows


def test_differences_are_paired_by_seed() -> None:
    base, other = [10.0, 20.0, 30.0], [9.0, 18.5, 29.1]
    cell = summarise(rows({"base": base, "other": other}), "base")["other"]["m"]
    test = stats.ttest_rel(other, base)
    low, high = test.confidence_interval(0.95)
    assert cell.mean == pytest.approx(np.mean(other))
    assert cell.spread == pytest.approx(np.std(other, ddof=1))
    assert cell.difference is not None
    assert cell.difference.mean == pytest.approx((low + high) / 2)
    assert cell.difference.half_width == pytest.approx((high - low) / 2)
    assert cell.half_width == pytest.approx(
        stats.t(2).ppf(0.975) * np.std(other, ddof=1) / math.sqrt(3)
    )
    assert (cell.verdict == "better") == (test.pvalue < 0.05)


@pytest.mark.parametrize(
    ("direction", "shift", "verdict"),
    [
        ("lower", -5, "better"),
        ("lower", 5, "worse"),
        ("higher", 5, "better"),
        ("higher", -5, "worse"),
        ("neutral", 5, ""),
    ],
)
def test_the_verdict_follows_the_direction(direction: str, shift: float, verdict: str) -> None:
    frame = rows(
        {"base": [1.0, 2.0, 3.0], "other": [1.0 + shift, 2.1 + shift, 3.0 + shift]}, direction
    )
    assert summarise(frame, "base")["other"]["m"].verdict == verdict


def test_what_the_seeds_cannot_tell_is_noise_and_one_seed_tells_nothing() -> None:
    noise = summarise(rows({"base": [1.0, 2.0, 3.0], "other": [2.0, 1.0, 3.1]}), "base")["other"][
        "m"
    ]
    assert noise.verdict == "noise"
    one = summarise(rows({"base": [1.0], "other": [2.0]}), "base")["other"]["m"]
    assert (one.verdict, one.spread, one.half_width) == ("unknown", None, None)
    assert one.difference is not None
    assert (one.difference.mean, one.difference.half_width, one.difference.basis) == (1.0, None, "")


def test_numbers_of_different_protocols_are_not_subtracted() -> None:
    cells = summarise(rows({"base": [1.0, 2.0], "other": [1.0, 2.0]}, protocol=lambda v: v), "base")
    assert cells["other"]["m"].difference is None
    assert cells["other"]["m"].conflict == "protocol"
    a, b = (ProtocolRecord(name="fid", details={"resize": size}, note="x") for size in (64, 224))
    assert protocol_hash(a) != protocol_hash(b)
    assert protocol_hash(a) == protocol_hash(evolve(a, note="y"))


def test_a_missing_seed_leaves_the_pairs_that_are_there() -> None:
    frame = rows({"base": [1.0, 2.0, 3.0], "other": [0.5, 1.4]})
    cell = summarise(frame, "base")["other"]["m"]
    assert cell.seeds == 2
    assert cell.difference is not None
    assert cell.difference.mean == pytest.approx(-0.55)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        base = rng.normal(size=4)
        other = base + 1.0 + rng.normal(size=4)
        cell = summarise(rows({"base": list(base), "other": list(other)}), "base")["other"]["m"]
        assert cell.difference is not None
        assert cell.difference.half_width is not None
        hits += abs(cell.difference.mean - 1.0) <= cell.difference.half_width
    error = 3 * math.sqrt(0.95 * 0.05 / 400)
    assert abs(hits / 400 - 0.95) < error


def test_one_seed_falls_back_on_sampling_seeds_and_then_on_images() -> None:
    frame = rows({"base": [1.0, 1.2, 1.1], "other": [2.0, 2.3, 2.0]})
    sampled = [evolve(each, sampling_seed=each.seed, seed=0) for each in frame]
    cell = summarise(sampled, "base")["other"]["m"]
    expected = stats.ttest_rel([2.0, 2.3, 2.0], [1.0, 1.2, 1.1])
    assert cell.difference is not None
    assert (cell.difference.basis, cell.difference.count) == ("sampling seeds", 3)
    assert cell.difference.p_value == pytest.approx(expected.pvalue)
    assert cell.spread is None
    assert cell.sampling_spread == pytest.approx(np.std([2.0, 2.3, 2.0], ddof=1))
    first, second = rows({"base": [1.0], "other": [2.0]})
    images = [evolve(first, half_width=0.3), evolve(second, half_width=0.4)]
    cell = summarise(images, "base")["other"]["m"]
    assert cell.difference is not None
    assert (cell.difference.basis, cell.difference.half_width) == ("images", pytest.approx(0.5))
    assert cell.difference.p_value == pytest.approx(2 * stats.norm.sf(1.96 * 1.0 / 0.5), rel=1e-3)
    assert cell.verdict == "unknown", "the noise of training is not in an interval over images"


def test_sampling_seeds_are_averaged_before_training_seeds_are_compared() -> None:
    base = rows({"base": [10.0, 20.0], "other": [9.0, 18.0]})
    again = [evolve(each, sampling_seed=1, value=each.value + 1) for each in base]
    cell = summarise([*base, *again], "base")["other"]["m"]
    assert cell.difference is not None
    assert (cell.difference.basis, cell.difference.count, cell.difference.mean) == (
        "training seeds",
        2,
        -1.5,
    )
    assert cell.seeds == 2
    assert cell.mean == pytest.approx(14.0)


def test_many_variants_make_chance_findings_insignificant() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=4)
    lucky = base + np.array([1.0, 1.1, 0.4, 0.5])
    alone = summarise(rows({"base": list(base), "lucky": list(lucky)}), "base")["lucky"]["m"]
    others = {f"v{index}": list(base + rng.normal(size=4)) for index in range(9)}
    among = summarise(rows({"base": list(base), "lucky": list(lucky), **others}), "base")["lucky"][
        "m"
    ]
    assert (alone.verdict, among.verdict) == ("worse", "noise")


def test_what_is_the_same_difference_is_tested_once() -> None:
    base, other, third = [1.0, 2.0, 3.0, 4.0], [1.5, 2.9, 3.4, 4.1], [2.0, 2.2, 3.9, 4.4]
    alone = summarise(rows({"base": base, "other": other}), "base")["other"]["m"].difference
    copies = {"base": base, "other": other, "its copy": other, "base's copy": base}
    cells = summarise(rows(copies), "base")
    for name in ("other", "its copy"):
        assert cells[name]["m"].difference == alone
    assert cells["base's copy"]["m"].verdict == "same"
    two = summarise(rows({**copies, "third": third}), "base")
    apart = summarise(rows({"base": base, "other": other, "third": third}), "base")
    assert two["third"]["m"].difference == apart["third"]["m"].difference
    assert apart["third"]["m"].difference.family == 2  # type: ignore[union-attr]
    # Of other seeds, equal numbers are another difference.
    some = summarise(rows({"base": base, "other": other, "third": other[:3]}), "base")
    assert some["other"]["m"].difference.family == 2  # type: ignore[union-attr]


def test_a_report_names_the_fields_in_which_protocols_differ() -> None:
    def run(variant: str, **details: Any) -> dict[str, Any]:
        protocol = {
            "name": "fid",
            "details": {"resize": 64, "sampling.temperature": 1.0, **details},
        }
        return {
            "variant": variant,
            "seed": 0,
            "measurements": [{"name": "gfid", "title": "gFID", "protocol": protocol}],
        }

    results = {"baseline": "base", "varied": [], "variants": [{"name": "base"}, {"name": "other"}]}
    other = run("other", resize=224, **{"sampling.temperature": 0.9})
    assert conflicts(results_of({**results, "runs": [run("base"), other]})) == [
        "gFID: other and base are not compared, their protocols differ in resize: 224 and 64; "
        "sampling.temperature: 0.9 and 1.0."
    ]
    varied = {**results, "varied": ["sampling.temperature"]}
    runs = [run("base"), run("other", **{"sampling.temperature": 0.9})]
    assert conflicts(results_of({**varied, "runs": runs})) == []


@pytest.mark.parametrize("field", [{"unit": "ms"}, {"direction": "higher"}])
def test_numbers_in_other_units_or_directions_are_not_compared(field: dict[str, str]) -> None:
    def run(variant: str, seed: int, **more: str) -> dict[str, Any]:
        number = {"name": "speed", "title": "Speed", "unit": "s", "direction": "lower"}
        return {"variant": variant, "seed": seed, "measurements": [{**number, **more}]}

    variants = [{"name": "base"}, {"name": "other"}]
    same = {"baseline": "base", "variants": variants}
    runs = [run("base", 0), run("base", 1)]
    mixed = results_of({**same, "runs": [*runs, run("other", 0), run("other", 1, **field)]})
    ((name, value),) = field.items()
    before = run("base", 0)["measurements"][0][name]
    assert conflicts(mixed) == [
        f"Speed: other and base are not compared, they differ in {name}: {value} and {before}."
    ]
    cell = summarise(measured(mixed), "base")["other"]["speed"]
    assert cell.difference is None
    assert cell.conflict == name
    whole = results_of({**same, "runs": [*runs, run("other", 0), run("other", 1)]})
    assert summarise(measured(whole), "base")["other"]["speed"].difference is not None
    (compared,) = compare_results(whole, mixed)
    assert compared.conflict == (f"{name}: {before} and {value}",)


def test_spread_over_classes_takes_them_in_turn() -> None:
    from prologue_bench.pipeline.pictures import spread_over_classes

    labels = np.array([0, 0, 1, 2, 1, 2, 0])
    chosen = labels[spread_over_classes(labels, 6)]
    assert chosen.tolist() == [0, 1, 2, 0, 1, 2]
    assert len(set(spread_over_classes(labels, 99).tolist())) == len(labels)
    assert all(a != b for a, b in itertools.pairwise(chosen))
