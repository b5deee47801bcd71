"""The report as a reader meets it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prologue_bench.config.ablation import Ablation
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import Outcome
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.reporting.plots import pareto_front
from prologue_bench.reporting.report import render_html, write_report
from prologue_bench.reporting.sections import setting_differences
from prologue_bench.results.frame import frame
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import load_pictures
from prologue_bench.storage.store import Store
from tests.conftest import run_tiny

EVIL = "<script>document.title = 'owned'</script> & \"quotes\""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, two_seeds: Path) -> Path:
    """A report of two variants and two seeds with a title that tries to be HTML; read only."""
    folder = tmp_path_factory.mktemp("written")
    run_tiny(folder, "--seeds", "0,1", "--set", f"title={json.dumps(EVIL)}", trained=two_seeds)
    return folder / "report" / "report.html"


def test_the_report_names_data_protocols_and_provenance(written: Path) -> None:
    results = load_results(written.parent)
    html = written.read_text()
    (source,) = results.origins
    for text in (
        source.data.fingerprint,
        source.software["torch"],
        source.hardware.processor,
    ):
        assert str(text) in html
    assert "class-conditional" in html, "the rate's protocol"
    for run in results.runs:
        for stage in run.stages:
            assert stage.key in html
            assert stage.seconds


def test_the_frame_is_tidy(written: Path) -> None:
    rows = frame(load_results(written.parent))
    assert len(rows) == 2 * 2 * (2 + 3), "rate and one rate a segment, in two units, for two seeds"
    assert not rows.duplicated(["variant", "seed", "metric"]).any()


def test_the_latex_table_escapes_names_and_the_csv_is_the_frame(written: Path) -> None:
    text = (written.parent / "results.tex").read_text()
    assert r"prologue\_tokens=0 & " in text
    assert text.count(r"\\") == 1 + 2
    assert r"rate $\downarrow$ (bits/image)" in text
    table = pd.read_csv(written.parent / "results.csv")
    assert table.value.tolist() == pytest.approx(frame(load_results(written.parent)).value.tolist())


def test_only_what_was_varied_is_listed_as_different(written: Path) -> None:
    differences = setting_differences(load_results(written.parent))
    assert differences == {"tokenizer.prologue_tokens": ["0", "2"]}


def test_a_report_is_rendered_again_from_its_files(written: Path) -> None:
    results = load_results(written.parent)
    with_checked_plots = inspect.unwrap(render_html)
    assert (
        with_checked_plots(results, load_pictures(written.parent, results)) == written.read_text()
    )


def test_a_report_goes_into_a_folder_called_tilde(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = load_results(written.parent)
    monkeypatch.chdir(tmp_path)
    write_report(results, load_pictures(written.parent, results), Path("~/o"))
    names = {path.name for path in written.parent.iterdir()}
    assert {path.name for path in (tmp_path / "~" / "o").iterdir()} == names


def test_a_run_of_which_nothing_succeeded_still_gives_a_report(
    load: Callable[..., Ablation], store: Store, tmp_path: Path
) -> None:
    plan = make_plan(load(), Workspace(store))
    outcome = Outcome({planned.stage.key: "the loss is nan" for planned in plan.stages})
    path = write_report(*collect(plan, outcome, Workspace(store)), tmp_path / "report")
    assert "2 runs failed" in path.read_text()


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    rng = np.random.default_rng(0)
    means = (
        pd.DataFrame(rng.integers(0, 12, (40, 2)), columns=["x", "y"])
        .astype(float)
        .drop_duplicates()
    )
    points = list(means.itertuples(index=False, name=None))
    expected = [
        p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)
    ]
    assert list(pareto_front(means).itertuples(index=False, name=None)) == sorted(expected)
