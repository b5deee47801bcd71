"""The artifact store: nothing half-written is ever taken for an artifact."""

from __future__ import annotations

import ast
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.contracts import stage_kinds
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.stages import Stage
from prologue_bench.storage.files import write_text
from prologue_bench.storage.store import Store, is_full_disk
from tests.conftest import ROOT
from tests.factories.stores import put


def test_a_committed_artifact_is_found_and_its_work_folder_gone(store: Store) -> None:
    folder = put(store, "k1")
    found = store.find("k1")
    assert found is not None
    assert (found / "file.txt").read_text() == "content"
    assert json.loads((folder / "manifest.json").read_text())["files"]["file.txt"]["bytes"] == 7
    assert not store.work("k1").exists()
    assert [manifest["key"] for manifest in store.manifests()] == ["k1"]


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone", "manifest"])
def test_a_damaged_artifact_is_not_found_and_can_be_replaced(store: Store, damage: str) -> None:
    folder = put(store, "k1")
    file = folder / "file.txt"
    if damage == "changed":
        file.write_text("c0ntent")
    elif damage == "shorter":
        file.write_text("con")
    elif damage == "gone":
        file.unlink()
    else:
        (folder / "manifest.json").write_text("{")
    fresh = Store(store.root)
    assert fresh.find("k1") is None
    with pytest.raises(StageError, match="missing or damaged"):
        fresh.get("k1")
    put(fresh, "k1", "again")
    assert (fresh.get("k1") / "file.txt").read_text() == "again"


def test_an_unfinished_stage_is_no_artifact(store: Store) -> None:
    (store.work("k1") / "output").mkdir(parents=True)
    assert store.find("k1") is None


def test_writing_a_text_leaves_the_old_one_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_text(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_full_disks_are_recognised_through_their_causes() -> None:
    assert is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    wrapped = RuntimeError("writing failed")
    wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert is_full_disk(wrapped)
    assert not is_full_disk(RuntimeError("something else"))


def test_a_kind_that_no_artifact_has_is_named_with_those_there_are(store: Store) -> None:
    put(store, "k1")
    known = next(iter(store.manifests()))["kind"]
    arguments = ["store", "ls", "--kind", f"{known}x", "--store", str(store.root)]
    found = CliRunner().invoke(cli, arguments)
    assert isinstance(found.exception, UserError)
    assert str(found.exception) == (
        f"--kind {known}x: found no such artifact; did you mean '{known}'?"
    )


@pytest.mark.parametrize("command", ["ls", "push"])
def test_a_kind_that_there_is_not_is_an_error_of_an_empty_store_too(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "store").mkdir()
    remote = [f"file://{tmp_path / 'remote'}"] if command == "push" else []
    arguments = ["store", command, *remote, "--store", str(tmp_path / "store"), "--kind"]
    found = CliRunner().invoke(cli, [*arguments, "sampel"])
    assert isinstance(found.exception, UserError)
    assert str(found.exception) == "--kind sampel: there is no such kind; did you mean 'sample'?"
    for known in ("sample", "measure", "features", "picture-*"):
        fine = CliRunner().invoke(cli, [*arguments, known], catch_exceptions=False)
        assert fine.exit_code == 0, fine.output


def test_the_kinds_that_the_commands_know_are_those_of_the_stages() -> None:
    kinds: list[str] = []
    waiting: list[Any] = [Stage]
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        kinds += [each.kind] if "kind" in vars(each) and each.__module__ == Stage.__module__ else []
    assert sorted(kinds) == sorted(stage_kinds.ALL)


def test_kinds_of_stages_are_written_once() -> None:
    kinds = {kind for kind in stage_kinds.ALL if "-" in kind}  # others are words of their own
    assert kinds
    for path in sorted((ROOT / "prologue_bench").rglob("*.py")):
        if path.name in ("stage_kinds.py", "migration.py"):  # the second reads old files
            continue
        texts = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not kinds & texts, path
