"""`validate` tells one mistake of a real run in one line, and refuses nothing that is legal."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from prologue_bench.config.settings import plain_values
from prologue_bench.results.loading import load_results
from prologue_bench.results.merge import merge_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.strict import to_json
from prologue_bench.results.validation import validate
from prologue_plugins.tokenizers.settings import PrologueSettings
from tests.conftest import ROOT

Document = dict[str, Any]
Damage = Callable[[Document], object]
NAMES, SEEDS = ("prologue_tokens=0", "prologue_tokens=4"), (0, 1)
PLACE = "prologue_tokens=4, seed 0"


@functools.cache
def _text() -> str:
    found = json.loads((ROOT / "reports" / "prologue_count" / "results.json").read_text())
    del found["files"]
    found["variants"] = [each for each in found["variants"] if each["name"] in NAMES]
    found["runs"] = [
        {**each, "curves": {}, "inside": {}}
        for each in found["runs"]
        if each["variant"] in NAMES and each["seed"] in SEEDS
    ]
    return json.dumps({**found, "seeds": SEEDS})


def document() -> Document:
    """Two variants with two seeds: a search, sums, entropies, and layouts of two segments."""
    found: Document = json.loads(_text())
    return found


def problems(folder: Path, found: Document) -> list[str]:
    path = folder / "results.json"
    path.write_text(json.dumps(found))
    return list(validate(path).problems)


def run_of(found: Document) -> Document:
    runs: list[Document] = found["runs"]
    (run,) = [each for each in runs if (each["variant"], each["seed"]) == (NAMES[1], 0)]
    return run


def number(found: Document, name: str) -> Document:
    numbers: list[Document] = run_of(found)["measurements"]
    (one,) = [each for each in numbers if each["name"] == name]
    return one


def set_number(metric: str, /, **fields: Any) -> Damage:
    return lambda found: number(found, metric).update(fields)


def set_details(metric: str, count: int | None = None, /, **details: Any) -> Damage:
    def damage(found: Document) -> None:
        one = number(found, metric)
        one["protocol"]["details"].update(details)
        one["count"] = one["count"] if count is None else count

    return damage


def set_settings(section: str, /, **fields: Any) -> Damage:
    return lambda found: found["variants"][1]["settings"][section].update(fields)


def set_layout(segment: str, /, **fields: Any) -> Damage:
    def damage(found: Document) -> None:
        (one,) = [each for each in found["variants"][1]["layout"] if each["name"] == segment]
        one.update(fields)

    return damage


def set_everywhere(metric: str, /, **fields: Any) -> Damage:
    def damage(found: Document) -> None:
        for run in found["runs"]:
            for each in run["measurements"]:
                if each["name"] == metric:
                    each.update(fields)

    return damage


def set_elbo_rate(found: Document) -> None:
    """Another rate, which the ELBO adds up to."""
    rate, elbo = number(found, "elbo_rate"), number(found, "elbo")
    elbo["value"] += 0.25 - rate["value"]
    rate["value"] = 0.25


def set_stages(finished: str, created: str) -> Damage:
    """Another time at which all stages were finished, and the results were written."""

    def damage(found: Document) -> None:
        found["created"] = created
        for run in found["runs"]:
            for stage in run["stages"]:
                stage["finished"] = finished

    return damage


def same_key(found: Document) -> None:
    stages = {each["stage"]: each for each in run_of(found)["stages"]}
    stages["train-generator"]["key"] = stages["train-tokenizer"]["key"]


def choose_worst(**fields: Any) -> Damage:
    """The worst point of a search as the chosen one, and other fields of its points."""

    def damage(found: Document) -> None:
        search = run_of(found)["search"]
        search["chosen"] = max(search["points"], key=lambda each: each["value"])["point"]
        search["points"] = [{**each, **fields} for each in search["points"]]

    return damage


def set_data(**fields: Any) -> Damage:
    return lambda found: found["data"].update(fields)


def set_search(change: Callable[[list[Document], Document], list[Document]]) -> Damage:
    def damage(found: Document) -> None:
        search = run_of(found)["search"]
        search["points"] = change(search["points"], search["chosen"])

    return damage


def without_search_stage(found: Document) -> None:
    run = run_of(found)
    run["stages"] = [stage for stage in run["stages"] if stage["stage"] != "search"]


def of_another_tokenizer(damage: Damage) -> Damage:
    """The layout of a tokenizer of others, whose settings do not tell it."""

    def both(found: Document) -> None:
        found["components"].append(
            {"kind": "tokenizer", "name": "theirs", "version": 1, "origin": "theirs 1.0"}
        )
        for variant in found["variants"]:
            variant["settings"]["tokenizer"] = {"use": "theirs"}
            variant["values"] = {}
        damage(found)

    return both


def all_failed(found: Document) -> None:
    stages = ("train-tokenizer", "encode", "measure rate")
    run_of(found).update(
        failures=dict.fromkeys(stages, "loss is nan"), measurements=[], stages=[], search=None
    )


def set_positions(found: Document, metric: str, first: tuple[float, ...]) -> None:
    """Other values at the first tokens, and their mean."""
    one = number(found, metric)
    one["positions"][: len(first)] = first
    one["value"] = sum(one["positions"]) / len(one["positions"])


MISTAKES: dict[str, tuple[Damage, str]] = {
    "more counted than the protocol's images": (
        set_number("rate", count=20000),
        f"{PLACE}, rate: measured on 20000, more than the 10000 images of the protocol",
    ),
    "more counted than its subset": (
        set_number("attention_8", count=501),
        f"{PLACE}, attention_8: measured on 501, more than the 500 images of the protocol",
    ),
    "more counted than all groups": (
        set_number("layout_pixels_8", count=330),
        f"{PLACE}, layout_pixels_8: measured on 330, more than the 320 samples of the protocol",
    ),
    "more images than the data have": (
        set_details("rate", 12000, images="test split, 12000 images"),
        f"{PLACE}, rate: found 12000 test images in the protocol, expected 10000 as in the data",
    ),
    "a reference of more images than the data have": (
        set_details("gfid", reference="test split, 12000 images"),
        f"{PLACE}, gfid: found 12000 test images in the protocol, expected 10000 as in the data",
    ),
    "more reconstructions than test images": (
        set_details("rfid", 12000, samples=12000),
        f"{PLACE}, rfid: found 12000 test images in the protocol, expected 10000 as in the data",
    ),
    "data of fewer images": (
        set_data(test=9000),
        "prologue_tokens=0, seed 0, rfid and 141 more: found 10000 test images in the protocol, "
        "expected 9000 as in the data",
    ),
    "operations that are not those of the trainings": (
        set_number("training_flops", value=1.0),
        f"{PLACE}, training_flops: found 1, expected 23.6, "
        "the sum of train-tokenizer and train-generator",
    ),
    "a rate per dimension of another size": (
        set_number("rate_prologue_per_dimension", value=0.5),
        f"{PLACE}, rate_prologue_per_dimension: found 0.5, expected 0.007652: rate_prologue over "
        "the 784 dimensions of the data",
    ),
    "a rate of a dimension of nothing": (
        set_number("rate_per_dimension", value=0.0),
        f"{PLACE}, rate_per_dimension: found 0, expected 0.15: rate over "
        "the 784 dimensions of the data",
    ),
    "a segment's rate": (
        set_number("rate_visual", value=90.0),
        f"{PLACE}, rate_visual: found 90, expected the sum or the mean of its positions, "
        "111.6 or 2.278",
    ),
    "attention that is not the mean of its layers": (
        set_number("attention_8", value=0.99),
        f"{PLACE}, attention_8: found 0.99, expected 26.48, the mean of its layers",
    ),
    "a perplexity of more codes than occur": (
        set_number("codebook_perplexity_prologue", value=120.0),
        f"{PLACE}, codebook_perplexity_prologue: found 120, expected at most 10, "
        "the codes that occur by codebook_use_prologue",
    ),
    "a token's perplexity of more codes than occur there": (
        lambda found: set_positions(found, "codebook_perplexity_position_prologue", (11.5, 2.0)),
        f"{PLACE}, codebook_perplexity_position_prologue: token 1: found 11.5, "
        "expected at most 10, the codes that occur by codebook_use_position_prologue",
    ),
    "a token's share of codes": (
        lambda found: number(found, "codebook_use_position_prologue")["positions"].__setitem__(
            2, 90.0
        ),
        f"{PLACE}, codebook_use_position_prologue: found 7.812, expected the sum or the mean of "
        "its positions, 113.4 or 28.36",
    ),
    "attention of one layer": (
        set_number("attention_8_layer_1", value=150.0),
        f"{PLACE}, attention_8_layer_1: found 150 %, expected at most 100: it is a percentage",
    ),
    "no code that occurs": (
        set_number("codebook_use_prologue", value=0.0),
        f"{PLACE}, codebook_perplexity_prologue: found 8.885, expected at most 0, "
        "the codes that occur by codebook_use_prologue",
    ),
    "a token's rate": (
        lambda found: number(found, "rate_visual")["positions"].__setitem__(3, 99.0),
        f"{PLACE}, rate_visual: found 111.6, expected the sum or the mean of its positions, "
        "207.5 or 4.235",
    ),
    "joint bits of more images than were counted": (
        set_number("bits_joint_prologue", value=13.5),
        f"{PLACE}, bits_joint_prologue: found 13.5 bits/image, expected at most 13.29: "
        "frequencies over 10,000 images have no more",
    ),
    "an entropy given other tokens of more images": (
        set_number("conditional_entropy_visual", value=16.0, positions=[]),
        f"{PLACE}, conditional_entropy_visual: found 16 bits/image, expected at most 15.75: "
        "frequencies over 55,000 images have no more",
    ),
    "more images alike than were counted": (
        set_number("conditional_entropy_alike_visual", value=56000.0),
        f"{PLACE}, conditional_entropy_alike_visual: found 56,000 images, "
        "expected at most 55,000: no more images were counted",
    ),
    "a value of others": (
        lambda found: found["variants"][1]["values"].update({"tokenizer.prologue_tokens": 8}),
        "prologue_tokens=4: tokenizer.prologue_tokens: found 8 among its values and 4 in its "
        "settings, expected the same",
    ),
    "a setting of others": (
        set_settings("tokenizer", prologue_tokens=8),
        "prologue_tokens=4: tokenizer.prologue_tokens: found 4 among its values and 8 in its "
        "settings, expected the same",
    ),
    "a setting that cannot be": (
        set_settings("tokenizer", prologue_tokens=-1),
        "prologue_tokens=4: tokenizer.prologue_tokens: must be >= 0: -1",
    ),
    "other samples than were drawn": (
        set_details("gfid", 5000, samples=5000),
        f"{PLACE}, gfid: samples: found 5000 in the protocol, expected the 10000 that are drawn",
    ),
    "a protocol with other sampling": (
        set_details("gfid", **{"sampling.samples": 5000}),
        f"{PLACE}, gfid: sampling.samples: found 5000 in the protocol, "
        "expected 10000 as in the settings",
    ),
    "a protocol with another search": (
        set_details("gfid", **{"sampling.search.metric.use": "kid"}),
        f'{PLACE}, gfid: sampling.search.metric.use: found "kid" in the protocol, '
        'expected "gfid" as in the settings',
    ),
    "a protocol of another draw": (
        set_details("gfid", **{"sampling.seed": 5}),
        f"{PLACE}, gfid: sampling.seed: found 5 in the protocol, expected 0 as in the settings",
    ),
    "sampling of others": (
        lambda found: [
            each["settings"]["sampling"].update(samples=5000) for each in found["variants"]
        ],
        "prologue_tokens=0, seed 0, gfid and 23 more: sampling.samples: found 10000 in the "
        "protocol, expected 5000 as in the settings",
    ),
    "fewer samples of one variant": (
        set_settings("sampling", samples=5000),
        "prologue_tokens=4: sampling.samples: found 5000, expected 10000 as others have: "
        "no variant names it among its values",
    ),
    "a longer training of one variant": (
        set_settings("generator_training", steps=60000),
        "prologue_tokens=4: generator_training.steps: found 60000, expected 6000 as others have: "
        "no variant names it among its values",
    ),
    "segments in another order than by the settings": (
        lambda found: found["variants"][1]["layout"].reverse(),
        "prologue_tokens=4: layout: found visual before prologue, expected prologue before visual "
        "by the tokenizer's settings",
    ),
    "segments in another order than by the numbers": (
        of_another_tokenizer(lambda found: found["variants"][1]["layout"].reverse()),
        "prologue_tokens=4: layout: found prologue last, expected another segment behind it: "
        "bits_joint_prologue is measured of those that others follow",
    ),
    "a token too few": (
        set_layout("visual", length=48),
        "prologue_tokens=4: layout: found 48 tokens with 256 codes of visual, "
        "expected 49 tokens with 256 codes by the tokenizer's settings",
    ),
    "a token too few, of a tokenizer of others": (
        of_another_tokenizer(set_layout("visual", length=48, grid=None)),
        f"{PLACE}, rate_visual and 3 more: found 49 positions, expected at most 48, "
        "the tokens of visual",
    ),
    "codes too few": (
        set_layout("visual", vocabulary=16),
        "prologue_tokens=4: layout: found 49 tokens with 16 codes of visual, "
        "expected 49 tokens with 256 codes by the tokenizer's settings",
    ),
    "a segment of another name": (
        set_layout("visual", name="patches"),
        "prologue_tokens=4: layout: found no tokens of visual, "
        "expected 49 tokens with 256 codes by the tokenizer's settings",
    ),
    "a point twice": (
        set_search(lambda points, _: [*points, points[0]]),
        f'{PLACE}: search: found the point {{"temperature": 0.9}} twice, '
        "expected it once as in the grid of the settings",
    ),
    "a point dropped": (
        set_search(lambda points, _: points[1:]),
        f'{PLACE}: search: found the point {{"temperature": 0.9}} not at all, '
        "expected it once as in the grid of the settings",
    ),
    "the best point dropped": (
        set_search(lambda points, chosen: [each for each in points if each["point"] != chosen]),
        f'{PLACE}: search: found the point {{"temperature": {{"prologue": 0.7, "default": 1.0}}}} '
        "not at all, expected it once as in the grid of the settings",
    ),
    "a point that was not asked for": (
        set_search(lambda points, _: [*points, {**points[0], "point": {"temperature": 3}}]),
        f'{PLACE}: search: found the point {{"temperature": 3}} once, '
        "expected it not at all as in the grid of the settings",
    ),
    "no search": (
        lambda found: run_of(found).update(search=None),
        f"{PLACE}: search: found none, and among the stages one that made it",
    ),
    "a search that nothing made": (
        without_search_stage,
        f"{PLACE}: search: found one, and among the stages none that made it",
    ),
    "a search that was not asked for": (
        set_settings("sampling", search=None),
        f"{PLACE} and 1 more: search: found one, expected none as in the settings",
    ),
    "another grid": (
        lambda found: [
            each["settings"]["sampling"]["search"].update(grid={"temperature": [1.0]})
            for each in found["variants"]
        ],
        'prologue_tokens=0, seed 0 and 3 more: search: found the point {"temperature": 0.9} once, '
        "expected it not at all as in the grid of the settings",
    ),
    "a temperature of no segment": (
        set_settings("sampling", temperature={"prolog": 0.5}),
        "prologue_tokens=4: sampling.temperature: found the segment 'prolog', "
        "expected one that a variant has: visual, prologue",
    ),
    "guidance of no segment": (
        set_settings("sampling", guidance={"prolog": {"scale": 2.0}}),
        "prologue_tokens=4: sampling.guidance: found the segment 'prolog', "
        "expected one that a variant has: visual, prologue",
    ),
    "a number with a width, below what it can be": (
        set_number("rfid", value=-5.0),
        f"{PLACE}, rfid: found −5, expected at least 0: it is a distance",
    ),
    "a sum below what it can be": (
        set_number("rate", value=-1.0),
        f"{PLACE}, rate: found −1 bits/image, expected at least 0: no code has fewer bits than "
        "none",
    ),
    "another protocol in the first run": (
        lambda found: next(
            each for each in found["runs"][0]["measurements"] if each["name"] == "gfid"
        )["protocol"]["details"].update(resize=32),
        "gfid: prologue_tokens=4 and prologue_tokens=0 differ in resize: 64 and 32; "
        "expected one protocol",
    ),
    "another direction of one number": (
        set_number("rfid", direction="higher"),
        f"{PLACE}, rfid: found the direction 'higher', expected 'lower'",
    ),
    "another direction of all numbers of a metric": (
        set_everywhere("rfid", direction="higher"),
        "prologue_tokens=0, seed 0, rfid and 3 more: found the direction 'higher', "
        "expected 'lower'",
    ),
    "a training in no time": (
        set_number("training_seconds", value=0.0),
        f"{PLACE}, training_seconds: found 0 s, expected more than 0: it is an amount of s",
    ),
    "a rate of nothing": (
        set_number("rate", value=0.0),
        f"{PLACE}, rate: found 0, expected 117.6, the sum of rate_prologue and rate_visual",
    ),
    "another rate within the ELBO": (
        set_elbo_rate,
        f"{PLACE}, elbo_rate: found 0.25, expected 0.15 as rate_per_dimension",
    ),
    "a point that cannot come to that": (
        set_search(lambda points, _: [{**points[0], "value": -3.0}, *points[1:]]),
        f'{PLACE}: search: the point {{"temperature": 0.9}}: found −3, expected at least 0: '
        "it is a distance",
    ),
    "points that are better where they are worse": (
        set_search(lambda points, _: [{**each, "direction": "higher"} for each in points]),
        f"{PLACE}: search: found the direction 'higher', expected 'lower' as of gfid",
    ),
    "points that do not say where they are better, and the worst of them": (
        choose_worst(direction=None),
        f"{PLACE}: search.chosen: found the point with 455.8, expected that with 448.9: "
        "lower is better",
    ),
    "points of a metric that was not searched by": (
        choose_worst(metric="PSNR", direction="higher"),
        f"{PLACE}: search: found points of PSNR, expected gFD (EfficientNet-Lite0) by the settings",
    ),
    "points of two metrics": (
        set_search(lambda points, _: [{**points[0], "metric": "KD"}, *points[1:]]),
        f"{PLACE}: search: found points of KD, gFD (EfficientNet-Lite0), expected one metric",
    ),
    "results of tomorrow's tomorrow": (
        lambda found: found.update(created="2999-01-01T00:00:00+00:00"),
        "created 2999-01-01T00:00:00+00:00: expected a time that has passed",
    ),
    "stages that were finished after the results were written": (
        set_stages(finished="2026-11-26T22:00:00+00:00", created="2026-11-20T10:00:00+00:00"),
        "prologue_tokens=0, seed 0, train-tokenizer: finished 2026-11-26T22:00:00+00:00 and 63 "
        "more: expected a time before 2026-11-20T10:00:00+00:00, of the results",
    ),
    "results that were written before their stages": (
        lambda found: found.update(created="2026-11-20T10:00:00+00:00"),
        "prologue_tokens=0, seed 0, train-tokenizer: finished 2026-11-26T21:50:09+00:00 and 63 "
        "more: expected a time before 2026-11-20T10:00:00+00:00, of the results",
    ),
    "results of the last moment of all": (
        lambda found: found.update(created="9999-12-31T23:59:59-14:00"),
        "created 9999-12-31T23:59:59-14:00: expected a time that has passed",
    ),
    "a stage twice": (
        lambda found: run_of(found)["stages"].append(run_of(found)["stages"][-1]),
        f"{PLACE}, picture-attention: found twice with the key eb146be0753d123ff613, "
        "expected it once",
    ),
    "a training twice": (
        lambda found: run_of(found)["stages"].append(run_of(found)["stages"][0]),
        f"{PLACE}, train-tokenizer: found twice with the key 1e9000c3a9cae7e3939b, "
        "expected it once",
    ),
    "one key of two stages": (
        same_key,
        f"{PLACE}, train-generator: found the key 1e9000c3a9cae7e3939b, which train-tokenizer has "
        "too; each stage has its own",
    ),
    "no stages": (
        lambda found: run_of(found).update(stages=[], search=None),
        f"{PLACE}, rfid and 51 more: its artifact is of none of the run's stages",
    ),
    "steps of a curve that go back": (
        lambda found: run_of(found).update(
            curves={"train-tokenizer": {"step": [1, 3, 2], "loss": [3.0, 2.0, 1.0]}}
        ),
        f"{PLACE}, train-tokenizer: found step 3 before step 2, expected steps that rise",
    ),
    "steps of a curve beyond the training": (
        lambda found: run_of(found).update(
            curves={"train-generator": {"step": [1, 9000], "loss": [3.0, 2.0]}}
        ),
        f"{PLACE}, train-generator: found step 9000, expected at most 6000 as in the settings",
    ),
    "steps of a curve before the training": (
        lambda found: run_of(found).update(curves={"train-generator": {"step": [-5, 2]}}),
        f"{PLACE}, train-generator: found step −5, expected steps from 0",
    ),
    "steps inside a training that go back": (
        lambda found: run_of(found).update(inside={"step": [50, 50], "jumps": [0.0, 0.0]}),
        f"{PLACE}, inside: found step 50 before step 50, expected steps that rise",
    ),
    "a sampling seed without runs": (
        lambda found: found.update(sampling_seeds=[0, 5]),
        "prologue_tokens=0 and 1 more: has no run of seeds 0, 1, sampling seed 5",
    ),
    "a seed without runs": (
        lambda found: found.update(seeds=[0, 1, 7]),
        "prologue_tokens=0 and 1 more: has no run of seed 7, sampling seed 0",
    ),
    "a better direction of what has none": (
        set_number("codebook_use_visual", direction="lower"),
        f"{PLACE}, codebook_use_visual: found the direction 'lower', expected 'neutral'",
    ),
    "no number at all": (
        lambda found: [
            each.update(value=None, half_width=None, positions=[], reason="the loss is nan")
            for each in run_of(found)["measurements"]
        ],
        f"{PLACE}: nothing was measured",
    ),
    "a layout without the prologue": (
        lambda found: found["variants"][1]["layout"].pop(0),
        "prologue_tokens=4: layout: found no tokens of prologue, "
        "expected 4 tokens with 128 codes by the tokenizer's settings",
    ),
    "a grid that is left out": (
        set_layout("visual", grid=None),
        "prologue_tokens=4: layout: found no grid of visual, expected a grid of 7 x 7 "
        "by the tokenizer's settings",
    ),
    "another grid that holds the tokens": (
        set_layout("visual", grid=[1, 49]),
        "prologue_tokens=4: layout: found a grid of 1 x 49 of visual, expected a grid of 7 x 7 "
        "by the tokenizer's settings",
    ),
    "a grid of tokens without places": (
        set_layout("prologue", grid=[2, 2]),
        "prologue_tokens=4: layout: found a grid of 2 x 2 of prologue, expected no grid "
        "by the tokenizer's settings",
    ),
    "patches that the images cannot be cut into": (
        set_settings("tokenizer", patch_size=5),
        "prologue_tokens=4: tokenizer.patch_size: found 5, expected a divisor of the images' "
        "28 x 28 pixels",
    ),
    "a stage that failed, and those behind it": (
        all_failed,
        f"{PLACE}: train-tokenizer and 2 more failed: loss is nan",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_is_one_line(name: str, tmp_path: Path) -> None:
    damage, expected = MISTAKES[name]
    found = document()
    damage(found)
    assert problems(tmp_path, found) == [expected]


def test_nothing_is_wrong_before(tmp_path: Path) -> None:
    assert problems(tmp_path, document()) == []


def test_two_mistakes_are_two_lines(tmp_path: Path) -> None:
    found = document()
    set_number("rate", count=20000)(found)
    set_layout("visual", length=48)(found)
    assert len(problems(tmp_path, found)) == 2


def with_values(**values: Any) -> Damage:
    """Values of the second variant beside its own, as an ablation's file may have them."""
    return lambda found: found["variants"][1]["values"].update(
        {name.replace("__", "."): value for name, value in values.items()}
    )


