"""Ablations that are installed are found by their names."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from prologue_bench import registry
from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.packaged import ablation_files, find_ablation
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from tests.conftest import ROOT

REGISTRY = Registry.load()


def test_every_file_has_its_name_and_is_listed() -> None:
    found = ablation_files(REGISTRY)
    assert {"prologue_count", "paper/2d"} <= found.keys()
    assert len(found) == len(list((ROOT / "ablations").rglob("*.yaml")))
    listed = CliRunner().invoke(cli, ["list", "ablation"]).output
    lines = {}
    for line in listed.splitlines():
        name, _, title = line.strip().partition("  ")
        lines[name] = title.strip()
    assert lines["prologue_count"] == "How many prologue tokens?"
    assert found.keys() <= lines.keys()


def test_they_are_packed_where_they_are_looked_for(tmp_path: Path) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"]["ablations"] == "prologue_bench/_ablations"
    assert '"_ablations"' in Path(registry.__file__).read_text()


def test_a_name_is_an_installed_ablation_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "ablations" / "prologue_count.yaml"
    assert find_ablation("prologue_count", REGISTRY) == shipped
    (tmp_path / "prologue_count").mkdir()
    assert find_ablation("prologue_count", REGISTRY) == shipped
    assert load_ablation(shipped, REGISTRY).name == "prologue_count"
    assert find_ablation("prologue_count.yaml", REGISTRY) == Path("prologue_count.yaml")
    (tmp_path / "guidance").write_text(shipped.read_text())
    assert find_ablation("guidance", REGISTRY) == Path("guidance")
    with pytest.raises(UserError, match=r"neither a file nor .* mean 'prologue_count'"):
        find_ablation("prologue_cuont", REGISTRY)


def test_plugins_bring_ablations_beside_their_cards(tmp_path: Path) -> None:
    registry = REGISTRY.copy()
    registry.card_folders.append(tmp_path)
    (tmp_path / "ablations" / "mine").mkdir(parents=True)
    own = tmp_path / "ablations" / "mine" / "first.yaml"
    own.write_text("title: Mine\n")
    (tmp_path / "ablations" / "prologue_count.yaml").write_text("title: Not this one\n")
    assert find_ablation("mine/first", registry) == own
    assert find_ablation("prologue_count", registry).parent == ROOT / "ablations"
