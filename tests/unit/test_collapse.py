"""Collapsed codebooks are findings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from prologue_bench.cli.app import cli
from prologue_bench.contracts import Measurement, Procedure, Segment
from prologue_bench.reporting.report import render_html
from prologue_bench.reporting.summary import warnings
from prologue_bench.reporting.tables import render_latex, render_markdown
from prologue_bench.results.loading import load_results
from prologue_bench.results.migration import fill_in_warnings
from prologue_bench.stats.collapse import collapse_warning
from prologue_plugins.metrics.codebook import collapse_of, use_and_perplexity
from tests.conftest import OLD_REPORTS
from tests.documents import loaded, results_of
from tests.factories.verdicts import PICTURES

RNG = np.random.default_rng(0)


def warning(ids: NDArray[Any], codes: int) -> str:
    return collapse_of(
        ids, Segment("prologue", ids.shape[1], codes), use_and_perplexity(ids, codes)
    )


@pytest.mark.parametrize(
    ("ids", "codes", "expected"),
    [
        (RNG.integers(256, size=(500, 8)), 256, ""),
        (RNG.integers(2, size=(500, 8)), 2, ""),
        (
            np.zeros((500, 8), int),
            128,
            "uses 1 of 128 codes (0.8%) and carries 0.00 bits per image",
        ),
        (RNG.integers(6, size=(500, 8)), 128, "uses 6 of 128 codes (4.7%)"),
        (RNG.integers(7, size=(500, 8)), 128, ""),
        # Every position has a code of its own, the same for every image.
        (np.tile(np.arange(8), (500, 1)), 16, "carries 0.00 bits per image"),
        # One of two prologues in all, nearly always the same one.
        (
            np.tile(np.arange(8), (500, 1)) + (np.arange(500) < 50)[:, None],
            16,
            "carries 0.47 bits per image",
        ),
        # Every image has another prologue, and yet nearly every token is the same.
        (
            np.where(RNG.random((500, 64)) < 0.05, RNG.integers(1, 16, size=(500, 64)), 0),
            16,
            "carries 0.48 bits",
        ),
        # A binary code has a bit at most, so it may have less in each token.
        ((RNG.random((500, 64)) < 0.3).astype(int), 2, ""),
        (np.zeros((500, 64), int), 2, "carries 0.00 bits per image"),
        # So few tokens cannot use more of so many codes.
        (np.arange(40).reshape(10, 4), 16384, ""),
        (np.zeros((100, 4), int), 16384, "uses 1 of 16384 codes (0.0%)"),
        (np.zeros((1, 1), int), 16384, ""),
    ],
)
def test_a_segment_of_few_codes_or_under_one_bit_is_a_collapse(
    ids: NDArray[Any], codes: int, expected: str
) -> None:
    found = warning(ids, codes)
    assert expected in found
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("ids", "collapsed"),
    [
        (RNG.integers(5, size=(500, 8)), False),  # few codes, and nearly 9 bits of the image
        (np.where(RNG.random((500, 8)) < 0.05, 1, 0), False),  # 0.3 bits per token, 2 in all
        (np.tile(np.arange(8), (500, 1)), True),
        (np.where(RNG.random((500, 8)) < 0.01, 1, 0), True),
    ],
)
def test_a_segment_that_leads_others_is_judged_by_what_it_tells_of_the_image(
    ids: NDArray[Any], collapsed: bool
) -> None:
    segment = Segment("prologue", 8, 128)
    found = collapse_of(ids, segment, use_and_perplexity(ids, 128), leads=True)
    assert bool(found) == collapsed
    assert not collapsed or "bits per image" in found


@pytest.mark.parametrize(
    ("known", "collapsed"),
    [
        ({"use": 4.9}, True),
        ({"use": 5.0}, False),
        ({"use": 50.0, "token_bits": 0.9}, True),
        ({"use": 50.0, "token_bits": 1.0}, False),
        ({"use": 50.0, "token_bits": 3.0, "segment_bits": 0.9}, True),
        ({"use": 50.0, "token_bits": 3.0, "segment_bits": 1.0}, False),
        ({"use": None}, False),
    ],
)
def test_the_limits_are_five_percent_and_one_bit(known: dict[str, float], collapsed: bool) -> None:
    assert bool(collapse_warning("s", codes=128, **{"use": None, **known})) == collapsed  # type: ignore[arg-type]


def test_earlier_reports_are_judged_by_the_numbers_that_they_hold() -> None:
    found = warnings(load_results(OLD_REPORTS / "prologue_count"))
    assert found == [
        "prologue_tokens=8: seed 0: collapsed codebook, prologue uses 5 of 128 codes (3.9%).",
        "prologue_tokens=16: seed 0: collapsed codebook, prologue uses 2 of 128 codes (1.6%) and "
        "carries 0.62 bits per image.",
    ]
    tokenizers = " ".join(warnings(load_results(OLD_REPORTS / "tokenizers")))
    assert (
        "prologue-post: seeds 0, 2: collapsed codebook, prologue uses 6 of 128 codes (4.7%)."
        in tokenizers
    )
    assert "onestage: seed 1: collapsed codebook, prologue" in tokenizers
    assert "visual" not in tokenizers.replace("2d, CE on visual", "")
    assert warnings(load_results(OLD_REPORTS / "guidance")) == []


def earlier(**values: float) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": value, "protocol": {"name": "p", "details": {}}}
        for name, value in values.items()
    ]


def told(measurements: list[dict[str, Any]]) -> list[str]:
    fill_in_warnings(measurements)
    return [each["warning"] for each in measurements if each.get("warning")]


def test_earlier_numbers_may_be_few() -> None:
    assert told(earlier(codebook_use_prologue=3.0)) == [
        "collapsed codebook, prologue uses few of its codes (3.0%)"
    ]
    assert told(earlier(codebook_perplexity_prologue=1.5)) == [
        "collapsed codebook, prologue carries 0.58 bits per token"
    ]
    assert (
        told(earlier(codebook_use_prologue=30.0, codebook_perplexity_position_prologue=1.0)) == []
    )
    assert told(earlier(gfid=0.5)) == []


def test_a_metric_s_warning_is_a_finding_of_every_form_of_the_report(tmp_path: Path) -> None:
    document = loaded(OLD_REPORTS / "guidance")
    told = Measurement(
        name="mine",
        title="mine",
        value=1.0,
        unit="",
        direction="neutral",
        count=1,
        warning="half of it is <missing>",
        protocol=Procedure(name="p", details={"a": 1}),
    )
    for run in document["runs"]:
        if run["variant"] == "2d, scale=2.0" and run["seed"] in (0, 2):
            run["measurements"].append(attrs.asdict(told))
    results = results_of(document)
    sentence = "2d, scale=2.0: seeds 0, 2: half of it is <missing>."
    assert warnings(results) == [sentence]
    page = render_html(results, PICTURES).partition('id="answer"')[2].partition("<table")[0]
    assert "<li>2d, scale=2.0: seeds 0, 2: half of it is &lt;missing&gt;.</li>" in page
    assert (
        "- 2d, scale=2.0: seeds 0, 2: half of it is &lt;missing>."
        in render_markdown(results).splitlines()
    )
    assert f"% {sentence}" in render_latex(results)
    alone = {**document, "runs": [run for run in document["runs"] if run["seed"] == 0]}
    for run in alone["runs"]:
        run["measurements"] = [
            each for each in run["measurements"] if each["direction"] == "neutral"
        ]
    assert "half of it is" in render_markdown(results_of(alone)), (
        "also where nothing has a better direction"
    )
    (tmp_path / "results.json").write_text(json.dumps(document))
    shown = CliRunner().invoke(cli, ["regress", str(tmp_path), "--against", str(tmp_path)])
    assert shown.exit_code == 0, "a warning is no number, and gates nothing"
