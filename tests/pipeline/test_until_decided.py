"""`run --until-decided`, with real trainings of the smallest kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.results.loading import load_results
from prologue_bench.results.schema import Results
from tests.slow.harness import Ending

Call = Callable[..., Ending]
METRIC = """
from prologue_bench.contracts import Component, Measurement, Metric, Procedure, hookimpl

INTERFACE_VERSION = 2


@hookimpl
def prologue_metrics():
    return [Component(name="level", target="level:Level", summary="Mean level.")]


class Level(Metric):
    needs = ("reconstructions",)

    def __init__(self, settings):
        pass

    def measure(self, inputs):
        mean = float(inputs.reconstructions.mean())
        numbers = {"level": mean, "level_raised": 1e9 + mean}
        return [
            Measurement(
                name=name, title=name, value=value, unit="", direction="lower", count=1,
                protocol=Procedure(name="level"),
            )
            for name, value in numbers.items()
        ]
"""
ABLATION = """
name: tiny
data: {use: shapes, size: 14, train_images: 48, test_images: 16}
profile: smoke
tokenizer: vq-2d
generator: {use: ar}
variants:
  one: {}
  other: {tokenizer.code_width: 6}
baseline: one
plugins: [level.py]
metrics: [level]
equivalence_margin: 0.000001
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "level.py").write_text(METRIC)
    (tmp_path / "tiny.yaml").write_text(ABLATION)
    return tmp_path


def test_seeds_are_trained_until_the_limit_and_a_higher_one_goes_on(
    folder: Path, call: Call
) -> None:
    command = ("run", "tiny.yaml", "--until-decided", "level", "--max-seeds")
    planned = call(*command, "3", "--dry-run")
    assert "begins with 1 seed and may add seeds 1 to 2, one by one: at most 16 stages" in (
        planned.out
    )
    first = call(*command, "2")
    assert first.code == 0, first.err
    assert "level, 2 seeds: undecided: other" in first.err
    results = _results(folder)
    assert _seeds(results) == {("one", 0), ("one", 1), ("other", 0), ("other", 1)}
    (added,) = results.added_seeds
    assert (added.metric, added.first, added.most, added.margin) == ("level", 2, 2, 1e-6)
    assert [(look.seeds, look.undecided) for look in added.looks] == [(2, ("other",))]
    assert (
        "seeds were added until level was decided"
        in (folder / "reports" / "tiny" / "report.html").read_text()
    )

    again = call(*command, "2")
    assert not _started(again), "nothing is left to run"
    assert _results(folder).added_seeds == results.added_seeds

    further = call(*command, "3")
    assert _started(further) == {"seed 2"}
    assert [each.seeds for each in _results(folder).added_seeds[0].looks] == [2, 3]

    plainly = call("run", "tiny.yaml", "--seeds", "0,1,2")
    assert not _started(plainly)
    assert _results(folder).added_seeds == ()


def test_it_ends_at_the_look_that_decides_and_trains_no_more(folder: Path, call: Call) -> None:
    ending = call("run", "tiny.yaml", "--until-decided", "level_raised", "--seeds", "5,3")
    assert ending.code == 0, ending.err
    assert "level_raised, 2 seeds: decided" in ending.err
    results = _results(folder)
    assert {seed for _, seed in _seeds(results)} == {3, 5}
    assert [look.undecided for look in results.added_seeds[0].looks] == [()]
    assert results.added_seeds[0].metric in ending.out
    table = (folder / "reports" / "tiny" / "results.md").read_text()
    assert "equivalent to one within" in table


def test_a_metric_that_nothing_measures_is_named_when_that_is_known(
    folder: Path, call: Call
) -> None:
    ending = call("run", "tiny.yaml", "--until-decided", "level_raise")
    assert ending.code == 1
    assert _results(folder).added_seeds == (), "what was run has its report"
    assert ending.err.splitlines()[-1].startswith(
        "prologue-bench: --until-decided: no measurement is called 'level_raise'; did you mean "
        "'level_raised'"
    )


def _results(folder: Path) -> Results:
    return load_results(folder / "reports" / "tiny")


def _seeds(results: Results) -> set[tuple[str, int]]:
    return {(run.variant, run.seed) for run in results.runs}


def _started(ending: Ending) -> set[str]:
    """The seeds of the stages that began."""
    return set(re.findall(r"^\[\d+/\d+\] .*?(seed \d+)", ending.err, re.MULTILINE))