def later(found: Document, run: Document) -> None:
    """A training that was made again after its cost was measured."""
    for stage in run["stages"]:
        if stage["stage"] == "train-generator":
            stage.update(flops=2 * stage["flops"], finished=found["created"])


def without_drawing(found: Document) -> None:
    """Artifacts that measurements were made from are gone."""
    for run in found["runs"]:
        run["search"] = None
        gone = ("search", "sample", "encode", "reconstruct")
        run["stages"] = [each for each in run["stages"] if each["stage"] not in gone]


def of_a_choice(found: Document) -> None:
    """Numbers of some of the samples and of some of the reconstructions."""
    for run in found["runs"]:
        for each in run["measurements"]:
            if each["name"] in ("gfid", "rfid"):
                chosen = "class-balanced subset of 2000 of 10000, seed 0"
                each["count"] = 2000
                each["protocol"]["details"].update(samples=2000, chosen=chosen)


def counted_anew(found: Document) -> None:
    for run in found["runs"]:
        later(found, run)


def integers(found: Document) -> None:
    """1 in the grid where points and protocols have 1.0."""
    for variant in found["variants"]:
        variant["settings"]["sampling"]["search"]["grid"]["temperature"][1] = 1


def rounded(found: Document) -> None:
    """Tokens that say nothing twice."""
    set_number("redundancy_prologue", value=-1e-15)(found)
    set_number("bits_positions_prologue", value=number(found, "bits_joint_prologue")["value"])(
        found
    )


