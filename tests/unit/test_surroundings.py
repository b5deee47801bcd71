"""The program in odd surroundings.

Users without a home, terminals without Unicode, launchers' variables.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prologue_bench.errors import UserError
from prologue_bench.storage.files import user_cache, user_path, write_text
from prologue_bench.training.launchers import launcher_of


@pytest.mark.parametrize("value", ["", " ", "relative/folder"])
def test_an_xdg_variable_that_is_no_absolute_path_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    expected = user_cache()
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert user_cache() == expected
    assert expected.is_relative_to(tmp_path)


def test_a_cache_of_temporary_files_that_somebody_else_has_made_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent/home")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (tmp_path / f"prologue-bench-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(UserError, match="another user"):
        user_cache()


@pytest.mark.parametrize(("text", "expected"), [("~nosuchuser/x", "no such user"), ("a\0b", "NUL")])
def test_a_path_that_no_file_can_have_is_one_line(text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        user_path(text, "--store")


def test_a_name_that_is_not_utf_8_can_be_written_into_a_text(tmp_path: Path) -> None:
    write_text(tmp_path / "names", "caf\udce9")
    assert (tmp_path / "names").read_bytes() == rb"caf\udce9"


@pytest.mark.parametrize(
    ("variables", "named", "expected"),
    [
        ({"WORLD_SIZE": "x", "RANK": "0"}, None, "WORLD_SIZE: found 'x'"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, None, "LOCAL_RANK is not set"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, None, "expected less than WORLD_SIZE"),
        ({}, "pytorch", "RANK is not set"),
        ({}, "slurm", "SLURM_PROCID is not set"),
        ({}, "mpi", "OMPI_COMM_WORLD_LOCAL_RANK is not set"),
    ],
)
def test_a_launcher_whose_variables_are_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str | None, expected: str
) -> None:
    others = {"LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    complete = {**others, **variables} if "2" in variables.get("RANK", "") else variables
    for name in ("RANK", "WORLD_SIZE", *others):
        monkeypatch.delenv(name, raising=False)
    for name, value in complete.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=expected):
        launcher_of(named)  # type: ignore[arg-type]
