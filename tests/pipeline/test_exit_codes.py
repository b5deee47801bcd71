"""How a process ends.

0 done, 1 failed or the answer is no, 2 a mistake in what was given, 130 stopped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from prologue_bench import errors
from prologue_bench.cli.app import cli
from prologue_bench.cli.commands import COMMANDS
from prologue_bench.cli.endings import main
from prologue_bench.registry import Registry
from tests.conftest import ROOT
from tests.slow.harness import Ending, Program

PROGRAM = [sys.executable, "-m", "prologue_bench.cli"]
PLUGIN = """
import sys
from prologue_bench.contracts import Component, Metric, hookimpl


@hookimpl
def prologue_metrics():
    summary = "Ends the program as if all were well."
    return [Component(name="leaving", target="leaves:Leaving", summary=summary)]


class Leaving(Metric):
    needs = ("reconstructions",)

    def __init__(self, settings):
        pass

    def measure(self, inputs):
        print("measuring", flush=True)
        {act}
"""


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PROLOGUE_BENCH_STORE": str(folder / "store")}


def write(path: Path, results: dict[str, Any]) -> None:
    path.mkdir()
    (path / "results.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A finished run with its store, and results, baselines, plugins and stores with faults."""
    folder = tmp_path_factory.mktemp("codes")
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    results = json.loads((folder / "report" / "results.json").read_text())

    def changed(**fields: Any) -> dict[str, Any]:
        copy = json.loads(json.dumps(results))
        for run in copy["runs"]:
            for measurement in run["measurements"]:
                measurement.update(fields)
        return copy

    write(folder / "worse", changed(value=1000.0))
    write(folder / "noiseless", changed(half_width=None))
    write(folder / "other_protocol", changed(protocol={"name": "other", "details": {}}))
    write(
        folder / "failed",
        {**results, "runs": [{**run, "failures": {"sample": "?"}} for run in results["runs"]]},
    )
    shutil.copytree(folder / "store", folder / "damaged")
    weights = next((folder / "damaged" / "artifacts").glob("*/tokenizer.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"x")
    (folder / "leaves.py").write_text(PLUGIN.replace("{act}", "sys.exit(0)"))
    (folder / "leaves_at_import.py").write_text("import sys\nsys.exit(0)\n")
    np.savez(
        folder / "images.npz", arr_0=np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    )
    np.savez(folder / "objects.npz", arr_0=np.array([{}], dtype=object))
    (folder / "without").mkdir()
    (folder / "without" / "mmengine.py").write_text("raise ImportError('libGL.so.1 is missing')\n")
    return folder


TABLE = {
    # done
    "run": (0, "run tiny.yaml --out again"),
    "run, so far": (0, "run tiny.yaml --so-far --out so_far"),
    "plan": (0, "plan tiny.yaml"),
    "report": (0, "report report"),
    "report, of failed runs": (0, "report failed"),
    "report, of two": (0, "report report worse --out both"),
    "sample": (0, "sample report --rows 1 --columns 1 --out sample.png"),
    "export": (0, "export report --out export"),
    "compare": (0, "compare report worse"),
    "measure": (0, "measure images.npz --against images.npz --metrics psnr --store measured"),
    "claims": (0, "claims report"),
    "validate": (0, "validate {root}/reports/prologue_count"),
    "bless": (0, "bless report --out baseline.json"),
    "regress": (0, "regress report --against report"),
    "list": (0, "list"),
    "show": (0, "show ar"),
    "new": (0, "new ablation fresh"),
    "store ls": (0, "store ls"),
    "store verify": (0, "store verify"),
    "store gc": (0, "store gc"),
    "store rm": (0, "store rm {key} --store damaged"),
    "doctor": (0, "doctor"),
    "check-plugin": (0, "check-plugin psnr"),
    "check-golden": (0, "check-golden {root}/tests/golden/2d"),
    "--help": (0, "--help"),
    # failed, or the answer is no
    "regress, a regression": (1, "regress worse --against report"),
    "run, a failed stage": (
        1,
        "run tiny.yaml --set tokenizer_training.autoencoder.learning_rate=1.0e+30 --out bad",
    ),
    "run, a metric that leaves": (
        1,
        "run tiny.yaml --plugin leaves.py --set metrics=[leaving] --out left",
    ),
    "bless, of failed runs": (1, "bless failed --out no.json"),
    "validate, of failed runs": (1, "validate failed"),
    "store verify, damaged": (1, "store verify --store damaged"),
    "check-plugin, a metric that leaves": (1, "check-plugin leaving --plugin leaves.py"),
    "check-golden, a difference": (1, "check-golden {root}/tests/golden/2d --tolerance -1"),
    # a mistake in what was given
    "report, into a file": (2, "report report --out tiny.yaml/inside"),
    "run, no file": (2, "run nowhere.yaml"),
    "run, data that vary": (2, "run tiny.yaml --set vary.data=[shapes,fashion-mnist]"),
    "run, so far of nothing": (2, "run tiny.yaml --so-far --out nothing --store empty"),
    "run, over other runs": (2, "run tiny.yaml --seeds 5 --out report"),
    "run, a plugin that leaves": (2, "run tiny.yaml --plugin leaves_at_import.py"),
    "plan, no setting": (2, "plan tiny.yaml --set tokenizer.none=1"),
    "report, no results": (2, "report nowhere"),
    "sample, no variant": (2, "sample report --variant none"),
    "export, no option": (2, "export report"),
    "compare, no results": (2, "compare report nowhere"),
    "measure, no images": (2, "measure nowhere.npz --against images.npz"),
    "measure, no reference": (2, "measure images.npz"),
    "measure, objects": (2, "measure objects.npz --against images.npz"),
    "measure, too few": (2, "measure images.npz --against images.npz --metrics gfid"),
    "claims, no results": (2, "claims nowhere"),
    "validate, no results": (2, "validate nowhere"),
    "bless, no results": (2, "bless nowhere"),
    "regress, no baseline": (2, "regress report --against nowhere"),
    "regress, another protocol": (2, "regress other_protocol --against report"),
    "regress, no such metric": (2, "regress report --against report --fail-on none:+1"),
    "regress, no benchmarks": (2, "regress report --against report --fail-on speed:+40%"),
    "regress, nothing to gate": (2, "regress noiseless --against noiseless"),
    "list, no such kind": (2, "list none"),
    "show, no such name": (2, "show none"),
    "new, no such name": (2, "new tokenizer Bad"),
    "store ls, no store": (2, "store ls --store nowhere"),
    "store verify, no store": (2, "store verify --store nowhere"),
    "store gc, no store": (2, "store gc --store nowhere"),
    "store rm, no store": (2, "store rm {key} --store nowhere"),
    "store push, no store": (2, "store push remote --store nowhere"),
    "store rm, no such key": (2, "store rm zz"),
    "doctor, no option": (2, "doctor --none"),
    "check-plugin, no such name": (2, "check-plugin none"),
    "check-golden, no folder": (2, "check-golden nowhere"),
    "import-checkpoint, no folder": (2, "import-checkpoint nowhere --preset ar-b"),
    "demo, no results": (2, "demo nowhere"),
    "no such command": (2, "none"),
}


@pytest.fixture(scope="module")
def start(folder: Path, program: Program) -> Callable[[str], Ending]:
    """Starts the program with a command's words in the folder, in a process of its own."""
    key = next((folder / "store" / "artifacts").iterdir()).name
    store = {"PROLOGUE_BENCH_STORE": str(folder / "store")}

    def ended(command: str) -> Ending:
        return program.run(command.format(root=ROOT, key=key).split(), folder, store, timeout=120)

    return ended


@pytest.mark.parametrize(("code", "command"), TABLE.values(), ids=TABLE.keys())
def test_every_command_ends_with_the_code_that_the_docs_give(
    start: Callable[[str], Ending], code: int, command: str
) -> None:
    ended = start(command)
    assert ended.code == code, ended.text
    assert "Traceback" not in ended.text
    assert ended.text.strip(), "what is done, or what is wrong"


def test_the_table_has_every_command() -> None:
    commands = {*COMMANDS, *Registry.load().commands}
    assert {command.split()[0] for _, command in TABLE.values()} >= commands


def test_doctor_fails_where_something_is_broken_that_everything_needs(folder: Path) -> None:
    shadowed = {
        "PYTHONPATH": os.pathsep.join([str(folder / "without"), os.environ.get("PYTHONPATH", "")])
    }
    ended = subprocess.run(
        [*PROGRAM, "doctor"],
        cwd=folder,
        env=environment(folder) | shadowed,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "does not work: mmengine" in ended.stderr


@pytest.mark.parametrize(
    ("code", "command"),
    [TABLE[name] for name in ("list", "regress, a regression", "show, no such name")],
)
def test_the_installed_program_ends_as_the_module_does(
    folder: Path, code: int, command: str
) -> None:
    program = shutil.which("prologue-bench", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs the console script")
    ended = subprocess.run(
        [program, *command.split()], cwd=folder, env=environment(folder), capture_output=True
    )
    assert ended.returncode == code


ENDS = {
    "raise click.exceptions.Exit(3)": 3,
    "raise click.exceptions.Exit(0)": 0,
    "sys.exit(0)": 1,
    "sys.exit('a reason')": 1,
    "return 5": 5,
    "return 256": 1,
    "return True": 0,
    "return 'text'": 0,
    "raise click.Abort": 130,
    "raise KeyboardInterrupt": 130,
    "raise click.UsageError('wrong')": 2,
    "raise click.ClickException('failed')": 1,
    "raise errors.UserError('wrong')": 2,
    "raise errors.StageError('failed')": 1,
    "raise errors.Interrupted('stopped')": 130,
    "raise OSError(28, 'No space left on device', 'file')": 1,
    "raise RuntimeError('a bug')": 70,
    "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)": 130,
    "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)": 130,
}


@pytest.mark.parametrize(("end", "code"), ENDS.items())
def test_however_a_command_ends_the_process_has_its_code(
    program: Program, tmp_path: Path, end: str, code: int
) -> None:
    ended = program.run([end], tmp_path, call="tests.pipeline.test_exit_codes:run_a_command")
    assert ended.code == code, ended.err


def run_a_command(argv: list[str]) -> None:
    """In a process of its own: a command that ends as a line of code says."""
    scope = {"os": os, "signal": signal, "sys": sys, "time": time, "click": click, "errors": errors}
    exec(f"def ending():\n    {argv[0]}", scope)
    cli.command("ending")(scope["ending"])
    sys.argv = ["prologue-bench", "ending"]
    main()


def test_a_command_that_is_stopped_at_work_ends_with_130(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text(PLUGIN.replace("{act}", "import time; time.sleep(60)"))
    process = subprocess.Popen(
        [*PROGRAM, "check-plugin", "leaving", "--plugin", "leaves.py"],
        cwd=tmp_path,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(line == "measuring\n" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "prologue-bench: interrupted"


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio")
def test_a_demo_that_is_stopped_has_done_its_work(folder: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "demo", "report"],
        cwd=folder,
        env=environment(folder) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert any("http://" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
