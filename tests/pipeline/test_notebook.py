"""The notebook in the docs, cell by cell."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from prologue_bench.storage.store import Store
from tests.conftest import ROOT

CHEAP = """
images = 80
changes = {
    "data": {"use": "shapes", "size": 14, "train_images": 96, "test_images": 64},
    "vary.tokenizer.prologue_tokens": [0, 2],
    "sampling": {"samples": 24, "batch_size": 12},
    "metrics": ["rate"],
}
"""
"""In place of the notebook's parameters: what the finished run of all tests has in its store."""


def run_cell(source: str, names: dict[str, Any]) -> object:
    """Run a cell; returns what a notebook would show below it."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        statements, shown = [*statements, last], None
    else:
        shown = ast.Expression(last.value)
    exec(compile(ast.Module(statements, []), "<cell>", "exec"), names)
    return None if shown is None else eval(compile(shown, "<cell>", "eval"), names)


def assigned(source: str) -> set[str]:
    """The names that get a value."""
    nodes = ast.walk(ast.parse(source))
    return {
        each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def test_every_cell_runs_and_shows_what_it_promises(
    trained: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROLOGUE_BENCH_STORE", str(trained.root))
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())
    cells = [each for each in notebook["cells"] if each["cell_type"] == "code"]
    names: dict[str, Any] = {}
    shown = []
    for cell in cells:
        assert not cell["outputs"]
        is_parameters = "parameters" in cell["metadata"].get("tags", ())
        source = "".join(cell["source"])
        assert not is_parameters or assigned(source) == assigned(CHEAP)
        shown.append(run_cell(CHEAP if is_parameters else source, names))
    evaluated, numbers, ablation, runs = [each for each in shown if each is not None]
    assert "rFD (Fashion-MNIST CNN)" in evaluated._repr_html_()  # type: ignore[attr-defined]
    assert "<table>" in ablation._repr_html_()  # type: ignore[attr-defined]
    assert len(numbers) > 5  # type: ignore[arg-type]
    assert set(runs["variant"]) == {"prologue_tokens=0", "prologue_tokens=2"}  # type: ignore[index]
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["2", "4", "16", "64"]
