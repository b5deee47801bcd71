"""Nothing is overwritten without a word.

Files of others, results of other runs, other exports and baselines.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prologue_bench.cli.app import cli
from prologue_bench.cli.commands.plan import read_ablation, report_folder
from prologue_bench.results.loading import load_results
from tests.conftest import SMOKE


@pytest.fixture
def here(two_seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the ablation's file, its store and its report."""
    shutil.copytree(two_seeds, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("PROLOGUE_BENCH_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def run(*options: object) -> Result:
    return call("run", "tiny.yaml", "--out", "report", *options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_pictures_of_others_stay_when_a_report_is_written(here: Path) -> None:
    assets = here / "report" / "assets"
    (assets / "logo.png").write_bytes(b"mine")
    (assets / "samples-7.png").write_bytes(b"mine too")
    assert run("--seeds", "0,1").exit_code == 0
    assert call("report", "report").exit_code == 0
    assert (assets / "logo.png").read_bytes() == b"mine"
    assert (assets / "samples-7.png").read_bytes() == b"mine too"


def test_linked_assets_stop_a_run_before_it_starts(here: Path) -> None:
    (here / "Pictures").mkdir()
    (here / "Pictures" / "originals.png").write_bytes(b"mine")
    (here / "site").mkdir()
    (here / "site" / "assets").symlink_to(here / "Pictures")
    found = call("run", "tiny.yaml", "--out", "site", "--store", "empty", "--force")
    assert "is a link, and nothing is written through it" in str(found.exception)
    assert contents(here / "Pictures") == {"originals.png": b"mine"}
    assert not (here / "empty" / "artifacts").exists()


def test_files_of_others_stop_a_run_before_it_starts(here: Path) -> None:
    (here / "site").mkdir()
    (here / "site" / "results.csv").write_text("mine")
    found = call("run", "tiny.yaml", "--out", "site", "--store", "empty")
    assert "site: results.csv would be overwritten" in str(found.exception)
    assert contents(here / "site") == {"results.csv": b"mine"}
    assert not (here / "empty" / "artifacts").exists()
    assert call("run", "tiny.yaml", "--out", "site", "--seeds", "0,1", "--force").exit_code == 0
    assert b"mine" not in (here / "site" / "results.csv").read_bytes()


def test_a_file_of_the_report_that_somebody_changed_is_not_overwritten(here: Path) -> None:
    (here / "report" / "results.md").write_text("my notes")
    assert "results.md (changed since) would be overwritten" in str(run("--seeds", "0,1").exception)
    assert "results.md (changed since) would be overwritten" in str(
        call("report", "report").exception
    )
    assert (here / "report" / "results.md").read_text() == "my notes"


def test_fewer_runs_do_not_take_the_place_of_more(here: Path) -> None:
    before = contents(here / "report")
    found = run()
    assert "2 runs that would not be in the new report (prologue_tokens=0, seed 1; " in str(
        found.exception
    )
    assert "--force" in str(found.exception)
    assert contents(here / "report") == before
    assert run("--force").exit_code == 0
    assert load_results(here / "report").seeds == (0,)
    assert run("--seeds", "0,1").exit_code == 0, "more runs take the place of fewer"


def test_runs_of_other_settings_do_not_take_their_place_and_nothing_is_trained(here: Path) -> None:
    found = run("--set", "tokenizer_training.steps=5", "--store", "empty")
    assert "4 runs that would not be in the new report" in str(found.exception)
    assert not (here / "empty" / "artifacts").exists()


def test_results_of_several_do_not_take_the_place_of_one(here: Path) -> None:
    edit(here / "report" / "results.json", name="other")
    shutil.copytree(here / "report", here / "second")
    edit(here / "second" / "results.json", name="tiny")
    found = call("report", "report", "second", "--out", "report")
    assert "the results of ablation 'other' would be lost" in str(found.exception)


def test_to_refresh_a_report_needs_no_force_and_keeps_its_remarks(here: Path) -> None:
    edit(here / "report" / "results.json", remarks=["Read this first."])
    assert run("--seeds", "0,1").exit_code == 0
    assert load_results(here / "report").remarks == ("Read this first.",)
    assert "Read this first." in (here / "report" / "results.md").read_text()


def test_reports_of_earlier_versions_which_list_no_files_are_refreshed(here: Path) -> None:
    path = here / "report" / "results.json"
    earlier = {key: value for key, value in json.loads(path.read_text()).items() if key != "files"}
    path.write_text(json.dumps(earlier))
    assert call("report", "report").exit_code == 0
    assert "report.html" in json.loads(path.read_text())["files"]


def test_another_profile_than_the_files_writes_to_another_folder(here: Path) -> None:
    def folder(profile: str | None, *values: str) -> str:
        file = here / "tiny.yaml"
        return report_folder(file, read_ablation(file, profile, None, values)).as_posix()

    assert folder(None) == folder("smoke") == "reports/tiny"
    assert folder("quick") == folder(None, "profile=quick") == "reports/tiny-quick"


@pytest.mark.parametrize("name", ["..", ".", "..."])
def test_no_ablations_name_leads_out_of_the_reports(here: Path, name: str) -> None:
    (here / "tiny.yaml").write_text(SMOKE.replace("name: tiny", f"name: '{name}'"))
    before = contents(here)
    assert call("run", "tiny.yaml").exit_code != 0
    assert contents(here) == before


def test_a_report_of_nothing_finished_is_an_error(here: Path) -> None:
    found = call("run", "tiny.yaml", "--so-far", "--store", "empty", "--out", "new")
    assert "nothing of tiny is finished" in str(found.exception)
    assert not (here / "new").exists()


@pytest.mark.parametrize("name", ["/tmp/x", "../../x", "a\0b", "", ".", 3, None])
def test_a_strangers_name_leads_no_baseline_out_of_its_folder(here: Path, name: Any) -> None:
    edit(here / "report" / "results.json", name=name)
    before = contents(here)
    found = call("bless", "report")
    assert type(found.exception).__name__ == "UserError", found.exception
    assert contents(here) == before


def test_a_baseline_takes_the_place_of_its_own_ablations_alone(here: Path) -> None:
    assert call("bless", "report", "--out", "base.json").exit_code == 0
    assert call("bless", "report", "--out", "base.json").exit_code == 0, "as after an improvement"
    edit(here / "base.json", name="other")
    assert "a baseline of name other" in str(
        call("bless", "report", "--out", "base.json").exception
    )
    results = (here / "report" / "results.json").read_bytes()
    refused = call("bless", "report", "--out", "report/results.json").exception
    assert "report/results.json: is no baseline, and would be overwritten" in str(refused)
    assert (here / "report" / "results.json").read_bytes() == results
    (here / "base.json").write_text("mine")
    refused = call("bless", "report", "--out", "base.json").exception
    assert "is no baseline, and would be overwritten" in str(refused)
    assert (here / "base.json").read_text() == "mine"
    assert call("bless", "report", "--out", "base.json", "--force").exit_code == 0


def test_an_export_takes_the_place_of_its_own_run_alone(here: Path) -> None:
    export = ["export", "report", "--out", "export"]
    assert call(*export).exit_code == 0
    (here / "export" / "notes.txt").write_text("mine")
    assert call(*export).exit_code == 0, "the same run again"
    assert "holds the export of another run" in str(call(*export, "--training-seed", "1").exception)
    (here / "export" / "README.md").write_text("mine")
    assert "README.md (changed since) would be overwritten" in str(call(*export).exception)
    assert (here / "export" / "README.md").read_text() == "mine"
    assert call(*export, "--training-seed", "1", "--force").exit_code == 0
    assert json.loads((here / "export" / "config.json").read_text())["training_seed"] == 1
    assert (here / "export" / "README.md").read_text() != "mine"
    assert (here / "export" / "notes.txt").read_text() == "mine"


def test_an_export_is_not_mixed_with_a_report(here: Path) -> None:
    before = contents(here / "report")
    refused = call("export", "report", "--out", "report").exception
    assert str(refused).startswith("report: holds results.json, and the files of a report")
    assert contents(here / "report") == before


def test_a_drawn_picture_takes_the_place_of_none_but_drawn_ones(here: Path) -> None:
    sample = ["sample", "report", "--rows", "1", "--columns", "2", "--out", "samples.png"]
    for seed in (0, 1):
        assert call(*sample, "--seed", seed).exit_code == 0
    for mine in (b"mine", (here / "report" / "assets" / "samples-0.png").read_bytes()):
        (here / "samples.png").write_bytes(mine)
        assert "samples.png: is not as this command wrote it" in str(call(*sample).exception)
        assert (here / "samples.png").read_bytes() == mine
    for name in ("x.txt", "x.jpg", "x"):
        refused = call(*sample[:-1], name, "--force").exception
        assert str(refused).startswith(f"--out {name}: found no picture's name, expected one that")
        assert not (here / name).exists()
    assert call(*sample, "--force").exit_code == 0
    assert (here / "samples.png").read_bytes() != mine


def test_the_tables_of_a_gate_overwrite_nothing_else(here: Path) -> None:
    assert call("bless", "report", "--out", "base.json").exit_code == 0
    (here / "README.md").write_text("mine")
    gate = ["regress", "report", "--against", "base.json"]
    (here / "notes.md").write_text("### Mine\n")
    (here / "mine.xml").write_text("<?xml version='1.0'?>\n<mine/>\n")
    for option, name in (
        ("--markdown", "README.md"),
        ("--markdown", "notes.md"),
        ("--junit", "mine.xml"),
    ):
        assert f"{name}: is not as this command wrote it" in str(
            call(*gate, option, name).exception
        )
    for _ in range(2):
        assert call(*gate, "--markdown", "gate.md", "--junit", "gate.xml").exit_code == 0
