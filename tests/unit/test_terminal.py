"""What the command line offers, reads and says at its end."""

from __future__ import annotations

import io
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from prologue_bench.cli.app import cli
from prologue_bench.cli.commands.plan import parse_seeds
from prologue_bench.cli.console.needs import store_line
from prologue_bench.cli.console.terminal import guarded, style
from prologue_bench.errors import UserError
from prologue_bench.storage.store import Store
from tests.conftest import ROOT


def offered(line: str, begun: str) -> list[str]:
    complete = BashComplete(cli, {}, "prologue-bench", "_PROLOGUE_BENCH_COMPLETE")
    return [item.value for item in complete.get_completions(line.split(), begun)]


@pytest.mark.parametrize(
    ("line", "begun", "names"),
    [
        ("run", "prologue_count", ["prologue_count"]),
        ("plan prologue_count --profile", "mic", ["micro"]),
        ("run prologue_count --only", "prologue_tokens=1", ["prologue_tokens=16"]),
        (
            "run prologue_count --set",
            "tokenizer.prologue_",
            ["tokenizer.prologue_tokens=", "tokenizer.prologue_codebook="],
        ),
        ("plan prologue_count --set", "generator_training.st", ["generator_training.steps="]),
        ("show", "prologue-p", ["prologue-post"]),
        ("check-plugin", "vq-2", ["vq-2d"]),
        ("import-checkpoint DIR --preset", "prologue-", ["prologue-b", "prologue-l"]),
        ("import-checkpoint FILE --preset", "rar-", ["rar-b", "rar-xxl"]),
    ],
)
def test_the_shell_completes_names(line: str, begun: str, names: list[str]) -> None:
    assert set(names) <= set(offered(line, begun))


def test_an_ablation_that_cannot_be_read_offers_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: [")
    assert offered(f"run {tmp_path}/broken.yaml --only", "") == []
    assert offered("run no_such --set", "") == []


def test_paths_of_ablations_are_completed_too() -> None:
    complete = BashComplete(cli, {}, "prologue-bench", "_PROLOGUE_BENCH_COMPLETE")
    found = complete.get_completions(["run"], str(ROOT / "abl"))
    assert [item.type for item in found] == ["file"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("7", (7,)), ("0,3-5, 9", (0, 3, 4, 5, 9)), ("2-2", (2,))],
)
def test_seeds_may_be_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["4-0", "0-", "-", "a-b", "0-99999999", "0..4", "1,,2", ""])
def test_what_is_no_range_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected whole numbers, such as 0,1,2, or a range"):
        parse_seeds(text)


def test_the_store_says_what_it_takes_and_how_to_free_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "artifacts" / "one").mkdir(parents=True)
    (tmp_path / "artifacts" / "one" / "file").write_bytes(bytes(2000))
    assert store_line(store) == f"Store: 2.0 kB, in {tmp_path}"
    for folder in ("cache", "work"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(bytes(1000))
    assert store_line(store) == (
        f"Store: 4.0 kB, 1.0 kB of it cached features, 1.0 kB unfinished work, in {tmp_path}; "
        "`prologue-bench store gc` shows what can go"
    )


def test_a_terminal_of_ascii_gets_neither_marks_nor_control_characters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        with guarded():
            click.echo(f"{style('bold', 'bold')} \x07 ±")
    stream.flush()
    assert stream.buffer.getvalue().decode() == "bold \\x07 ±\n"  # type: ignore[attr-defined]
