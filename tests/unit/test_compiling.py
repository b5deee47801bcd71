"""When a training is compiled, and what happens where it cannot be."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from prologue_bench.config.settings import GeneratorTraining
from prologue_bench.training import compiling
from prologue_bench.training.context import StageContext

NETWORK = nn.Sequential(*(nn.Linear(2, 2) for _ in range(10)))
"""Ten layers: compiling takes about 20 s."""


def context(folder: Path) -> StageContext:
    return StageContext(work=folder, output=folder)


def decide(
    folder: Path, flops: float | None, compile: bool | str = "auto", steps: int = 2000
) -> bool | str:
    training = GeneratorTraining(steps=steps, compile=compile)  # type: ignore[arg-type]
    return compiling.decided(training, lambda: flops, [NETWORK], context(folder)).compile


@pytest.fixture(autouse=True)
def some_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_lacking", lambda device: "")
    # Decisions are about CPUs, whatever the machine has.
    monkeypatch.setattr(StageContext, "device", torch.device("cpu"))


def test_a_training_is_compiled_where_it_saves_several_times_what_it_takes(tmp_path: Path) -> None:
    enough = compiling.WORTH * 20 / compiling.GAIN * compiling.FLOPS_PER_SECOND["cpu"]
    assert decide(tmp_path, 1.1 * enough) is True
    assert decide(tmp_path, 0.9 * enough) is False
    assert "it would save about 54 s and take 20 s" in (tmp_path / "log.txt").read_text()


def test_short_trainings_and_those_that_cannot_be_counted_are_not_compiled(tmp_path: Path) -> None:
    assert decide(tmp_path, 1e18, steps=compiling.FEWEST_STEPS - 1) is False
    assert decide(tmp_path, None) is False
    assert "FLOPs cannot be counted" in (tmp_path / "log.txt").read_text()


def test_true_and_false_are_kept(tmp_path: Path) -> None:
    assert decide(tmp_path, 1.0, compile=True) is True
    assert decide(tmp_path, 1e18, compile=False) is False


def test_without_a_compiler_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "_lacking", lambda device: "a C++ compiler such as g++")
    assert decide(tmp_path, 1e18) is False
    line = "training goes on without torch.compile, which needs a C++ compiler such as g++"
    assert capsys.readouterr().err == f"prologue-bench: {line}\n"


def test_a_function_that_cannot_be_compiled_is_called_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(module: object, inputs: object) -> None:
        raise ValueError("no such instruction\nand more")

    def compile_with_a_broken_backend(function: object, **options: object) -> object:
        return torch._dynamo.optimize(broken)(function)

    monkeypatch.setattr(torch, "compile", compile_with_a_broken_backend)
    function = compiling.Compiled(lambda x: 2 * x)
    for _ in range(2):
        assert function(torch.ones(2)).tolist() == [2, 2]
    said = capsys.readouterr().err
    assert said.startswith("prologue-bench: training goes on without torch.compile, which failed:")
    assert said.count("\n") == 1
    assert copy.deepcopy(function) is function
