"""README's commands work in their order, on what `make demo` makes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from tests.conftest import ROOT

AFTER_THE_DEMO = re.search(
    r"after `make demo`.*?```\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S
)


def test_the_commands_after_the_demo_work_in_their_order(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "reports").mkdir()
    (tmp_path / "report").rename(tmp_path / "reports" / "demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROLOGUE_BENCH_STORE", str(tmp_path / "store"))
    assert AFTER_THE_DEMO is not None
    commands = [shlex.split(line, comments=True)[1:] for line in AFTER_THE_DEMO[1].splitlines()]
    assert len(commands) == 6
    for words in commands:
        if words[0] == "demo":  # test_demo.py opens its page
            continue
        ended = CliRunner().invoke(cli, words)
        assert ended.exit_code == 0, (words, ended.output, ended.exception)
