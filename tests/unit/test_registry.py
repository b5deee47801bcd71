"""Plugins come in by one door, and a broken one harms nobody."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prologue_bench import contracts
from prologue_bench.config.experiments import Resolved
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.conformance.checks import made_up
from prologue_bench.contracts import Component, NoSettings, hookimpl
from prologue_bench.errors import UserError
from prologue_bench.pipeline.models import build_tokenizer
from prologue_bench.pipeline.stages import component_key
from prologue_bench.registry import Registry
from prologue_plugins.tokenizers.prologue import Prologue


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
    assert registry.problems == [
        "tokenizer 'mine' of second 2.0 is left out: first 1.0 has that name"
    ]


def test_a_plugin_that_cannot_be_imported_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_a_hook_that_raises_costs_its_own_components_alone() -> None:
    @hookimpl
    def prologue_metrics() -> list[Component]:
        raise KeyError("lost")

    plugin = _plugin("mine")
    plugin.prologue_metrics = prologue_metrics
    registry = Registry()
    registry.add_plugin(plugin, "half 1.0")
    assert registry.find_entry("tokenizer", "mine").origin == "half 1.0"
    assert registry.problems == ["prologue_metrics of half 1.0 is left out: KeyError: 'lost'"]


def test_a_plugin_for_another_interface_is_left_out_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Future:
        name = "future"
        dist = SimpleNamespace(name="future-plugin", version="9.0")

        def load(self) -> object:
            return SimpleNamespace(INTERFACE_VERSION=99, **vars(_plugin("later")))

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Future()])
    assert Registry.load().problems == [
        "plugin 'future' of future-plugin 9.0 is left out: "
        "it is written for interface 99 and this is interface 2; install a version that fits"
    ]


def test_an_interface_that_is_no_number_is_told_as_such() -> None:
    plugin = SimpleNamespace(INTERFACE_VERSION="2", **vars(_plugin("mine")))
    with pytest.raises(UserError, match=r"INTERFACE_VERSION is '2'.*, expected the number 2"):
        Registry().add_plugin(plugin, "mine 1.0")


@pytest.mark.parametrize(
    ("name", "instead"), [("Protocol", "it is Procedure now"), ("DecodingState", "any class")]
)
def test_a_name_of_an_earlier_interface_says_what_stands_for_it(name: str, instead: str) -> None:
    with pytest.raises(ImportError, match=f"no {name} in prologue_bench.contracts: .*{instead}"):
        exec(f"from prologue_bench.contracts import {name}")
    with pytest.raises(AttributeError):
        _ = contracts.Nonsense  # type: ignore[attr-defined]


def test_a_missing_library_names_the_extra() -> None:
    component = Component(
        name="x", target="no_such_library.a:B", summary="x", requires="prologue-bench[vq]"
    )
    with pytest.raises(
        UserError, match=r"there is no module 'no_such_library'; pip install 'prologue-bench\[vq\]'"
    ):
        component.load()


FILE = """
from prologue_bench.contracts import Component, hookimpl

@hookimpl
def prologue_tokenizers():
    return [Component(name="from-a-file", target="plugin_in_a_file:Mine", summary="one", version=3)]
"""


def test_what_a_plugin_prints_while_it_is_loaded_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = "prints_when_loaded"
    text = FILE.replace("plugin_in_a_file", own).replace("    return", "    print(2)\n    return")
    (tmp_path / f"{own}.py").write_text(f"print(1)\n{text}")
    registry = Registry()
    registry.add_file(tmp_path / f"{own}.py", "--plugin")
    (tmp_path / "imported_later.py").write_text("print(3)\nclass Mine: pass\n")
    Component(name="x", target="imported_later:Mine", summary="x").load()
    found = capsys.readouterr()
    assert (found.out, found.err.split()) == ("", ["1", "2", "3"])


def test_a_file_is_a_plugin_whose_content_is_part_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "plugin_in_a_file.py"
    path.write_text(FILE)
    registry = Registry()
    registry.add_file(path, "--plugin")
    registry.add_file(path, "--plugin")
    entry = registry.find_entry("tokenizer", "from-a-file")
    assert entry.origin.startswith(f"{path} ")
    assert (
        component_key(Resolved(entry.component, NoSettings()))["source"] == entry.component.source
    )
    assert "source" not in component_key(
        Resolved(Registry.load().find("tokenizer", "vq-2d"), NoSettings())
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, "no such file; expected a .py file"),
        ("notes.txt", "x", "no Python file; expected a .py file"),
        ("json.py", FILE, "there is a module 'json' already; give the file another name"),
        ("bad_syntax_plugin.py", "def (", "SyntaxError: "),
        (
            "bad_import_plugin.py",
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named",
        ),
        (
            "old_interface_plugin.py",
            "from prologue_bench.interfaces import Tokenizer",
            "there is no prologue_bench.interfaces; 'Interface 2' in docs/plugins.md",
        ),
        (
            "bad_interface_plugin.py",
            FILE + "\nINTERFACE_VERSION = 7",
            "it is written for interface 7 and this is",
        ),
        (
            "bad_hook_plugin.py",
            FILE.replace("return [", "raise OSError('disk') or ["),
            "prologue_tokenizers of .* is left out: OSError: disk",
        ),
    ],
)
def test_a_file_that_is_no_plugin_is_one_line(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    registry = Registry()
    with pytest.raises(UserError, match=f"here: .*{message}"):
        registry.add_file(tmp_path / name, "here")


class Doubling(Prologue):
    """Changes a default of torch in its constructor."""

    def __init__(self, *arguments: Any) -> None:
        torch.set_default_dtype(torch.float64)
        super().__init__(*arguments)


def test_what_a_constructor_changes_of_the_process_is_put_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = Registry.load()
    component = Component(
        name="doubling",
        target=f"{__name__}:Doubling",
        settings="prologue_plugins.tokenizers.settings:PrologueSettings",
        summary="",
    )
    registry.add("tokenizer", component, "a test")
    resolved = resolve_alone("tokenizer", "doubling", {}, "smoke", registry)
    for _ in range(2):
        build_tokenizer(resolved, made_up(28))
        assert torch.get_default_dtype() == torch.float32
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "prologue-bench: tokenizer 'doubling' of a test changed torch's default dtype when it was "
        "made; it is put back"
    )


def test_what_an_import_changes_of_the_process_is_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moving.py").write_text(
        f"""\
import os
import torch
os.chdir({str(tmp_path / "elsewhere")!r})
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
"""
    )
    (tmp_path / "still.py").write_text("import torch\n")
    hook = """
from prologue_bench.contracts import hookimpl
@hookimpl
def prologue_metrics():
    return []
"""
    for file in tmp_path.glob("*.py"):
        file.write_text(file.read_text() + hook)
    before = os.getcwd()
    for name in ("moving", "still"):
        Registry.load().add_file(tmp_path / f"{name}.py", "--plugin")
        assert os.getcwd() == before
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_grad_enabled()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"prologue-bench: plugin {tmp_path / 'moving.py'} changed the working folder and torch's "
        "default dtype and torch's gradients when it was imported; it is put back"
    )
