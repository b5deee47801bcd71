"""`validate` finds whatever is wrong with results, and says all of it."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.config.settings import plain_values
from prologue_bench.registry import Registry
from prologue_bench.reporting.extracts import extract, shown_metrics, to_text
from prologue_bench.results.integrity import contents_of
from prologue_bench.results.loading import load_results
from prologue_bench.results.ranges import BETTER, KNOWN
from prologue_bench.results.validation import validate
from prologue_plugins.tokenizers.settings import PrologueSettings, Vq2dSettings
from tests.conftest import ROOT
from tests.documents import MEASUREMENT, STAGE, results_of, whole

REPORTS = sorted(path.parent for path in ROOT.glob("reports/*/results.json"))
ROWS = sorted(ROOT.glob("registry/results/*.json"))
Damage = Callable[[dict[str, Any]], object]


PROTOCOLS = {
    "gfid": "frechet-distance",
    "rate": "rate",
    "probe": "linear-probe",
    "use": "codebook",
    "perplexity": "codebook",
}


def measured(name: str, value: float, artifact: str, **more: Any) -> dict[str, Any]:
    protocol = {"name": PROTOCOLS[name], "details": {"samples": 50, "resize": 64}}
    return {
        **MEASUREMENT,
        "name": name,
        "title": name,
        "value": value,
        "direction": BETTER[PROTOCOLS[name]],
        "count": 50,
        "protocol": protocol,
        "artifact": artifact,
        **more,
    }


def run_of(variant: str, seed: int) -> dict[str, Any]:
    key, shift = f"{variant}{seed}", seed + (variant == "b") / 2
    return {
        "variant": variant,
        "seed": seed,
        "stages": [{"stage": "measure", "key": key}, {"stage": "train-tokenizer", "key": "t"}],
        "measurements": [
            measured("gfid", 10 + shift, key, half_width=0.5),
            measured("rate", 9 + shift, key, unit="bits/image"),
            measured("probe", 50 + shift, key, unit="%", half_width=1.0),
            measured("use", 90.0, key, unit="%"),
            measured("perplexity", 7.5, key, unit="codes", detail=True, positions=[7.0, 8.0]),
        ],
        "curves": {"train-tokenizer": {"step": [1, 2], "loss": [1.0, 0.5]}},
    }


def document() -> dict[str, Any]:
    """Results with nothing wrong: variants a and b, seeds 0, 1 and 2, a layout of 12 bits."""
    runs = [run_of(variant, seed) for variant in "ab" for seed in range(3)]
    return deepcopy(whole({"runs": runs, "seeds": [0, 1, 2], "baseline": "a"}))


def number(found: dict[str, Any], name: str, run: int = 0) -> dict[str, Any]:
    """One measurement of one run, to be changed."""
    (one,) = [each for each in found["runs"][run]["measurements"] if each["name"] == name]
    return one


def written(folder: Path, found: object) -> Path:
    path = folder / "results.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


def problems(folder: Path, found: object) -> list[str]:
    return list(validate(written(folder, found)).problems)


def test_nothing_is_wrong_with_whole_results(tmp_path: Path) -> None:
    assert problems(tmp_path, document()) == []
    told = CliRunner().invoke(cli, ["validate", str(tmp_path)])
    assert told.exit_code == 0
    assert told.output == (
        f"{tmp_path}/results.json: nothing is wrong: 2 variants, 3 training seeds, "
        "30 numbers with their protocols\n"
    )


def set_number(name: str, run: int = 0, /, **fields: Any) -> Damage:
    return lambda found: number(found, name, run).update(fields)


def set_protocol(metric: str, run: int = 0, /, **fields: Any) -> Damage:
    return lambda found: number(found, metric, run)["protocol"].update(fields)


def measured_by(protocol: str, value: float) -> Damage:
    details = {"samples": 50}
    return set_number("use", value=value, unit="", protocol={"name": protocol, "details": details})


def set_settings(section: str, **fields: Any) -> Damage:
    return lambda found: found["variants"][0]["settings"].update({section: fields})


def measured_as(name: str, protocol: str, **fields: Any) -> dict[str, Any]:
    """A number of run 0 that is not among those of `document`."""
    details = {"samples": 50}
    return {
        **measured("use", 1.0, "a0"),
        "name": name,
        "unit": "",
        "protocol": {"name": protocol, "details": details},
        "direction": BETTER.get(protocol, "neutral"),
        **fields,
    }


def of_two_segments(name: str, protocol: str, **fields: Any) -> Damage:
    """Variant a gets a prologue of 2 tokens of 4 codes, and run 0 a number of it."""

    def damage(found: dict[str, Any]) -> None:
        prologue = {"name": "prologue", "length": 2, "vocabulary": 4, "grid": None}
        found["variants"][0]["layout"].insert(0, prologue)
        visual = measured_as("rate_visual", "rate", unit="bits/image", value=9.0)
        found["runs"][0]["measurements"] += [measured_as(name, protocol, **fields), visual]

    return damage


def searched(chosen: dict[str, Any]) -> Damage:
    points = [
        {"point": {"temperature": tried}, "metric": "gfid", "value": value, "direction": "lower"}
        for tried, value in ((0.9, 5.0), (1.0, 6.0))
    ]

    def damage(found: dict[str, Any]) -> None:
        found["runs"][0]["search"] = {"points": points, "chosen": chosen}
        found["runs"][0]["stages"].append({**STAGE, "stage": "search"})

    return damage


def tokenized(settings: Vq2dSettings | PrologueSettings, use: str) -> Damage:
    return set_settings("tokenizer", use=use, **plain_values(settings))


def set_run(run: int, **fields: Any) -> Damage:
    return lambda found: found["runs"][run].update(fields)


def without_number(name: str, run: int) -> Damage:
    return lambda found: found["runs"][run]["measurements"].remove(number(found, name, run))


def copied(found: dict[str, Any]) -> None:
    for own, other in zip(
        found["runs"][1]["measurements"], found["runs"][0]["measurements"], strict=True
    ):
        own["value"] = other["value"]


DAMAGE: dict[str, tuple[Damage, str]] = {
    "a field is missing": (lambda found: found.pop("title"), "title: missing"),
    "a later version": (lambda found: found.update(schema=99), "written by a later version"),
    "another kind of value": (
        set_number("gfid", value="10"),
        "runs[0].measurements[0].value: found '10', expected a number or null",
    ),
    "a number that is not finite": (
        set_number("gfid", value=float("nan")),
        "runs[0].measurements[0].value: found nan, expected a finite number",
    ),
    "a half width below zero": (set_number("gfid", half_width=-1.0), "expected at least 0"),
    "a count below zero": (set_number("gfid", count=-1), "expected at least 0"),
    "no data": (lambda found: found.pop("data"), "data: missing"),
    "a run twice": (
        lambda found: found["runs"].append(deepcopy(found["runs"][0])),
        "runs[6]: a second run of 'a', seed 0, sampling seed 0",
    ),
    "an unknown variant": (set_run(0, variant="c"), "found 'c', which is no variant"),
    "a failed run": (
        set_run(1, failures={"sample": "out of memory"}),
        "a, seed 1: sample failed: out of memory",
    ),
    "an unfinished run": (set_run(1, unfinished=True), "a, seed 1: is unfinished"),
    "a run without numbers": (set_run(1, measurements=[]), "a, seed 1: nothing was measured"),
    "a seed twice": (lambda found: found.update(seeds=[0, 1, 2, 1]), "seeds: found 1 twice"),
    "a sampling seed twice": (
        lambda found: found.update(sampling_seeds=[0, 0]),
        "sampling_seeds: found 0 twice",
    ),
    "a run is missing": (
        lambda found: found["runs"].pop(5),
        "b: has no run of seed 2, sampling seed 0",
    ),
    "a run of another seed": (
        set_run(5, seed=7),
        "b: has a run of seed 7, sampling seed 0, not asked for",
    ),
    "a copied run": (copied, "a, seed 1: has the numbers of seed 0, sampling seed 0, to the last"),
    "no name of a protocol": (set_protocol("use", name=""), "a, seed 0, use: found no protocol"),
    "no details of a protocol": (set_protocol("use", details={}), "use: found no protocol"),
    "published, with a note how it differs": (
        set_protocol("use", counterpart="FID", published=True, note="128 pixels"),
        "use: its protocol must say either that it is published FID, or in a note how it differs",
    ),
    "another protocol in one variant": (
        set_protocol("gfid", 3, details={"samples": 50, "resize": 299}),
        "gfid: a and b differ in resize: 64 and 299; expected one protocol",
    ),
    "another protocol with one seed": (
        set_protocol("gfid", 1, details={"samples": 50}),
        "gfid: a differs over seeds in resize: 64 and none",
    ),
    "another unit": (set_number("gfid", 3, unit="FID"), "a and b differ in unit: none and FID"),
    "another direction": (
        set_number("gfid", 3, direction="higher"),
        "b, seed 0, gfid: found the direction 'higher', expected 'lower'",
    ),
    "fewer images": (
        lambda found: [
            set_number("gfid", 3, count=40)(found),
            set_protocol("gfid", 3, details={"samples": 40, "resize": 64})(found),
        ],
        "a and b differ in count: 50 and 40; samples: 50 and 40",
    ),
    "fewer counted than drawn": (
        set_number("gfid", 3, count=40),
        "b, seed 0, gfid: measured on 40, fewer than the 50 samples of the protocol",
    ),
    "a number is missing with one seed": (
        without_number("rate", 2),
        "a, rate: not measured with seed 2, but with others",
    ),
    "above a hundred percent": (
        set_number("probe", value=100.5),
        "a, seed 0, probe: found 100.5 %, expected at most 100: it is a percentage",
    ),
    "below zero percent": (set_number("probe", value=-3.0), "found −3 %, expected at least 0"),
    "a token above a hundred percent": (
        set_number("use", positions=[50.0, 101.0]),
        "use: found 101 % at token 1, expected at most 100",
    ),
    "far more bits than a guess takes": (
        set_number("rate", value=25.5),
        "a, seed 0, rate: found 25.5 bits/image, expected at most 25.36: "
        "2 times the 12.68 that a guess among all codes takes",
    ),
    "more bits than the layout holds": (
        set_number(
            "rate",
            value=12.5,
            protocol={"name": "token-entropy", "details": {"images": "50"}},
        ),
        "a, seed 0, rate: found 12.5 bits/image, expected at most 12: the tokens can hold no more",
    ),
    "fewer bits than none": (set_number("rate", value=-1.0), "bits/image, expected at least 0"),
    "more codes than there are": (
        set_number("perplexity", value=9.0),
        "perplexity: found 9 codes, expected at most 8",
    ),
    "time below zero": (set_number("use", unit="s", value=-1.0), "found −1 s, expected at least 0"),
    "more than all of a variance": (
        set_number("use", unit="R²", value=1.5),
        "found 1.5 R², expected at most 1",
    ),
    "fewer bits than none, and why": (
        set_number("rate", value=-1.0),
        "expected at least 0: no code has fewer bits than none",
    ),
    "a distance below zero": (
        measured_by("frechet-distance", -5.0),
        "a, seed 0, use: found −5, expected at least 0: it is a distance",
    ),
    "a distance of samples from reconstructions below zero": (
        measured_by("generation-gap", -5.0),
        "use: found −5, expected at least 0: it is a distance",
    ),
    "more precise than all": (
        measured_by("precision-recall", 1.2),
        "use: found 1.2, expected at most 1: it is a share of the images",
    ),
    "more alike than equal": (
        measured_by("layout-persistence, pixels", 2.1),
        "use: found 2.1, expected at most 2: images are no more alike than equal",
    ),
    "a score below that of one image": (
        measured_by("inception-score", 0.5),
        "use: found 0.5, expected at least 1",
    ),
    "a margin of a hundred": (
        lambda found: found.update(equivalence_margin=100.0),
        "equivalence_margin: found 100, expected more than 0 and less than 1: it is a share",
    ),
    "a margin of nothing": (
        lambda found: found.update(equivalence_margin=0.0),
        "equivalence_margin: found 0, expected more than 0",
    ),
    "a share above one": (
        set_settings("tokenizer_training", label_dropout=1.5),
        "a: tokenizer_training.label_dropout: must be from 0 to 1: 1.5",
    ),
    "a training of no steps": (
        set_settings("generator_training", steps=0),
        "a: generator_training.steps: must be > 0: 0",
    ),
    "a temperature below zero": (
        set_settings("sampling", temperature={"visual": -1.0}),
        "a: sampling.temperature: must be > 0: -1.0",
    ),
    "a temperature of nothing, in a protocol": (
        set_protocol("use", details={"samples": 50, "sampling.temperature": 0.0}),
        "a, seed 0, use: its protocol: sampling.temperature: must be > 0: 0.0",
    ),
    "a guidance below zero, in a protocol": (
        set_protocol("use", details={"samples": 50, "sampling.guidance.all.scale": -2.0}),
        "use: its protocol: sampling.guidance.all.scale: must be >= 0: -2.0",
    ),
    "no samples, in a protocol": (
        set_protocol("use", details={"samples": 50, "sampling.samples": 0}),
        "use: its protocol: sampling.samples: must be > 0: 0",
    ),
    "a number that is a section too, in a protocol": (
        set_protocol(
            "use", details={"sampling.temperature": 2.0, "sampling.temperature.visual": 1.0}
        ),
        "its protocol: sampling.temperature.visual: found a value, and values below or above",
    ),
    "a section that is a number too, in a protocol": (
        set_protocol(
            "use", details={"sampling.temperature.visual": 1.0, "sampling.temperature": 2.0}
        ),
        "its protocol: sampling.temperature: found a value, and values below or above",
    ),
    "images of no samples": (
        set_protocol("use", details={"samples": 0}),
        "use: its protocol: samples: found 0, expected at least 1",
    ),
    "nothing counted": (set_number("use", count=0), "use: counted 0, expected 1 or more"),
    "more counted than drawn": (
        set_number("use", count=51),
        "use: measured on 51, more than the 50 samples of the protocol",
    ),
    "an interval wider than what is possible": (
        set_number("probe", half_width=150.0),
        "probe: found ± 150, wider than all that is possible, 0 to 100",
    ),
    "an interval over one image": (
        set_number("use", count=1, half_width=1.0),
        "use: found an interval over images, which one alone does not have",
    ),
    "no number and no reason": (
        set_number("use", value=None),
        "use: found null without a reason",
    ),
    "an artifact of no stage": (
        set_number("use", artifact="gone"),
        "a, seed 0, use: its artifact is of none of the run's stages",
    ),
    "no checksum of a remote's artifact": (
        lambda found: found.update(remotes=[{"url": "s3://b", "artifacts": {"k": "abc"}}]),
        "remote s3://b, artifact k: found 'abc', expected a SHA-256",
    ),
    "a perplexity below that of one code": (
        set_number("perplexity", value=0.5, positions=[]),
        "perplexity: found 0.5 codes, expected at least 1: one code alone counts as 1",
    ),
    "more codes than the number's own segment has": (
        of_two_segments("perplexity_prologue", "codebook", unit="codes", value=6.0),
        "perplexity_prologue: found 6 codes, expected at most 4: the codebook has no more codes",
    ),
    "more joint bits than a segment can hold": (
        of_two_segments("bits_joint_prologue", "token-entropy", unit="bits/image", value=4.5),
        "bits_joint_prologue: found 4.5 bits/image, expected at most 4: the tokens can hold",
    ),
    "a rate that is not that of its segments": (
        of_two_segments("rate_prologue", "rate", unit="bits/image", value=3.0),
        "a, seed 0, rate: found 9, expected 12, the sum of rate_prologue and rate_visual",
    ),
    "a bound whose parts miss it": (
        lambda found: found["runs"][0]["measurements"].extend(
            measured_as(name, "elbo", value=value)
            for name, value in (("elbo", 5.0), ("elbo_distortion", 4.0), ("elbo_rate", 0.5))
        ),
        "elbo: found 5, expected 4.5, the sum of elbo_distortion and elbo_rate",
    ),
    "tokens that do not come to their number": (
        set_number("rate", positions=[1.0, 1.0, 1.0, 1.0], positions_of="visual"),
        "rate: found 9, expected the sum or the mean of its positions, 4 or 1",
    ),
    "more positions than tokens": (
        set_number("use", positions=[90.0] * 5),
        "use: found 5 positions, expected at most 4, the tokens of the layout",
    ),
    "positions of no segment": (
        set_number("use", positions=[90.0], positions_of="prologue"),
        "use: found positions of 'prologue', expected one of visual, the segments of the layout",
    ),
    "an interval without end, below which nothing is": (
        set_number("gfid", half_width=1e9),
        "gfid: found ± 1,000,000,000, expected at most 100 times the number",
    ),
    "two segments of one name": (
        lambda found: found["variants"][0]["layout"].append(found["variants"][0]["layout"][0]),
        "variants[0].layout[1].name: found 'visual' twice, expected it once",
    ),
    "a grid that does not hold its tokens": (
        lambda found: found["variants"][0]["layout"][0].update(grid=[3, 2]),
        "a: layout: found a grid of 3 x 2 for 4 tokens of visual, expected as many for each place",
    ),
    "a layout of other settings": (
        tokenized(Vq2dSettings(patch_size=7, visual_codebook=16), "vq-2d"),
        "a: layout: found 4 tokens with 8 codes of visual, expected 4 tokens with 16 codes by the",
    ),
    "a layout without the prologue of its settings": (
        tokenized(PrologueSettings(patch_size=7, visual_codebook=8, prologue_tokens=2), "prologue"),
        "a: layout: found no tokens of prologue, expected 2 tokens with 1024 codes by the",
    ),
    "tokens below zero": (
        set_settings("tokenizer", use="prologue", prologue_tokens=-4),
        "a: tokenizer.prologue_tokens: must be >= 0: -4",
    ),
    "a generator without layers": (
        set_settings("generator", use="ar", transformer={"layers": 0}),
        "a: generator.transformer.layers: must be >= 1: 0",
    ),
    "a joint prior without layers": (
        set_settings(
            "tokenizer_training",
            prior={"use": "ar", "settings": {"transformer": {"layers": 0}}},
        ),
        "a: tokenizer_training.prior.transformer.layers: must be >= 1: 0",
    ),
    "a learning rate below zero": (
        set_settings("tokenizer_training", autoencoder={"learning_rate": -0.1}),
        "a: tokenizer_training.autoencoder.learning_rate: must be > 0: -0.1",
    ),
    "a loss of a weight below zero": (
        set_settings("tokenizer_training", losses=[{"use": "lpips", "settings": {"weight": -1}}]),
        "a: tokenizer_training.losses[0].weight: must be >= 0: -1.0",
    ),
    "a search of a temperature of nothing": (
        set_settings("sampling", search={"grid": {"temperature": [1.0, 0.0]}}),
        "a: sampling.search.grid.temperature: must be > 0: 0.0",
    ),
    "settings that were not tried": (
        searched({"temperature": 0.8}),
        "a, seed 0: search.chosen: found settings that are none of the points that were tried",
    ),
    "settings that were not the best": (
        searched({"temperature": 1.0}),
        "a, seed 0: search.chosen: found the point with 6, expected that with 5: lower is better",
    ),
    "a day that is none": (
        lambda found: found.update(created="yesterday"),
        "created: found 'yesterday', expected a time such as 2026-01-31T12:00:00+00:00",
    ),
    "a stage that was finished at no time": (
        lambda found: found["runs"][0]["stages"][0].update(finished="soon"),
        "a, seed 0, measure: finished: found 'soon', expected a time such as",
    ),
    "no artifact, where others have one": (
        set_number("use", artifact=""),
        "a, seed 0, use: found no artifact, and others of the run have one",
    ),
    "a share of infinity by name": (
        lambda found: found["runs"][0]["measurements"].append(
            measured_as("use_infinity", "codebook", value=150.0, unit="%")
        ),
        "use_infinity: found 150 %, expected at most 100",
    ),
    "a name of many lines, in a message": (
        set_protocol("gfid", 3, name="x\ny" * 1000),
        "a and b differ in name: frechet-distance and x",
    ),
    "a name that no file can have": (
        lambda found: found.update(files={"x" * 300: "0" * 63}),
        "expected a SHA-256",
    ),
    "a file outside the folder": (
        lambda found: found.update(files={"../secret": "0" * 64}),
        "files: found '../secret', expected the name of a file in the report's folder",
    ),
    "no checksum of a file": (
        lambda found: found.update(files={"report.html": "abc"}),
        "files: report.html: found 'abc', expected a SHA-256",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_each_kind_of_damage_is_found(name: str, tmp_path: Path) -> None:
    damage, expected = DAMAGE[name]
    found = document()
    damage(found)
    told = problems(tmp_path, found)
    assert any(expected in each for each in told), told
    assert all("\n" not in each for each in told)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "found no JSON at line 1"),
        ('{"schema": 1, "schema": 1}', "the name 'schema' occurs twice"),
        ("[]", "found another format, expected results of schema 1"),
    ],
)
def test_what_are_no_results_is_one_line(content: str, expected: str, tmp_path: Path) -> None:
    (told,) = problems(tmp_path, content)
    assert expected in told
    assert str(tmp_path) not in told


def test_all_that_is_wrong_is_told_each_on_its_line(tmp_path: Path) -> None:
    found = document()
    found["seeds"] = [0, 1, 2, 2]
    number(found, "probe")["value"] = 101.0
    number(found, "probe", 4)["value"] = 102.0
    number(found, "rate", 1)["protocol"]["details"]["labels"] = "none"
    assert len(problems(tmp_path, found)) == 4
    told = CliRunner().invoke(cli, ["validate", str(tmp_path)])
    assert len(told.output.splitlines()) == 4
    assert told.exit_code == 1
    assert "must not be relied on" in str(told.exception)


def test_all_mistakes_of_form_are_told(tmp_path: Path) -> None:
    found = document()
    del found["title"]
    found["runs"][1]["seed"] = -1
    number(found, "gfid", 2)["count"] = "many"
    assert problems(tmp_path, found) == [
        "title: missing",
        "runs[1].seed: found -1, expected at least 0",
        "runs[2].measurements[0].count: found 'many', expected a whole number",
    ]


def test_a_thousand_mistakes_are_a_hundred_lines(tmp_path: Path) -> None:
    found = document()
    found["runs"][0]["curves"]["train-tokenizer"]["step"] = ["x"] * 1000
    told = problems(tmp_path, found)
    assert len(told) == 101
    assert told[-1] == "more may be wrong: only 100 mistakes are told"


def test_what_an_ablation_varies_and_details_may_differ(tmp_path: Path) -> None:
    found = document()
    for run in range(3, 6):
        number(found, "gfid", run)["protocol"]["details"]["sampling.temperature"] = 0.9
        number(found, "perplexity", run)["protocol"]["details"]["codes"] = 16
        number(found, "use", run)["protocol"]["details"]["codes"] = 16
    assert problems(tmp_path, found) == [
        "gfid: a and b differ in sampling.temperature: none and 0.9; expected one protocol"
    ]
    found["varied"] = ["sampling.temperature"]
    assert problems(tmp_path, found) == []


def test_an_extrapolated_distance_and_one_that_is_rounded_may_be_below_zero(tmp_path: Path) -> None:
    found = document()
    for run in found["runs"]:
        use = next(each for each in run["measurements"] if each["name"] == "use")
        protocol = {"name": "frechet-distance", "details": {"samples": 50}}
        use.update(unit="", protocol=protocol, value=-1e-6, direction="lower")
        run["measurements"].append({**use, "name": "use_infinity", "value": -3.0})
    assert problems(tmp_path, found) == []


def test_runs_without_numbers_are_no_copies(tmp_path: Path) -> None:
    found = document()
    for run in found["runs"]:
        for each in run["measurements"]:
            each.update(value=None, half_width=None, positions=[], reason="the loss is nan")
    assert not any("to the last digit" in each for each in problems(tmp_path, found))


@pytest.mark.parametrize("unit", ["dB", "bits/dim"])
def test_what_others_measure_may_be_below_zero(unit: str, tmp_path: Path) -> None:
    found = document()
    for run in found["runs"]:
        use = next(each for each in run["measurements"] if each["name"] == "use")
        protocol = {"name": "signal-to-noise, or a density", "details": {"samples": 50}}
        use.update(unit=unit, protocol=protocol, value=-3.0)
    assert problems(tmp_path, found) == []


LEGAL: dict[str, dict[str, Any]] = {
    "a change in percent": {"unit": "%", "value": -20.0, "positions": [-40.0, 140.0]},
    "seconds that were gained": {"unit": "s", "value": -1.5, "half_width": 1e6},
    "codes of another book": {"unit": "codes", "value": 900.0},
    "bits of another code": {"unit": "bits/image", "value": 5000.0},
    "all samples, and none of some parts": {
        "protocol": {
            "name": "theirs",
            "details": {"samples": -1, "resize": 0, "splits": 0, "sampling.temperature": 0.0},
        }
    },
    "a number named as one of ours": {"name": "rate_visual", "value": 2.0},
    "a similarity in decibels": {
        "unit": "dB",
        "value": 14.2,
        "protocol": {"name": "ssim", "details": {"images": "50"}},
    },
    "a density": {
        "unit": "nats/dim",
        "value": -3.4,
        "protocol": {"name": "elbo", "details": {"images": "50"}},
    },
    "a generator that is worse than a guess": {
        "unit": "bits/image",
        "value": 20.0,
        "protocol": {"name": "rate", "details": {"images": "50"}},
    },
    "images of a few groups": {
        "unit": "",
        "value": 1.6,
        "protocol": {"name": "layout-persistence, pixels", "details": {"groups_per_class": 2}},
    },
}


@pytest.mark.parametrize("name", LEGAL)
def test_numbers_of_protocols_that_are_not_ours_are_not_judged(name: str, tmp_path: Path) -> None:
    found = document()
    for run in found["runs"]:
        (use,) = [each for each in run["measurements"] if each["name"] == "use"]
        theirs = {"name": "theirs", "details": {"samples": -1}}
        use.update({"name": "own", "protocol": theirs, **LEGAL[name]})
        use["direction"] = BETTER.get(use["protocol"]["name"].partition(",")[0], "neutral")
    assert problems(tmp_path, found) == []


@pytest.mark.parametrize(
    ("metric", "stage", "theirs"),
    [
        (
            "masked-psnr",
            None,
            {
                **{"name": "masked_psnr_face", "unit": "dB", "value": -1.2},
                "protocol": {"name": "psnr, masked", "details": {"images": "50"}},
            },
        ),
        (
            "odd-metric",
            "measure odd-metric",
            {
                **{"name": "fd_mine", "unit": "", "value": -1.0},
                "protocol": {
                    "name": "frechet-distance",
                    "details": {"groups_per_class": 0, "samples": 1},
                },
            },
        ),
    ],
    ids=["by its name", "by the stage that measured it"],
)
def test_numbers_of_others_metrics_are_not_judged_by_the_name_of_their_protocol(
    metric: str, stage: str | None, theirs: dict[str, Any], tmp_path: Path
) -> None:
    found = document()
    for run in found["runs"]:
        (use,) = [each for each in run["measurements"] if each["name"] == "use"]
        (measured,) = [each for each in run["stages"] if each["key"] == use["artifact"]]
        measured["stage"] = stage or measured["stage"]
        use.update(theirs)
    assert problems(tmp_path, found)
    origin = {"kind": "metric", "name": metric, "version": 1, "origin": "theirs 1.0"}
    found["components"] = [origin]
    assert problems(tmp_path, found) == []


def test_seeds_that_are_only_begun_are_unfinished_and_nothing_else(tmp_path: Path) -> None:
    found = document()
    for run in found["runs"]:
        if run["seed"] == found["seeds"][-1]:
            run.update(unfinished=True, measurements=[], search=None)
    found["seeds"] = found["seeds"][:-1]
    told = problems(tmp_path, found)
    assert told
    assert all("is unfinished" in each for each in told)


def test_runs_of_several_sampling_seeds_have_one_protocol(tmp_path: Path) -> None:
    found = document()
    again = deepcopy(found["runs"])
    for run in again:
        run["sampling_seed"] = 1
        for stage in run["stages"]:
            stage["key"] += "'"
        for each in run["measurements"]:
            each["protocol"] = deepcopy(each["protocol"])
            each["protocol"]["details"]["sampling.seed"] = 1
            each["artifact"] += "'"
            each["value"] += 0.01
            each["positions"] = []
    found.update(runs=[*found["runs"], *again], sampling_seeds=[0, 1])
    assert problems(tmp_path, found) == []


def test_every_protocol_of_this_project_is_known() -> None:
    text = "".join(
        path.read_text()
        for folder in ("metrics", "losses")
        for path in (ROOT / "plugins" / "prologue_plugins" / folder).glob("*.py")
    )
    named = set(re.findall(r'(?:Procedure\(|compared\()\s*(?:name=)?f?"([a-z-]+)', text))
    assert len(named) > 12
    assert named <= set(KNOWN)


@pytest.mark.parametrize(
    "fields",
    [
        {"losses": 3},
        {"losses": [{"use": []}]},
        {"prior": {"use": "ar", "settings": 3}},
        {"prior": {"use": ["ar"]}},
        {"autoencoder": []},
    ],
)
def test_settings_of_another_kind_are_a_line_each(fields: dict[str, Any], tmp_path: Path) -> None:
    found = document()
    set_settings("tokenizer_training", **fields)(found)
    (name,) = fields
    assert any(
        each.startswith(f"a: tokenizer_training.{name}") for each in problems(tmp_path, found)
    )
    set_settings("sampling", search=[])(found)
    assert any(each.startswith("a: sampling.search") for each in problems(tmp_path, found))


def test_settings_are_checked_without_torch() -> None:
    settings = {
        (kind, entry.component.settings)
        for kind, entry in Registry.load()
        if entry.component.is_own and kind in ("tokenizer", "generator", "loss", "metric")
    }
    assert len(settings) > 20
    heavy = set()
    for _, reference in settings:
        source = Path(importlib.import_module(reference.partition(":")[0]).__file__ or "")
        if re.search(r"^(import|from) (torch|mmengine)", source.read_text(), re.MULTILINE):
            heavy.add(reference)
    assert heavy == set()


def test_a_component_of_others_has_settings_of_its_own(tmp_path: Path) -> None:
    found = document()
    set_settings("tokenizer", use="prologue", prologue_tokens=-4)(found)
    theirs = {"kind": "tokenizer", "name": "prologue", "version": 1, "origin": "theirs 2.0"}
    found["components"] = [theirs]
    assert problems(tmp_path, found) == []


def test_settings_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    found = document()
    set_settings("sampling", temperature=1.0, of_a_later_version=-1)(found)
    set_settings("tokenizer_training", autoencoder={"of_a_later_version": -1})(found)
    assert problems(tmp_path, found) == []


def test_a_frozen_tokenizer_has_one_measurement_for_all_seeds(tmp_path: Path) -> None:
    found = document()
    copied(found)
    found["runs"][1]["stages"] = found["runs"][0]["stages"]
    for own in found["runs"][1]["measurements"]:
        own["artifact"] = "a0"
    assert problems(tmp_path, found) == []


def test_files_beside_results_are_as_these_say_or_none_is_there(tmp_path: Path) -> None:
    contents = {"report.html": b"page", "assets/a.png": b"picture"}
    found = document()
    found["files"] = {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}
    assert problems(tmp_path, found) == []  # the results alone
    (tmp_path / "assets").mkdir()
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert problems(tmp_path, found) == []
    assert "2 files as their SHA-256 says" in validate(tmp_path).summary
    (tmp_path / "report.html").write_bytes(b"another")
    (tmp_path / "assets" / "a.png").unlink()
    assert problems(tmp_path, found) == [
        "files: report.html was changed: it has another SHA-256 than the report says",
        "files: assets/a.png is missing, and other files of the report are there",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("variant,seed\n", "results.csv: found no column metric, sampling_seed, value, half_width"),
        (None, "results.csv: found 2 numbers, expected 985 as in the results"),
    ],
)
def test_a_csv_of_another_form_is_told(tmp_path: Path, text: str | None, problem: str) -> None:
    report = ROOT / "reports" / "prologue_count"
    document = json.loads((report / "results.json").read_text())
    del document["files"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    lines = (report / "results.csv").read_text().splitlines(keepends=True)
    (tmp_path / "results.csv").write_text("".join(lines[:3]) if text is None else text)
    (found,) = validate(tmp_path).problems
    assert found.startswith(problem)


def test_a_file_that_is_not_there_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["validate", str(tmp_path / "none.json")])
    assert told.exception is not None
    assert told.exception.exit_code == 2  # type: ignore[attr-defined]
    assert "no results" in str(told.exception)


def test_several_files_are_all_checked(tmp_path: Path) -> None:
    paths = []
    for name, seeds in (("good", [0, 1, 2]), ("bad", [0, 1, 2, 2])):
        (tmp_path / name).mkdir()
        paths.append(str(written(tmp_path / name, {**document(), "seeds": seeds})))
    told = CliRunner().invoke(cli, ["validate", *reversed(paths)])
    first, second = told.output.splitlines()
    assert "found 2 twice" in first
    assert "nothing is wrong" in second
    assert "1 of 2 files" in str(told.exception)


def made(folder: Path, *more: str) -> Any:
    command = ["validate", str(folder), "--extract", str(folder / "row.json"), *more]
    return CliRunner().invoke(cli, command)


def test_an_extract_is_results_with_what_a_leaderboard_shows(tmp_path: Path) -> None:
    path = written(tmp_path, {**document(), "primary": "rate", "leaderboard": ["probe"]})
    assert made(tmp_path).exit_code == 0
    row = tmp_path / "row.json"
    assert validate(row).problems == ()
    assert "an extract as it was made" in validate(row).summary
    found, results = load_results(row), load_results(path)
    assert found.extract is not None
    assert found.extract.of == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {each.name for run in found.runs for each in run.measurements} == {"rate", "probe"}
    values = {(run.place, each.name): each.value for run in found.runs for each in run.measurements}
    for run in results.runs:
        for each in run.measurements:
            assert values.get((run.place, each.name), each.value) == each.value
    for run in found.runs:
        assert not run.curves
        assert {stage.stage for stage in run.stages} == {"measure", "train-tokenizer"}
    assert row.stat().st_size < path.stat().st_size
    assert [info.name for info in shown_metrics(found)] == ["rate", "probe"]


def test_an_extract_keeps_what_warns(tmp_path: Path) -> None:
    found = document()
    found["leaderboard"] = ["rate"]
    number(found, "probe", 4)["warning"] = "one code in use"
    written(tmp_path, found)
    assert made(tmp_path).exit_code == 0
    assert validate(tmp_path / "row.json").problems == ()
    runs = load_results(tmp_path / "row.json").runs
    told = [each.warning for run in runs for each in run.measurements if each.warning]
    assert told == ["one code in use"]


def test_an_extract_that_was_changed_is_found(tmp_path: Path) -> None:
    written(tmp_path, document())
    made(tmp_path)
    row = json.loads((tmp_path / "row.json").read_text())
    row["runs"][0]["measurements"][0]["value"] -= 0.25
    assert problems(tmp_path, row) == [
        "changed since it was made: its contents have another SHA-256 than extract.contents; "
        "make it again with 'prologue-bench validate --extract'"
    ]
    row["extract"]["contents"] = contents_of(row)
    assert problems(tmp_path, row) == []


def test_no_extract_is_made_of_what_is_wrong_or_in_place_of_another_file(tmp_path: Path) -> None:
    written(tmp_path, {**document(), "seeds": [0, 1, 2, 2]})
    assert made(tmp_path).exit_code == 1
    assert not (tmp_path / "row.json").exists()
    written(tmp_path, document())
    (tmp_path / "row.json").write_text("mine")
    assert "is no extract of study" in str(made(tmp_path).exception)
    assert (tmp_path / "row.json").read_text() == "mine"
    assert made(tmp_path, "--force").exit_code == 0
    assert made(tmp_path).exit_code == 0  # an earlier one makes room
    written(tmp_path, {**document(), "name": "other"})
    assert "is no extract of other" in str(made(tmp_path).exception)


def test_nothing_to_rank_by_makes_no_extract(tmp_path: Path) -> None:
    found = document()
    for run in found["runs"]:
        run["measurements"] = [
            each for each in run["measurements"] if each["direction"] == "neutral"
        ]
    written(tmp_path, found)
    assert "found nothing to rank by" in str(made(tmp_path).exception)


def test_the_text_of_an_extract_is_its_document() -> None:
    found = extract(results_of(document()), b"", Path("results.json"))
    text = to_text(found)
    assert json.loads(text) == found
    lines = [each.strip().removesuffix(",") for each in text.splitlines()]
    numbers = [json.loads(each) for each in lines if each.startswith('{"name": "gfid"')]
    assert [each["value"] for each in numbers] == [10.0, 11.0, 12.0, 10.5, 11.5, 12.5]
