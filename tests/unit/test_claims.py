"""Claims against made-up results whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from prologue_bench.cli.app import cli
from prologue_bench.stats.differences import Difference, Margin, Point, paired
from prologue_plugins.official import claims
from tests.documents import whole
from tests.factories.claims import examine, results


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {claim.number: claim.verdict for claim in examine(found) if claim.evidence}


WITH = {"use": "prologue", "settings": {"prologue_tokens": 4}}


def test_a_clear_fall_holds_a_clear_rise_contradicts_and_noise_cannot_tell() -> None:
    base = {
        "gfid": [10.0, 11.0, 12.0],
        "rfid": [5.0, 5.1, 5.2],
        "rate": [100.0, 101.0, 102.0],
        "probe_4": [50, 51, 52],
    }
    variant = {
        "gfid": [8.0, 9.1, 9.9],
        "rfid": [5.1, 4.9, 5.3],
        "rate": [105.0, 106.1, 107.0],
        "probe_4": [40, 60, 55],
    }
    found = results({"0": base, "4": variant})  # type: ignore[dict-item]
    assert verdicts(found) == {
        "1a": "holds",
        "1b": "holds",
        "3": "cannot tell",
        "5": "contradicted",
    }


def test_about_equal_needs_a_narrow_interval_and_not_only_no_difference() -> None:
    base = {"rfid": [100.0, 101.0, 102.0]}

    def verdict(other: list[float]) -> str:
        return verdicts(results({"0": base, "4": {"rfid": other}}))["1b"]

    assert verdict([101.0, 102.5, 102.0]) == "holds"
    assert verdict([80.0, 130.0, 105.0]) == "cannot tell", (
        "far from significant, and far from equal"
    )
    assert verdict([150.0, 152.0, 151.0]) == "contradicted"
    assert verdict([105.0, 106.0, 107.1]) == "holds", "significant, and yet within a tenth"


def test_what_is_not_known_of_the_margin_counts_for_and_against_about_equal() -> None:
    def verdict(mean: float) -> str:
        return claims.Evidence(
            metric="rfid",
            variant="4",
            against="0",
            difference=Difference(
                mean=mean,
                half_width=0.03,
                basis="training seeds",
                count=5,
                margin=Margin(0.1, whole=0.1, wider=0.5),
            ),
            reference=1.0,
            expected="equal",
            values=(),
        ).verdict()

    assert (verdict(0.05), verdict(0.06)) == ("holds", "cannot tell"), "0.1 - 0.5 * 0.03 is the end"
    assert (verdict(0.14), verdict(0.15)) == ("cannot tell", "contradicted")


def test_an_effect_is_equivalent_to_none_only_within_a_margin_that_was_stated() -> None:
    base, other = [100.0, 101.0, 102.0], [100.2, 100.9, 101.9]
    found = results({"0": {"rate": base}, "4": {"rate": other}})
    assert verdicts(found)["5"] == "cannot tell", "no margin was stated"
    assert verdicts({**found, "equivalence_margin": 0.05})["5"] == "equivalent"
    assert verdicts({**found, "equivalence_margin": 0.0001})["5"] == "cannot tell"
    far = results({"0": {"rfid": base}, "4": {"rfid": [107.0, 108.1, 109.0]}})
    assert verdicts(far)["1b"] == "holds", "within the tenth of results that state no margin"
    assert verdicts({**far, "equivalence_margin": 0.05})["1b"] == "contradicted"


def test_an_open_claim_says_how_many_seeds_would_settle_it() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(100, 1, 400)
    other = base + rng.normal(-1, 4, 400)

    def of_seeds(count: int) -> claims.Claim:
        values = {"0": {"rate": list(base[:count])}, "4": {"rate": list(other[:count])}}
        (found,) = (
            each
            for each in examine({**results(values), "equivalence_margin": 0.001})
            if each.number == "5"
        )
        return found

    few = of_seeds(40)
    assert few.verdict == "cannot tell"
    needed = few.seeds_to_settle
    assert needed is not None
    (evidence,) = few.evidence
    spread = np.std(other[:40] - base[:40], ddof=1)
    width = stats.t.ppf(0.975, needed - 1) * spread / np.sqrt(needed)
    fewer = stats.t.ppf(0.975, needed - 2) * spread / np.sqrt(needed - 1)
    assert width < abs(evidence.difference.mean) <= fewer
    assert few.verdict_text == f"cannot tell (1 of 1; about {needed} seeds would)"


def test_a_reference_without_a_number_is_named() -> None:
    found = results({"0": {"rate": [1.0, 1.1, 1.2]}, "4": {"gfid": [1.0, 1.1, 1.2]}})
    missing = {claim.number: claim.missing for claim in examine(found)}
    assert missing["1a"] == "0: has no gfid"
    assert missing["1b"] == "these results have no rfid"


def test_settings_are_compared_where_nothing_else_differs() -> None:
    series = {"gfid": [10.0, 11.0, 12.0]}
    found = results(
        {"0": series, "32": {"gfid": [9.0, 9.9, 11.0]}, "128": {"gfid": [8.0, 9.0, 10.1]}},
        **{
            name: {
                "tokenizer": {
                    "use": "prologue",
                    "prologue_tokens": 8,
                    "prologue_codebook": int(name),
                }
            }
            for name in ("32", "128")
        },
    )
    claim = next(
        claim for claim in examine(found) if "codebook size" in claim.text and claim.evidence
    )
    assert [(each.variant, each.against) for each in claim.evidence] == [("128", "32")]
    assert claim.verdict == "holds"


def test_a_prologue_is_held_to_the_baseline_with_its_own_generator() -> None:
    def rates(level: float) -> dict[str, list[float]]:
        return {"rate": [level, level + 1.1, level + 2.3]}

    def generator(layers: int) -> dict[str, Any]:
        return {"use": "ar", "settings": {"layers": layers}}

    found = results(
        {"0": rates(9), "deep": rates(5), "deep with": rates(4), "shallow with": rates(8)},
        **{
            "0": {"generator": generator(1)},
            "deep": {"generator": generator(4)},
            "deep with": {"generator": generator(4), "tokenizer": WITH},
            "shallow with": {"generator": generator(1), "tokenizer": WITH},
        },
    )
    for variant in found["variants"]:
        if "with" not in variant["name"]:
            variant["layout"] = variant["layout"][-1:]
    claim = next(each for each in examine(found) if each.number == "5")
    assert {(each.variant, each.against) for each in claim.evidence} == {
        ("deep with", "deep"),
        ("shallow with", "0"),
    }


def trained(**settings: Any) -> dict[str, Any]:
    """Settings of a variant whose tokenizer is trained so."""
    return {"tokenizer_training": settings}


def without_prologue(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """Results in which these variants have visual tokens alone."""
    for variant in found["variants"]:
        if variant["name"] in names:
            variant["layout"] = variant["layout"][-1:]
    return found


def pairs(found: dict[str, Any], number: str) -> set[tuple[str, str]]:
    claim = next(each for each in examine(found) if each.number == number)
    return {(each.variant, each.against) for each in claim.evidence}


def test_what_a_recipe_gains_is_not_credited_to_the_prologue() -> None:
    found = results(
        {
            "0": {"rfid": [100.0, 101.0, 102.0]},
            "0, perceptual": {"rfid": [50.0, 51.0, 52.1]},
            "4": {"rfid": [100.1, 101.0, 102.2]},
            "4, perceptual": {"rfid": [50.1, 51.2, 52.1]},
        },
        **{
            "0, perceptual": trained(losses=["perceptual"]),
            "4": {"tokenizer": WITH, **trained(losses=[])},
            "4, perceptual": {"tokenizer": WITH, **trained(losses=["perceptual"])},
            "0": trained(losses=[]),
        },
    )
    found = without_prologue(found, "0, perceptual")
    assert pairs(found, "1b") == {("4", "0"), ("4, perceptual", "0, perceptual")}
    assert verdicts(found)["1b"] == "holds"


@pytest.mark.parametrize(
    "another",
    [
        trained(steps=2),
        {"tokenizer": {"use": "prologue", "patch_size": 2}},
        {"generator_training": {"steps": 2}},
        {"sampling": {"top_k": 2}},
    ],
)
def test_a_prologue_without_a_baseline_of_its_recipe_is_left_out(another: dict[str, Any]) -> None:
    tokenizer = {"use": "prologue", "patch_size": 1}
    alike = {
        "tokenizer": tokenizer,
        "tokenizer_training": {"steps": 1},
        "generator_training": {"steps": 1},
        "sampling": {"top_k": 1},
    }
    series = {"rate": [100.0, 101.0, 102.0], "probe_4": [1.0, 2.0, 3.0]}
    found = results(
        {"0": series, "4": series, "4, else": series},
        **{"0": alike, "4": alike, "4, else": {**alike, **another}},
    )
    told = "no baseline is trained and sampled as 4, else"
    for number in ("5", "3"):
        assert pairs(found, number) == {("4", "0")}
    claimed = {claim.number: claim for claim in examine(found)}
    assert (claimed["5"].missing, claimed["3"].missing) == (told, told)
    alone = results(
        {"0": series, "4, else": series}, **{"0": alike, "4, else": {**alike, **another}}
    )
    claimed = {claim.number: claim for claim in examine(alone)}
    assert not claimed["5"].evidence
    assert claimed["5"].missing == told


def test_what_belongs_to_the_prologue_and_how_a_training_runs_is_no_recipe() -> None:
    def of(tokenizer: dict[str, Any], joint: bool = False, **training: Any) -> dict[str, Any]:
        return {
            "tokenizer": {"use": "prologue", **tokenizer},
            "tokenizer_training": training,
            "generator_training": {"joint": joint, "steps": 0 if joint else 1},
        }

    series = {"gfid": [10.0, 11.0, 12.0]}
    found = results(
        {"0": series, "4": series, "one": series},
        **{
            "0": of({"prologue_tokens": 0, "ce_weight": 3.0, "visual_dropout": 0.5}),
            "4": of({"prologue_tokens": 4, "ce_weight": 0.1, "visual_dropout": 1.0}, workers=2),
            "one": of({"prologue_tokens": 4}, joint=True, prior_labels=True),
        },
    )
    assert pairs(found, "1a") == {("4", "0")}
    assert pairs(found, "2b") == {("one", "0")}


def test_an_added_prologue_is_held_to_jointly_trained_ones_of_its_recipe() -> None:
    post = {"tokenizer": {"use": "prologue-post"}}
    series = {"gfid": [10.0, 11.0, 12.0]}
    found = results(
        {"0": series, "4": series, "4, long": series, "post": series, "post, long": series},
        **{
            "0": trained(steps=1),
            "4": trained(steps=1),
            "post": post | trained(steps=1),
            "4, long": trained(steps=2),
            "post, long": post | trained(steps=2),
        },
    )
    assert pairs(found, "2c") == {("post", "4"), ("post, long", "4, long")}


def test_evidence_of_several_results_is_put_together_each_with_its_own_interval() -> None:
    one = results({"0": {"gfid": [10.0, 11.0, 12.0]}, "4": {"gfid": [8.0, 9.1, 9.9]}})
    other = results({"0": {"gfid": [10.5, 11.5, 12.0]}, "4": {"gfid": [9.0, 9.1, 9.9]}})
    alone = [examine(each)[0].evidence[0] for each in (one, other)]
    assert list(examine(one, other)[0].evidence) == alone


def test_the_table_says_what_the_differences_say_that_it_does_not_show() -> None:
    base = {"gfid": [10.0, 11.0, 12.0]}
    clear, noise = {"gfid": [8.0, 9.1, 9.9]}, {"gfid": [9.0, 13.0, 10.0]}

    def others(**variants: dict[str, list[float]]) -> str:
        row = claims.markdown(examine(results({"0": base, **variants}))).splitlines()[2]
        return row.partition("training seeds")[2].partition(")")[2]

    assert others(a=clear) == " | **holds (1 of 1)** |"
    assert others(a=clear, b=noise, c=noise) == "; 2 more cannot tell | **holds (1 of 3)** |"
    assert others(a=clear, b=noise, c=clear, d=clear, e=noise) == (
        "; of 4 others, 2 hold and 2 cannot tell | **holds (3 of 5)** |"
    )


def test_one_seed_cannot_tell_anything() -> None:
    found = results({"0": {"gfid": [10.0], "rfid": [3.0]}, "4": {"gfid": [1.0], "rfid": [3.0]}})
    assert set(verdicts(found).values()) == {"cannot tell"}
    assert [each.verdict_text for each in examine(found) if each.evidence] == [
        "cannot tell (1 of 1)"
    ] * 2


def test_intervals_over_images_alone_say_nothing_of_the_seeds_that_would_settle_a_claim() -> None:
    found = results({"0": {"gfid": [10.0]}, "4": {"gfid": [1.0]}})
    for run in found["runs"]:
        run["measurements"][0]["half_width"] = 0.5
    (claim,) = (each for each in examine(found) if each.evidence)
    assert claim.evidence[0].difference.basis == "images"
    assert claim.verdict_text == "cannot tell (1 of 1)"


def test_special_variants_speak_of_their_own_claims_only() -> None:
    series = {"gfid": [10.0, 11.0, 12.0], "rfid": [5.0, 5.1, 5.2]}
    worse = {"gfid": [10.0, 11.0, 12.0], "rfid": [9.0, 9.15, 9.2]}
    found = results(
        {"0": series, "ce": worse, "post": series},
        ce={"tokenizer": {"use": "prologue", "visual_ce_weight": 3.0}},
        post={"tokenizer": {"use": "prologue-post"}},
    )
    assert verdicts(found)["2a"] == "holds"
    assert "1a" not in verdicts(found)


def test_intervals_and_p_values_are_those_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 6), rng.normal(0, 1, 6)
    found = paired(
        *(
            {(seed, 0): Point(x, "p", None) for seed, x in enumerate(values)}
            for values in (one, other)
        )
    )
    expected = stats.ttest_rel(one, other)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_different_protocols_are_never_subtracted() -> None:
    found = results({"0": {"gfid": [10.0, 11.0]}, "4": {"gfid": [8.0, 9.0]}})
    found["runs"][2]["measurements"][0]["protocol"] = {"name": "another", "details": {}}
    assert verdicts(found) == {}


@pytest.mark.parametrize("another", [{"unit": "bits"}, {"direction": "higher"}])
def test_other_units_and_directions_are_never_subtracted(another: dict[str, str]) -> None:
    found = results({"0": {"gfid": [10.0, 11.0]}, "4": {"gfid": [8.0, 9.0]}})
    found["runs"][2]["measurements"][0].update(another)
    assert verdicts(found) == {}


def test_evidence_names_a_prologue_that_has_collapsed_in_one_of_its_seeds() -> None:
    def evidence(found: dict[str, Any]) -> claims.Claim:
        return next(claim for claim in examine(found) if claim.number == "5")

    found = results({"0": {"rate": [100.0, 101.0, 102.0]}, "4": {"rate": [95.0, 96.1, 97.0]}})
    assert "collapsed" not in str(evidence(found).evidence[0])
    run = next(each for each in found["runs"] if each["variant"] == "4" and each["seed"] == 1)
    run["measurements"][0]["warning"] = "collapsed codebook, prologue carries 0.00 bits per image"
    claim = evidence(found)
    assert "4: prologue collapsed in seed 1" in str(claim.evidence[0])
    assert claims.as_json([claim])[0]["evidence"][0]["collapsed"] == [
        "4: prologue collapsed in seed 1"
    ]
    assert "4: prologue collapsed in seed 1" in claims.markdown([claim])
    found["runs"] = [each for each in found["runs"] if (each["variant"], each["seed"]) != ("0", 1)]
    assert "collapsed" not in str(evidence(found).evidence[0]), "the seed is no part of it"


def test_the_command_prints_each_claim_with_its_evidence(tmp_path: Path) -> None:
    base = {"gfid": [10.0, 11.0, 12.0]}
    (tmp_path / "results.json").write_text(
        json.dumps(whole(results({"0": base, "4": {"gfid": [8.0, 9.1, 9.9]}})))
    )
    shown = CliRunner().invoke(cli, ["claims", str(tmp_path)])
    assert shown.exit_code == 0
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert "1a gFID falls with prologue tokens. holds (1 of 1)" in lines
    assert any(line.startswith("gfid: 4 minus 0 = −2.") for line in lines)
    assert any(line.endswith(" holds") for line in lines), "what each difference says alone"
    assert "5 The rate falls. not tested" in lines
    table = CliRunner().invoke(cli, ["claims", str(tmp_path), "--markdown"]).output
    assert table.splitlines()[2].startswith(
        "| 1a gFID falls with prologue tokens. | gfid: 4 minus 0 = −2."
    )
    assert table.splitlines()[2].endswith("| **holds (1 of 1)** |")
    parsed = json.loads(CliRunner().invoke(cli, ["claims", str(tmp_path), "--json"]).output)
    assert parsed[0]["verdict"] == "holds"
