"""Whatever stands in the store, only what was written there under its own key is used."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from torch import nn

from prologue_bench.cli.app import cli
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.executors.stage import _Clock
from prologue_bench.pipeline.imported import add_imported
from prologue_bench.pipeline.tokens import open_tokens
from prologue_bench.storage import store as stores
from prologue_bench.storage.kept import find_kept, keep
from prologue_bench.storage.store import Store
from prologue_bench.storage.unfinished import seal
from prologue_bench.storage.weights import save_weights
from tests.factories.stores import put

KEYS = ["0" * 20, "1" * 20]
BAD_MANIFESTS = {
    "a list": b"[]",
    "an empty mapping": b"{}",
    "null": b"null",
    "a text": b'"x"',
    "no files": b'{"files": {}}',
    "files that are none": b'{"files": null}',
    "brackets": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe",
    "a long number": b"9" * 5000,
}


def command(store: Store, *argv: str) -> Result:
    return CliRunner().invoke(cli, ["store", *argv, "--store", str(store.root)])


def look(store: Store) -> None:
    """Every command that looks at a store gets through it."""
    for argv in (("ls",), ("verify",), ("gc",)):
        found = command(store, *argv)
        assert found.exception is None or type(found.exception).__name__ == "PrologueBenchError", (
            found.exception
        )
    list(Store(store.root).manifests())


def replace_manifest(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


MANIFEST_DAMAGES: dict[str, Callable[[Path], object]] = {
    **{
        name: lambda folder, content=content: replace_manifest(folder, content)
        for name, content in BAD_MANIFESTS.items()
    },
    "gone": lambda folder: (folder / "manifest.json").unlink(),
    "a fifo": lambda folder: fifo(folder / "manifest.json"),
    "a link to a device": lambda folder: link(folder / "manifest.json", "/dev/zero"),
    "a link in a circle": lambda folder: link(folder / "manifest.json", "manifest.json"),
    "a folder": lambda folder: (
        (folder / "manifest.json").unlink(),
        (folder / "manifest.json").mkdir(),
    ),
}


@pytest.mark.parametrize("damage", MANIFEST_DAMAGES)
def test_a_manifest_of_any_other_shape_is_damaged_and_stops_no_command(
    store: Store, damage: str
) -> None:
    for key in KEYS:
        put(store, key)
    MANIFEST_DAMAGES[damage](store.artifact(KEYS[0]))
    fresh = Store(store.root)
    assert fresh.find(KEYS[0]) is None
    assert fresh.find(KEYS[1]) is not None
    look(store)
    verified = command(store, "verify")
    assert verified.output.startswith(f"{KEYS[0]}: ")
    assert "1 of 2 artifacts are damaged" in str(verified.exception)
    put(fresh, KEYS[0])
    assert command(store, "verify").exit_code == 0


@pytest.mark.parametrize("field", ["kind", "seconds", "files", "key", "checksum"])
def test_a_changed_field_of_a_manifest_is_damage(store: Store, field: str) -> None:
    folder = put(store, KEYS[0])
    found = json.loads((folder / "manifest.json").read_text())
    found[field] = "train" if field == "kind" else 2.0
    replace_manifest(folder, json.dumps(found).encode())
    assert Store(store.root).find(KEYS[0]) is None


@pytest.mark.parametrize("how", ["swapped", "copied", "linked"])
def test_an_artifact_in_another_s_place_is_damaged_said_and_replaced(
    store: Store, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (put(store, key, key) for key in KEYS)
    aside = store.root / "aside"
    if how == "swapped":
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
    else:
        shutil.rmtree(other)
        shutil.copytree(one, other) if how == "copied" else other.symlink_to(one)
    fresh = Store(store.root)
    assert fresh.find(KEYS[1]) is None
    assert "it was written for another key" in capsys.readouterr().err
    assert f"{KEYS[1]}: it was written for another key" in command(store, "verify").output
    put(fresh, KEYS[1], KEYS[1])
    assert (fresh.get(KEYS[1]) / "file.txt").read_text() == KEYS[1]
    if how == "linked":
        assert (one / "file.txt").read_text() == KEYS[0], "what a link leads to stays"


@pytest.mark.parametrize(
    "place", ["file", "fifo", "dangling link", "link in a circle", "damaged behind a link"]
)
def test_whatever_is_in_an_artifact_s_place_is_replaced(
    store: Store, place: str, tmp_path: Path
) -> None:
    folder = put(store, KEYS[0])
    behind = tmp_path / "behind"
    folder.rename(behind)
    if place == "file":
        folder.write_text("x")
    elif place == "fifo":
        os.mkfifo(folder)
    else:
        folder.symlink_to(
            {"dangling link": "nowhere", "link in a circle": KEYS[0]}.get(place, behind)
        )
    (behind / "file.txt").write_text("damaged")
    look(store)
    fresh = Store(store.root)
    assert fresh.find(KEYS[0]) is None
    put(fresh, KEYS[0])
    assert Store(store.root).find(KEYS[0]) is not None
    assert (behind / "file.txt").read_text() == "damaged"


def test_files_that_no_stage_wrote_do_not_belong_to_an_artifact(store: Store) -> None:
    output = store.work("k") / "output"
    output.mkdir(parents=True)
    np.save(output / "test-00000.npy", np.zeros((2, 3), np.int32))
    folder = store.commit("k", output, {"kind": "encode"}).folder
    for name in ("test.npy", "test-00001.npy", "curves.jsonl"):
        np.save(folder / "x.npy", np.ones((5, 3), np.int32))
        (folder / "x.npy").rename(folder / name)
    found = Store(store.root).get("k")
    assert len(open_tokens(found, "test")) == 2
    assert set(found.files) == {"test-00000.npy"}


def test_what_is_not_the_store_s_is_left_alone(store: Store) -> None:
    put(store, KEYS[0])
    foreign = store.root / "artifacts" / "notes"
    foreign.mkdir()
    (foreign / "manifest.json").write_text("[]")
    (store.root / "artifacts" / ".DS_Store").write_text("x")
    said = command(store, "verify").output
    assert "notes: passed over, since its name is not that of an artifact" in said
    assert command(store, "gc", "--yes", "--older-than", "0").exit_code == 0
    assert foreign.is_dir()
    assert "1 artifacts" in command(store, "ls").output


def test_keys_that_leave_the_store_are_refused(store: Store) -> None:
    put(store, KEYS[0])
    with pytest.raises(UserError, match="expected a name without"):
        store.find("../../x")
    for key in ("", "..", "../artifacts"):
        assert command(store, "rm", key).exit_code != 0
    assert store.artifact(KEYS[0]).is_dir()


@pytest.mark.parametrize(
    "damage", ["bytes", "length", "a copy", "a fifo", "a file for the folder", "manifest"]
)
def test_what_is_kept_in_the_cache_is_checked_verified_listed_and_made_anew(
    store: Store, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, text in (("a", "one"), ("b", "two")):
        keep(
            store.cache,
            "features",
            key,
            lambda folder, text=text: (folder / "f.npy").write_text(text),
            "of these",
        )
    assert find_kept(store.cache, "features", "a") is not None
    assert len(json.loads(command(store, "ls", "--json").output)) == 2
    folder = store.cache / "features" / "a"
    if damage == "bytes":
        (folder / "f.npy").write_text("onE")
    elif damage == "length":
        (folder / "f.npy").write_text("o")
    elif damage == "a copy":
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("b"), folder)
    elif damage == "a fifo":
        fifo(folder / "f.npy")
    elif damage == "manifest":
        (folder / "manifest.json").write_text("[]")
    else:
        shutil.rmtree(folder)
        folder.write_text("x")
    assert find_kept(store.cache, "features", "a") is None
    assert "it is made anew" in capsys.readouterr().err
    assert "cache/features/a: " in command(store, "verify").output
    assert command(store, "gc", "--yes").exit_code == 0
    assert not os.path.lexists(folder)
    assert find_kept(store.cache, "features", "b") is not None
    keep(store.cache, "features", "a", lambda folder: None)
    assert command(store, "verify").exit_code == 0


def test_unfinished_work_is_used_as_far_as_it_is_as_it_was_sealed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    work = store.begin("k")
    for name in (
        "drawn/0.npy",
        "drawn/1.npy",
        "drawn/2.npy",
        "drawn/3.npy",
        "run/iter_3.pth",
        "output/train.npy",
    ):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        if name != "drawn/1.npy":
            seal(work, path)
    (work / "drawn" / "2.npy").write_text("changed")
    fifo(work / "drawn" / "3.npy")
    (work / "output" / "search.json").write_text("nobody wrote this")
    (work / "run" / "iter_6.pth").mkdir()
    (work / "seconds").mkdir()
    (work / "threads").mkdir()
    link_to = store.root / "outside"
    link_to.mkdir()
    (link_to / "own.txt").write_text("mine")
    (work / "run" / "logs").symlink_to(link_to)
    assert store.begin("k") == work
    left = {
        path.relative_to(work).as_posix()
        for path in work.rglob("*")
        if path.is_file() and "seals" not in path.parts
    }
    assert left == {"drawn/0.npy", "run/iter_3.pth", "output/train.npy"}
    said = capsys.readouterr().err
    assert "drawn/2.npy is not what was written; that part is done again" in said
    assert "drawn/3.npy is not a file" in said
    assert len(said.splitlines()) == 3
    assert (link_to / "own.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["work", "output"])
def test_a_file_or_link_in_the_place_of_unfinished_work_is_no_obstacle(
    store: Store, place: str
) -> None:
    path = store.work("k") if place == "work" else store.work("k") / "output"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    assert (store.begin("k") / "output").is_dir()
    shutil.rmtree(store.work("k"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere")
    assert (store.begin("k") / "output").is_dir()


def test_gc_leaves_work_whose_lock_is_held_and_removes_idle_locks(store: Store) -> None:
    put(store, KEYS[0])
    (store.artifact(KEYS[0]) / "file.txt").write_text("damaged")
    store.begin(KEYS[1])
    idle = store.root / "locks" / "idle.lock"
    with store.lock(KEYS[0]), store.lock(KEYS[1]):
        idle.touch()
        found = command(store, "gc", "--older-than", "0", "--yes")
        assert found.output.count("a process is working on it; it stays") == 2
        assert "locks: 1 that no process holds" in found.output
        assert store.work(KEYS[1]).is_dir()
        assert store.artifact(KEYS[0]).is_dir()
        assert not idle.exists()
    assert not list(idle.parent.iterdir()), "a lock goes with its holder"
    assert command(store, "gc", "--older-than", "0", "--yes").output.count("removed") == 1
    assert not store.work(KEYS[1]).exists()


def test_rm_and_gc_say_what_they_did_of_links(store: Store, tmp_path: Path) -> None:
    for number, key in enumerate(KEYS):
        put(store, key).rename(tmp_path / str(number))
        store.artifact(key).symlink_to(tmp_path / str(number))
    (tmp_path / "1" / "file.txt").write_text("damaged")
    assert (
        f"removed {KEYS[0]} (a link to {tmp_path / '0'}, which stays)"
        in command(store, "rm", KEYS[0]).output
    )
    assert (
        f"damaged (a link to {tmp_path / '1'}, which stays)" in command(store, "gc", "--yes").output
    )
    assert not list((store.root / "artifacts").iterdir())
    assert (tmp_path / "0" / "file.txt").is_file()
    assert (tmp_path / "1" / "file.txt").is_file()


def test_artifacts_may_lie_on_another_disk(store: Store) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == store.root.parent.stat().st_dev:
        pytest.skip("needs a second file system")
    target = other / f"prologue-bench-test-{os.getpid()}"
    target.mkdir()
    try:
        store.root.mkdir()
        (store.root / "artifacts").symlink_to(target)
        put(store, KEYS[0])
        put(store, KEYS[0], "again")
        assert (Store(store.root).get(KEYS[0]) / "file.txt").read_text() == "again"
        assert [path.name for path in target.iterdir()] == [KEYS[0]]
        assert not store.work(KEYS[0]).exists()
    finally:
        shutil.rmtree(target)


def test_a_link_to_a_disk_that_is_not_there_is_named(store: Store) -> None:
    store.root.mkdir()
    (store.root / "artifacts").symlink_to("/nowhere/at/all")
    with pytest.raises(StageError, match="a link to /nowhere/at/all, which is no folder"):
        put(store, KEYS[0])


def test_weights_have_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    for umask, mode in ((0o002, 0o664), (0o022, 0o644), (0o077, 0o600)):
        before = os.umask(umask)
        try:
            save_weights(nn.Linear(1, 1), tmp_path / "weights.safetensors")
        finally:
            os.umask(before)
        assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == mode


def test_an_error_of_permissions_in_the_store_is_told_from_others(store: Store) -> None:
    assert store.refuses(PermissionError(errno.EACCES, "", str(store.work("k") / "x")))
    assert store.refuses(OSError(errno.EROFS, "", str(store.root / "locks")))
    assert not store.refuses(PermissionError(errno.EACCES, "", "/data/images"))
    assert not store.refuses(OSError(errno.ENOSPC, "", str(store.root / "locks")))
    assert stores.is_full_disk(OSError(errno.ENOSPC, "", str(store.root / "locks")))


def test_imported_checkpoints_are_listed_by_their_name(store: Store) -> None:
    output = store.begin("k") / "output"
    (output / "tokenizer.safetensors").write_bytes(b"x")
    store.commit(
        "k",
        output,
        {"kind": "imported-tokenizer", "name": "theirs", "seconds": None, "finished": "2026"},
    )
    assert "imported-tokenizer" in (listed := command(store, "ls").output)
    assert "theirs" in listed


def test_a_name_of_an_import_cannot_leave_the_store(store: Store, tmp_path: Path) -> None:
    folder = put(store, KEYS[0])
    name = "../../../artifacts"
    argv = [
        "import-checkpoint",
        str(tmp_path),
        "--preset",
        "ar-b",
        "--name",
        name,
        "--out",
        str(store.root),
    ]
    found = CliRunner().invoke(cli, argv)
    assert isinstance(found.exception, UserError)
    assert str(found.exception).startswith(f"--name: found '{name}', expected a name without")
    with pytest.raises(UserError, match=r"--name: found '\.\.'"):
        add_imported(store, "tokenizer", "..", None, {}, nn.Linear(1, 1), {})  # type: ignore[arg-type]
    assert folder.is_dir()


def test_a_damaged_time_of_unfinished_work_is_said_and_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = _Clock(tmp_path / "seconds")
    clock.before = 40.0
    clock.note()
    assert _Clock(tmp_path / "seconds").before >= 40.0
    (tmp_path / "seconds").write_text("90" + (tmp_path / "seconds").read_text()[2:])
    assert _Clock(tmp_path / "seconds").before == 0.0
    assert "is not what was written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["work", "locks", "cache", "cache/features", "cache/.locks"])
def test_a_file_in_the_place_of_a_folder_of_the_store_is_no_obstacle(
    store: Store, name: str
) -> None:
    (store.root / name).parent.mkdir(parents=True)
    (store.root / name).write_text("x")
    look(store)
    with store.lock("k"):
        put(store, "k") if name != "work" else store.begin("k")
    keep(store.cache, "features", "a", lambda folder: None)
    assert find_kept(store.cache, "features", "a") is not None
    assert command(store, "gc", "--yes", "--older-than", "0").exit_code == 0


def test_an_artifact_is_removed_by_its_key_though_something_kept_begins_with_it(
    store: Store,
) -> None:
    put(store, KEYS[0])
    keep(store.cache, "prefixes", f"{KEYS[0]}-2", lambda folder: None)
    assert f"removed {KEYS[0]}" in command(store, "rm", KEYS[0]).output
    assert f"removed cache/prefixes/{KEYS[0]}-2" in command(store, "rm", KEYS[0][:6]).output