LEGAL: dict[str, Damage] = {
    "a search over other features": set_search(
        lambda points, _: [{**each, "metric": "gFD (Fashion-MNIST CNN)"} for each in points]
    ),
    "a search over Inception's features": set_search(
        lambda points, _: [{**each, "metric": "gFID"} for each in points]
    ),
    "a component by its name": with_values(tokenizer="prologue"),
    "a component with settings": with_values(tokenizer={"use": "prologue", "prologue_tokens": 4}),
    "a part over a whole": with_values(tokenizer={"use": "prologue", "prologue_tokens": 99}),
    "a preset": with_values(tokenizer="prologue-b"),
    "a preset of others": with_values(generator={"use": "of-theirs"}),
    "a recipe": with_values(tokenizer_training__recipe="paper-256"),
    "a whole number for another": with_values(sampling__top_p=1, tokenizer_training__l1_weight=1),
    "defaults": with_values(sampling__guidance={}, sampling__search=None),
    "a joint prior by its name": with_values(tokenizer_training__prior="ar"),
    "a joint prior with settings": lambda found: (
        with_values(tokenizer_training__prior={"use": "ar", "initialisation": "paper"})(found),
        set_settings(
            "tokenizer_training", prior={"use": "ar", "settings": {"initialisation": "paper"}}
        )(found),
    ),
    "losses, one of them by its number": lambda found: (
        with_values(
            tokenizer_training__losses=["patchgan", {"use": "lpips", "weight": 1}],
            tokenizer_training__losses__1__weight=2,
        )(found),
        set_settings(
            "tokenizer_training",
            losses=[
                {"use": "patchgan", "settings": {}},
                {"use": "lpips", "settings": {"weight": 2.0}},
            ],
        )(found),
    ),
    "a setting of a later version": with_values(sampling__of_later=3, of_later__x=3),
    "trainings that were made again": counted_anew,
    "artifacts that are gone": without_drawing,
    "a choice of the images": of_a_choice,
    "whole numbers in a grid": integers,
    "operations that are not known": lambda found: [
        stage.update(flops=None) for stage in run_of(found)["stages"]
    ],
    "entropies that are rounded": rounded,
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_is_not_refused(name: str, tmp_path: Path) -> None:
    found = document()
    LEGAL[name](found)
    assert problems(tmp_path, found) == []


def test_a_tokenizer_of_others_may_turn_its_settings_into_others(tmp_path: Path) -> None:
    found = document()
    of_another_tokenizer(with_values(tokenizer__size="small"))(found)
    found["variants"][1]["settings"]["tokenizer"]["size"] = 64
    assert problems(tmp_path, found) == []


def drawn(seeds: tuple[int, ...]) -> Iterator[Document]:
    """The runs of `document` once for each sampling seed."""
    for seed in seeds:
        for run in document()["runs"]:
            run["sampling_seed"] = seed
            for stage in run["stages"]:
                stage["key"] += f"-{seed}"
            for each in run["measurements"]:
                each["artifact"] += f"-{seed}"
                each["value"] *= 1 + seed / 1e9
                if seed and each["protocol"]["details"].get("sampling.samples"):
                    each["protocol"]["details"]["sampling.seed"] = seed
            yield run


def test_results_that_were_put_together_may_have_other_sampling_seeds(tmp_path: Path) -> None:
    parts = []
    for name, seeds in (("one", ()), ("two", (0, 3))):
        found = document()
        found.update(name=name, sampling_seeds=seeds, runs=list(drawn(seeds or (0,))))
        assert problems(tmp_path, found) == []
        parts.append((load_results(tmp_path), Pictures()))
    merged, _ = merge_results(parts, None)
    document_of_both = json.loads(to_json(merged))
    assert problems(tmp_path, document_of_both) == []
    document_of_both["runs"].pop()
    assert problems(tmp_path, document_of_both) == [
        "two: prologue_tokens=4: has no run of seed 1, sampling seed 3"
    ]


def test_settings_may_have_a_sampling_seed(tmp_path: Path) -> None:
    found = document()
    found.update(sampling_seeds=[], runs=list(drawn((7,))))
    for variant in found["variants"]:
        variant["settings"]["sampling"]["seed"] = 7
    assert problems(tmp_path, found) == []


def test_a_layout_that_settings_give_is_that_of_the_run() -> None:
    """The settings of the fixture are whole, so that layouts are held against them."""
    (variant,) = [each for each in document()["variants"] if each["name"] == NAMES[1]]
    found = deepcopy(variant["settings"]["tokenizer"])
    assert set(plain_values(PrologueSettings())) <= set(found)
