"""The command line as a user meets it: exit codes, one-line errors, interrupts, start-up time."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prologue_bench.config.ablation import load_ablation
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.storage.store import Store
from tests.conftest import ROOT
from tests.slow.harness import Ending

Call = Callable[..., Ending]
PROGRAM = shutil.which("prologue-bench", path=str(Path(sys.executable).parent)) or "prologue-bench"


def test_the_shell_completes_commands_of_plugins_too(tmp_path: Path, call: Call) -> None:
    found = call(
        _PROLOGUE_BENCH_COMPLETE="bash_complete",
        COMP_WORDS="prologue-bench ch",
        COMP_CWORD="1",
    )
    assert found.out.split() == ["plain,check-golden", "plain,check-plugin"]


def test_run_report_and_run_again(smoke_file: Path, tmp_path: Path, call: Call) -> None:
    first = call("run", str(smoke_file))
    assert first.code == 0, first.err
    assert "Report: reports/tiny/report.html" in first.out
    assert "prologue_tokens=0 (baseline)" in first.out
    assert "| ---" not in first.out
    assert re.search(r"\[\d+/20\] measure rate", first.err)
    folder = tmp_path / "reports" / "tiny"
    optional = {"results.parquet"}  # where pyarrow is installed
    assert {path.name for path in folder.iterdir()} - optional == {
        "report.html",
        "results.json",
        "results.csv",
        "results.md",
        "results.tex",
        "assets",
    }
    again = call("run", str(smoke_file))
    assert again.code == 0
    assert again.err == "", "nothing to do, nothing to say"
    assert "Report: reports/tiny/report.html (as it was)" in again.out
    assert first.out.replace(" (as it was)", "") == again.out.replace(" (as it was)", "")
    (folder / "results.md").unlink()
    assert "(as it was)" not in call("run", str(smoke_file)).out
    assert (folder / "results.md").exists()
    (folder / "report.html").unlink()
    report = call("report", "reports/tiny")
    assert report.out.strip() == "reports/tiny/report.html"
    assert (folder / "report.html").exists()


def test_a_dry_run_shows_what_would_run_and_writes_nothing(
    smoke_file: Path, tmp_path: Path, call: Call
) -> None:
    shown = call("run", str(smoke_file), "--dry-run")
    assert shown.code == 0
    numbers = r"0\.[0-9]{2}M +[0-9.e+]+ +<0\.1 +about"
    assert re.search(rf"prologue_tokens=2 +1 +10 +10 +{numbers}", shown.out)
    every = call("plan", str(smoke_file), "--all")
    named = r"train-tokenizer · prologue_tokens=2 seed 0 +[0-9a-f]{20} +"
    assert re.search(named + numbers, every.out)
    assert "20 stages, 0 cached; the rest takes about" in shown.out
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "reports").exists()


def test_a_variant_that_shares_all_its_stages_is_not_called_cached(
    smoke_file: Path, call: Call
) -> None:
    shared = "variants={one: {}, other: {sampling.temperature: 0.9}}"
    settings = [shared, "vary={}", "baseline=one", "metrics=[rfid]"]
    shown = call("plan", str(smoke_file), *(part for each in settings for part in ("--set", each)))
    assert re.search(r"one +1 +5 +5 .* about ", shown.out), shown.out
    assert re.search(r"other +1 +0 +0 +counted above", shown.out), shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (
            ["run", "{file}", "--set", "tokenizer.prologue_token=1"],
            "did you mean 'prologue_tokens'",
        ),
        (["run", "{file}", "--profile", "smke"], "did you mean 'smoke'?"),
        (
            ["run", "{file}", "--set", "metrics=[raet]"],
            "unknown metric 'raet'; did you mean 'rate'?",
        ),
        (
            ["run", "{file}", "--set", "tokenizer.patch_size=5"],
            "expected a divisor of the images' 14 x 14 pixels",
        ),
        (["run", "{file}", "--seeds", "one"], "--seeds one: expected whole numbers"),
        (
            ["run", "{file}", "--set", "data={use: fashion-mnist, root: /nowhere}"],
            "data=fashion-mnist-embedded",
        ),
        (
            ["run", "{file}", "--out", "{file}"],
            "tiny.yaml: found a file, expected a folder",
        ),
        (["store", "ls", "--store", "{file}"], "tiny.yaml: found a file, expected a folder"),
        (
            ["regress", "nowhere", "--against", "gone.json"],
            "gone.json: no baseline; expected a file that 'prologue-bench bless' writes, or a "
            "report",
        ),
        (["report", "nowhere"], "no results; expected a folder written by 'prologue-bench run'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    smoke_file: Path, tmp_path: Path, arguments: list[str], message: str, call: Call
) -> None:
    found = call(*(argument.replace("{file}", str(smoke_file)) for argument in arguments))
    assert found.code == 2
    assert found.err.count("\n") == 1
    assert found.err.startswith("prologue-bench: ")
    assert message in found.err
    assert found.out == ""


def test_a_failed_variant_gives_a_report_and_exit_code_1(
    smoke_file: Path, tmp_path: Path, call: Call
) -> None:
    found = call(
        "run",
        str(smoke_file),
        "--set",
        "vary={tokenizer_training.autoencoder.learning_rate: [1.0e-3, 1.0e+30]}",
        "--set",
        "baseline=",
    )
    assert found.code == 1
    assert re.search(
        r"prologue-bench: 1 stage failed, and 9 behind it did not run: "
        r"loss\S* is (nan|inf) at step \d+",
        found.err,
    )
    results = load_results(tmp_path / "reports" / "tiny")
    assert [bool(run.failures) for run in results.runs] == [False, True]
    html = (tmp_path / "reports" / "tiny" / "report.html").read_text()
    assert "1 run failed" in html
    assert "Traceback" not in found.err


def test_a_run_that_waits_for_another_can_be_stopped(smoke_file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = make_plan(load_ablation(smoke_file, Registry.load()), Workspace(store)).stages[0].stage
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PROLOGUE_BENCH_STORE": str(store.root)}
    with store.lock(first.key):
        process = subprocess.Popen(
            [PROGRAM, "run", str(smoke_file), "--jobs", "1"],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert "Needs about" in process.stderr.readline()
        assert "starts" in process.stderr.readline()
        assert "waits for another run" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped while another run had the stage; nothing is lost" in errors


def test_a_report_folder_that_cannot_be_written_is_one_line(
    smoke_file: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "file").write_text("")
    found = call("run", str(smoke_file), "--set", "metrics=[codebook]", "--out", "file/inside")
    assert found.code == 2
    assert found.err.splitlines() == [
        "prologue-bench: --out file/inside: found the file file above it, expected a folder"
    ], "before anything runs"


def test_help_starts_in_half_a_second_and_list_which_reads_the_cards_in_one(tmp_path: Path) -> None:
    for arguments, most in ((["--help"], 0.5), (["list"], 1.0)):
        seconds = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([PROGRAM, *arguments], cwd=tmp_path, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            # Of the processor, which other work on the machine does not take from it.
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert min(seconds) < most


def test_no_traceback_when_the_reader_of_a_pipe_leaves(tmp_path: Path) -> None:
    out = subprocess.run(
        f"'{PROGRAM}' list | head -n 1", shell=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert "Traceback" not in out.stderr


def test_a_plan_whose_reader_leaves_blames_nobody(smoke_file: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [PROGRAM, "plan", str(smoke_file), "--store", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=120) == 1


def test_the_readme_s_commands_exist() -> None:
    from prologue_bench.cli.commands import COMMANDS

    known = {*COMMANDS, *Registry.load().commands}
    for name in re.findall(
        r"^(?:\$ )?prologue-bench ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.M
    ):
        assert name in known, name
