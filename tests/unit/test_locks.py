"""Locks of a store that several machines share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from prologue_bench.errors import StageError
from prologue_bench.storage import locks
from prologue_bench.storage.locks import Held, locked, try_lock

fcntl = pytest.importorskip("fcntl", reason="Windows has none")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(locks, "LOST_LOOKS", 20)


class GaveUpError(Exception):
    """Whoever waited has waited for long."""


class Patience:
    """Waits so many looks long, and sees what they find."""

    def __init__(self, path: Path, looks: int, signs: bool = False) -> None:
        self.path, self.looks, self.signs = path, looks, signs
        self.waited = 0

    def __call__(self) -> None:
        self.waited += 1
        if self.signs:
            self.path.write_text(f"other {self.waited}\n")
        if self.waited > self.looks:
            raise GaveUpError


def hold(path: Path, sign: str) -> int:
    """Hold a lock as another process does."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    os.write(file, sign.encode())
    return file


def test_a_lock_of_a_machine_that_is_lost_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "k.lock"
    lost = hold(path, "other 000000000001\n")
    waits = Patience(path, 100)
    with locked(path, waits) as held:
        held.check()
        assert waits.waited == 21
        with pytest.raises(StageError, match="another machine took over"):
            Held(path, lost).check()
    assert "has given no sign of life" in capsys.readouterr().err
    assert not path.exists()


def test_who_was_taken_for_lost_leaves_the_other_s_lock_alone(tmp_path: Path) -> None:
    path = tmp_path / "k.lock"
    lost = Held(path, hold(path, ""))
    path.unlink()
    theirs = hold(path, "other 1\n")
    lost.release()
    assert path.exists()
    assert try_lock(path) is None
    os.close(theirs)


def test_a_lock_stays_where_it_cannot_be_told_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k.lock"
    lost = Held(path, hold(path, ""))
    path.unlink()
    theirs = hold(path, "other 1\n")

    def stale(*_: object) -> bool:
        raise OSError("stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(locks, "_is_at", stale)
        lost.release()
    assert try_lock(path) is None
    os.close(theirs)


@pytest.mark.parametrize("sign", ["", "own"])
def test_a_lock_of_this_machine_is_never_taken_over(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "k.lock"
    theirs = hold(path, f"{locks._machine()} 000000000001\n" if sign else "")
    with pytest.raises(GaveUpError), locked(path, Patience(path, 100)):
        pass
    assert os.path.samestat(path.stat(), os.fstat(theirs))
    os.close(theirs)


def test_a_machine_that_gives_signs_of_life_keeps_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "k.lock"
    theirs = hold(path, "other 0\n")
    with pytest.raises(GaveUpError), locked(path, Patience(path, 100, signs=True)):
        pass
    os.close(theirs)


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SIGN_SECONDS", 0.001)
    path = tmp_path / "k.lock"
    with locked(path):
        first = path.read_text()
        assert first.startswith(f"{locks._machine()} ")
        for _ in range(1000):
            if path.read_text() != first:
                break
            locks.time.sleep(0.001)
        else:
            raise AssertionError("no further sign")
    assert not path.exists()


def test_windows_locks_a_byte_that_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, int]] = []

    def locking(file: int, mode: int, count: int) -> None:
        assert (mode, count) == ("without waiting", 1)
        place = (os.fstat(file).st_ino, os.lseek(file, 0, os.SEEK_CUR))
        if place in taken:
            raise PermissionError(13, "Permission denied")
        taken.append(place)

    monkeypatch.setattr(locks, "fcntl", None)
    windows = SimpleNamespace(locking=locking, LK_NBLCK="without waiting")
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    path = tmp_path / "k.lock"
    with locked(path) as held:
        assert try_lock(path) is None
        held.sign()
        assert path.read_text().endswith(" 000000000002\n")
        assert path.stat().st_size < locks.LOCKED_BYTE == taken[0][1]
    assert not path.exists()
