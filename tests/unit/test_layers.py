"""Arrows point down: each part of the framework imports only what is below it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FRAMEWORK, PLUGINS = ROOT / "prologue_bench", ROOT / "plugins" / "prologue_plugins"


def layers() -> list[set[str]]:
    """The rows of the table of docs/architecture.md, from the lowest to the highest."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("\n| package | what is in it |\n")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[1:]]  # below the line of dashes
    return [{name.rstrip("/") for name in re.findall(r"`([^`]+)`", row)} for row in rows]


LAYERS = layers()
"""Parts that stand in one row are no business of each other's, but for the lowest."""
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield from (f"{node.module}.{each.name}" for each in node.names)


def plugin_folders() -> set[str]:
    """The packages of plugins, with those that stand in a project's src/."""
    found = {path.parent.name for path in PLUGINS.parent.glob("*/__init__.py")}
    found |= {path.parent.name for path in PLUGINS.parent.glob("*/src/*/__init__.py")}
    assert found >= {"prologue_plugins", "example_tokenizer"}
    return found


def modules(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if path != FRAMEWORK / "__init__.py")


def test_the_table_has_every_part_of_the_framework_once() -> None:
    there = {path.stem for path in FRAMEWORK.glob("*.py")} - {"__init__", "__version__", "_version"}
    there |= {path.parent.name for path in FRAMEWORK.glob("*/__init__.py")}
    listed = [name for names in LAYERS for name in names]
    assert sorted(listed) == sorted(there)
    assert len(LAYERS) > 10


@pytest.mark.parametrize(
    "path", modules(FRAMEWORK), ids=lambda path: str(path.relative_to(FRAMEWORK))
)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    own = path.relative_to(FRAMEWORK).parts[0].removesuffix(".py")
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "prologue_bench" or parts[1] in (own, "__version__"):
            continue
        assert RANKS[parts[1]] < RANKS[own] or RANKS[own] == 0 == RANKS[parts[1]], (
            f"{own} imports {name}"
        )


@pytest.mark.parametrize(
    "path", modules(FRAMEWORK), ids=lambda path: str(path.relative_to(FRAMEWORK))
)
def test_the_framework_imports_no_plugin_and_mmengine_in_one_module(path: Path) -> None:
    found = {name.split(".")[0] for name in imports(path)}
    assert not plugin_folders() & found
    assert "mmengine" not in found or path == FRAMEWORK / "training" / "engine.py"


@pytest.mark.parametrize(
    "path",
    [*modules(FRAMEWORK / "training"), *modules(FRAMEWORK / "sampling")],
    ids=lambda path: str(path.relative_to(FRAMEWORK)),
)
def test_training_and_sampling_know_nothing_of_settings_but_its_own(path: Path) -> None:
    found = {".".join(name.split(".")[:3]) for name in imports(path)}
    assert {name for name in found if name.startswith("prologue_bench.config")} <= {
        "prologue_bench.config.settings"
    }


def public() -> set[str]:
    """The modules that docs/api/index.md lists for plugins and scripts to build on."""
    table = (ROOT / "docs" / "api" / "index.md").read_text()
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    names = re.findall(r"`([a-z_.]+)`", " ".join(rows))
    return {f"prologue_bench.{name.removeprefix('prologue_bench.')}" for name in names}


@pytest.mark.parametrize(
    "path",
    [*modules(PLUGINS), *modules(PLUGINS.parent / "example_tokenizer")],
    ids=lambda path: str(path.relative_to(PLUGINS.parent)),
)
def test_a_plugin_imports_what_is_documented_as_public(path: Path) -> None:
    for name in imports(path):
        if name.startswith("prologue_bench."):
            assert any(f"{name}.".startswith(f"{each}.") for each in public()), name


def test_what_is_documented_as_public_is_there() -> None:
    assert len(public()) > 15
    for name in public():
        place = ROOT.joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("path", modules(PLUGINS / "zoo"), ids=lambda path: path.name)
def test_others_models_do_not_rest_on_the_paper_s(path: Path) -> None:
    assert not any(name.startswith("prologue_plugins.official") for name in imports(path))
