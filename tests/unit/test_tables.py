"""Tables are fitted to a terminal; in a file or a pipe nothing of them is cut or wrapped."""

from __future__ import annotations

import io
import sys

import pytest
from rich.text import Text

from prologue_bench.cli.console.tables import new_table, show

LONG = " ".join(["[red]word[/red]"] * 40)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, out: io.StringIO) -> list[str]:
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    table = new_table()
    table.add_row(Text("ok", "green"), "a", "short")
    table.add_row("missing", "b", LONG)
    show(table)
    return out.getvalue().splitlines()


def test_in_a_pipe_each_row_is_one_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ["ok       a  short", f"missing  b  {LONG}"]


def test_a_terminal_gets_lines_of_its_width_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = shown(monkeypatch, Terminal())
    assert "\x1b[32m" in first
    assert len(others) > 5
    assert max(map(len, others)) <= 60
    assert " ".join(" ".join(others).split()) == f"missing b {LONG}"


def test_a_table_without_rows_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show(new_table())
    assert out.getvalue() == ""
