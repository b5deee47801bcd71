"""Plugins come in by one door, and a broken one harms nobody."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from prologue_bench.components import Component
from prologue_bench.errors import UserError
from prologue_bench.hookspecs import hookimpl
from prologue_bench.registry import Registry
from tests.conftest import ROOT

PLUGINS = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir()}


@pytest.mark.parametrize("path", sorted((ROOT / "prologue_bench").rglob("*.py")), ids=lambda p: p.stem)
def test_the_framework_imports_no_plugin(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not PLUGINS & {name.split(".")[0] for name in names}


def test_listing_components_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['prologue-bench', 'list']\n"
        "from prologue_bench.cli import main\n"
        "try: main()\n"
        "finally: print('HEAVY', [m for m in ('torch', 'mmengine', 'pandas', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in out
    for name in ("vq-2d", "prologue", "ar", "gfid", "fashion-mnist-embedded", "micro"):
        assert name in out


def test_an_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown tokenizer 'prologu'; did you mean 'prologue'"):
        Registry.load().find("tokenizer", "prologu")


def _plugin(name: str) -> SimpleNamespace:
    @hookimpl
    def prologue_tokenizers() -> list[Component]:
        return [Component(name=name, target="nowhere:Nothing", summary="a test")]

    return SimpleNamespace(prologue_tokenizers=prologue_tokenizers)


def test_a_clash_of_names_keeps_the_first_and_names_both_origins() -> None:
    registry = Registry()
    registry.add_plugin(_plugin("mine"), "first 1.0")
    registry.add_plugin(_plugin("mine"), "second 2.0")
    assert registry.find_entry("tokenizer", "mine").origin == "first 1.0"
    assert registry.problems == ["tokenizer 'mine' of second 2.0 is left out: first 1.0 has that name"]


def test_a_plugin_that_cannot_be_imported_is_left_out_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "broken"
        dist = SimpleNamespace(name="broken-plugin", version="0.1")

        def load(self) -> object:
            raise ImportError("no module named 'missing'")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Broken()])
    registry = Registry.load()
    assert registry.problems == [
        "plugin 'broken' of broken-plugin 0.1 is left out: ImportError: no module named 'missing'"
    ]
    assert not list(registry)
