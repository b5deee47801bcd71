"""Ablations from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import prologue_bench as pb
from prologue_bench.errors import PrologueBenchError
from prologue_bench.results.frame import frame
from prologue_bench.runs.running import AblationRun
from prologue_bench.storage.store import Store
from tests.conftest import SMOKE

FAILING = """
from prologue_bench.contracts import Component, Metric, hookimpl


class Failing(Metric):
    needs = ("tokens",)

    def __init__(self, settings):
        pass

    def measure(self, inputs):
        raise ValueError("no")


@hookimpl
def prologue_metrics():
    return [Component(name="failing", target="failing:Failing", summary="Fails.")]
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMOKE)
    return path


def test_it_finds_what_the_command_finds(
    finished: Path, trained: Store, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tiny.parent / "report"
    found = pb.run(tiny, store=trained.root, out=out)
    assert isinstance(found, AblationRun)
    assert capsys.readouterr().err == ""
    report = finished / "report"
    assert str(found) == (report / "results.md").read_text()
    assert found.frame().equals(frame(pb.load_results(report)))
    assert found.report == out / "report.html"
    numbers = [
        [each["measurements"] for each in json.loads((at / "results.json").read_text())["runs"]]
        for at in (out, report)
    ]
    assert numbers[0] == numbers[1]
    html = found._repr_html_()
    assert "<caption>A tiny comparison</caption>" in html
    assert html.count("<tr>") == 3
    assert "prologue_tokens=0 (baseline)" in html


def test_what_failed_is_said_and_the_rest_is_there(trained: Store, tiny: Path) -> None:
    (tiny.parent / "failing.py").write_text(FAILING)
    changed = {
        "plugins": ["failing.py"],
        "metrics": ["rate", "failing"],
        "vary.tokenizer.prologue_tokens": [0],
    }
    found = pb.run(tiny, store=trained.root, set=changed, progress=False)
    assert found.failed.startswith("1 stage failed: metric 'failing' of failing.py: ValueError: no")
    assert "<li>1 stage failed: " in found._repr_html_()
    assert set(found.frame()["metric"]) >= {"rate"}
    with pytest.raises(PrologueBenchError, match="1 stage failed: metric 'failing'"):
        pb.run(tiny, store=trained.root, set={**changed, "metrics": ["failing"]}, progress=False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ablation": "prologue_cuont"}, "did you mean 'prologue_count'"),
        ({"ablation": "none.yaml"}, "none.yaml: no such file"),
        ({"profile": "smok"}, "unknown profile 'smok'; did you mean 'smoke'"),
        ({"seeds": "abc"}, r"seeds: found 'abc' \(str\), expected whole numbers"),
        ({"seeds": []}, "seeds: found an empty list"),
        ({"set": {"tokenizer.prologue_token": 3}}, "did you mean 'prologue_tokens'"),
        (
            {"set": {"data.size": {1, 2}}},
            r"set: data\.size: found \{1, 2\} \(set\), expected a num",
        ),
        ({"jobs": 0}, "jobs: found 0"),
        ({"jobs": 999}, "jobs 999: found"),
    ],
)
def test_what_is_wrong_is_one_line(
    given: dict[str, object], says: str, trained: Store, tiny: Path
) -> None:
    values = {"ablation": tiny, "store": trained.root, **given}
    with pytest.raises(PrologueBenchError, match=says) as error:
        pb.run(**values)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
