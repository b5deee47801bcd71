"""Paths as users write them: with ~ where no shell saw it, and empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest

import prologue_bench as pb
from prologue_bench.cli.app import cli
from prologue_bench.cli.commands.plan import parse_seeds
from prologue_bench.cli.options import FILE, FOLDER, PATH, PathType
from prologue_bench.errors import UserError
from tests.conftest import ROOT


def commands(group: click.Group) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command) if isinstance(command, click.Group) else (command,)


def test_all_paths_of_all_commands_are_read_alike() -> None:
    found = [each.type for command in commands(cli) for each in command.params]
    paths = [each for each in found if isinstance(each, click.Path)]
    assert len(paths) > 20
    assert all(isinstance(each, PathType) for each in paths)


@pytest.mark.parametrize("kind", [PATH, FILE, FOLDER])
def test_a_home_that_no_shell_put_in_is_put_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: PathType
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kind.convert("~/o", None, None) == tmp_path / "o"
    monkeypatch.chdir(tmp_path)
    assert kind.convert("./~/o", None, None) == tmp_path / "~" / "o"
    option = click.Option(["--out"])
    with pytest.raises(UserError, match=r"--out: ~no-one/o: there is no such user"):
        kind.convert("~no-one/o", option, None)
    with pytest.raises(UserError, match=r"--out: found an empty text.* expected a path"):
        kind.convert("", option, None)
    with pytest.raises(UserError, match="RESULTS: found an empty text"):
        kind.convert("", click.Argument(["results"]), None)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pb.measure("", ROOT),
        lambda: pb.measure(np.zeros((4, 8, 8, 3), np.uint8), ""),
        lambda: pb.load_results(""),
        lambda: pb.run(""),
        lambda: pb.run("prologue_count", store=""),
    ],
)
def test_an_empty_path_is_not_the_working_folder(call: Callable[[], object]) -> None:
    with pytest.raises(UserError, match="found an empty text"):
        call()


def test_a_folder_below_a_file_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    option = click.Option(["--out"])
    for place, found in (("file", "a file"), ("file/x/y", "the file .*file above it")):
        with pytest.raises(UserError, match=f"--out .*{place}: found {found}, expected a folder"):
            FOLDER.convert(tmp_path / place, option, None)
    assert FOLDER.convert(tmp_path / "x/y", option, None) == tmp_path / "x" / "y"


def test_a_range_of_too_many_seeds_says_how_many_may_be() -> None:
    with pytest.raises(UserError, match=r"--seeds 0-1000000: .* such as 0-4, of at most 10,000$"):
        parse_seeds("0-1000000")
    with pytest.raises(UserError, match="expected whole numbers, such as"):
        parse_seeds("4-0")
    assert parse_seeds("3,0-2") == (3, 0, 1, 2)
