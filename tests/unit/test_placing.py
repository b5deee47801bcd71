"""Files put into a folder together: whole, beside files of others, and never through a link."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from prologue_bench.errors import UserError
from prologue_bench.storage.files import checksum, write_text
from prologue_bench.storage.placing import (
    NEW,
    READY,
    checksums,
    is_inside,
    not_own,
    placing,
    recover,
)

INDEX = "index.json"


def put(folder: Path, files: dict[str, str], own: dict[str, str] | None = None) -> dict[str, str]:
    """Put files into a folder, and return their checksums."""
    with placing(folder, own or {}, last=INDEX) as aside:
        for name, text in files.items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_text(text)
        return checksums(aside)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_no_longer_written_goes_and_files_of_others_stay(tmp_path: Path) -> None:
    own = put(tmp_path, {"a/one": "1", "a/two": "2", INDEX: "old"})
    (tmp_path / "a" / "logo").write_text("mine")
    put(tmp_path, {"a/two": "3", INDEX: "new"}, own)
    assert contents(tmp_path) == {"a/two": "3", "a/logo": "mine", INDEX: "new"}


def test_a_file_that_somebody_changed_is_not_removed(tmp_path: Path) -> None:
    own = put(tmp_path, {"a/one": "1", INDEX: "old"})
    (tmp_path / "a" / "one").write_text("mine now")
    put(tmp_path, {INDEX: "new"}, own)
    assert (tmp_path / "a" / "one").read_text() == "mine now"


@pytest.mark.parametrize("cut", range(8))
def test_cut_off_at_any_rename_the_next_one_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Each rename but the first `cut` ends the process, so far as the folder can tell."""
    old = {"a/one": "1", "b": "1", INDEX: "1"}
    new = {"a/one": "2", "a/two": "2", "b": "2", INDEX: "2"}
    own = put(tmp_path, old)
    done = 0
    replace, rename = os.replace, Path.rename

    def step() -> None:
        nonlocal done
        done += 1
        if done > cut:
            raise KeyboardInterrupt

    def counted_replace(*paths: Path) -> None:
        step()
        replace(*paths)

    def counted_rename(path: Path, target: Path) -> Path:
        step()
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted_replace)
        patch.setattr(Path, "rename", counted_rename)
        with contextlib.suppress(KeyboardInterrupt):
            put(tmp_path, new, own)
    recover(tmp_path, INDEX)
    assert contents(tmp_path) == (old if cut == 0 else new)


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    put(tmp_path, {INDEX: "1"})
    (tmp_path / NEW).mkdir()
    (tmp_path / NEW / "half").write_text("")
    (tmp_path / f".{INDEX}.4711").write_text("as earlier versions wrote aside")
    recover(tmp_path, INDEX)
    assert contents(tmp_path) == {INDEX: "1"}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "one").write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").symlink_to(mine)
    with pytest.raises(UserError, match="a: is a link, and nothing is written through it"):
        not_own(folder, ["a/one"], {})
    (folder / READY / "a").mkdir(parents=True)
    (folder / READY / "a" / "one").write_text("a stranger's")
    with pytest.raises(UserError):
        recover(folder, INDEX)
    assert contents(mine) == {"one": "mine"}


def test_a_strangers_list_removes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    names = ["../mine", str(mine), "a/../../mine", "link", ""]
    assert not any(
        map(is_inside, ["../mine", str(mine), "a/../../mine", "", "a//b", "./a", 3, None])
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(mine)
    put(folder, {INDEX: "1"}, dict.fromkeys(names, checksum(mine)))
    assert mine.read_text() == "mine"
    assert (folder / "link").is_symlink()


def test_a_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    put(tmp_path / "link", {INDEX: "1"})
    assert contents(tmp_path / "there") == {INDEX: "1"}
    assert (tmp_path / "link").is_symlink()


def test_an_error_while_writing_leaves_everything_as_it_was(tmp_path: Path) -> None:
    put(tmp_path, {INDEX: "1"})
    with pytest.raises(IsADirectoryError):
        put(tmp_path, {"a/one": "2", INDEX: "2", "a": "no file"})
    assert contents(tmp_path) == {INDEX: "1"}


def test_a_single_file_behind_a_link_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "there").write_text("old")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "there").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_single_files_of_killed_processes_are_cleaned_up(tmp_path: Path) -> None:
    left = tmp_path / ".one.999999999"
    left.write_text("half")
    os.utime(left, (0, 0))
    young = tmp_path / f".one.{os.getpid()}0000000000"
    young.write_text("perhaps another machine's")
    write_text(tmp_path / "one", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["one", young.name])
