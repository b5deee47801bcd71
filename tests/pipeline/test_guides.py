"""The guides of the site work as they are written: their files, and their commands in order.

Commands that need what a test has not are marked in the page, with the reason:
`<!-- not run: needs two GPUs -->`. Their options are checked all the same.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from attrs import frozen

from prologue_bench.cli.app import cli
from prologue_bench.documents import yaml_values
from tests.conftest import ROOT
from tests.factories.image_folders import make_images
from tests.slow.harness import Ending

TESTED_ELSEWHERE = {
    "index.md": "test_readme.py, test_docs.py",
    "changelog.md": "has none",
    "tutorial.md": "test_docs.py, and the tests of plugins/example_tokenizer",
    "measure.md": "test_measure.py",
    "cluster.md": "test_ray.py",
    "stores.md": "test_remotes.py",
    "leaderboard-rows.md": "test_validation.py",
    "demo.md": "test_demo.py",
}
NAV = yaml_values.read(re.split(r"(?m)^(?=nav:)", (ROOT / "mkdocs.yml").read_text())[1])["nav"]
GUIDES = [
    page
    for group in NAV
    for title, pages in group.items()
    if title in ("Getting started", "How-to")
    for each in pages
    for page in each.values()
    if page not in TESTED_ELSEWHERE
]
SMALLER = (
    ("profile quick", "profile smoke"),
    ("profile: quick", "profile: smoke"),
    ("size: 64", "size: 28"),  # of which the patches of the profile `smoke` are a divisor
    ("seeds 0-2", "seeds 0"),
    ("seeds: [0, 1, 2]", "seeds: [0]"),
    ("rfid, ", ""),  # features of all images; other tests measure these distances
    ("gfid, ", ""),
    ("run prologue_count", "run prologue_count --set 'vary.tokenizer.prologue_tokens=[0, 8]'"),
    (" --open", ""),
)
"""Changes that make a guide's runs take seconds, and open no browser."""
BLOCK = re.compile(r"(?:<!-- not run: ([^\n]+) -->\n)?^```([^\n]*)\n(.*?)^```$", flags=re.M | re.S)
OURS = re.compile(r"(?:torchrun .* -m prologue_bench\.cli|prologue-bench)\s+")


@frozen
class Block:
    """What stands between fences of a guide."""

    reason: str
    """Why its commands are not run; empty where they are."""
    info: str
    text: str

    @property
    def file(self) -> str:
        """The name of the file that the reader is to save it as, or nothing."""
        found = re.search(r'title="(.+?)"', self.info)
        return found[1] if found else ""

    @property
    def commands(self) -> list[str]:
        """One or more lines each: what ends in a backslash or within quotes goes on."""
        if self.info:
            return []
        text = self.text.replace("\\\n", " ")
        return [each.strip() for each in re.findall(r"(?:'[^']*'|[^'\n])+", text) if each.strip()]


def blocks(page: str) -> Iterator[Block]:
    text = (ROOT / "docs" / page).read_text()
    yield from (Block(reason or "", info, body) for reason, info, body in BLOCK.findall(text))


def parse(command: str) -> None:
    """Raises click's errors where a command has not these options."""
    if not OURS.match(command):
        return
    name, *arguments = shlex.split(OURS.sub("", command, count=1))
    parent = click.Context(cli)
    found = cli.get_command(parent, name)
    assert found is not None, command
    found.make_context(name, arguments, parent=parent)


def test_there_are_guides() -> None:
    assert len(GUIDES) >= 8
    assert all(any(block.commands for block in blocks(page)) for page in GUIDES)


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_works_as_it_is_written(
    page: str, call: Callable[..., Ending], tmp_path: Path, store_of_guides: Path
) -> None:
    (tmp_path / "store").symlink_to(store_of_guides)
    photos = make_images(tmp_path / "photos")
    shutil.copytree(photos / "val", photos / "test")
    shutil.rmtree(photos / "val")
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(smaller(block.text))
        for command in block.commands:
            if block.reason:
                continue
            assert command.startswith("prologue-bench "), f"{command}: say why it is not run"
            ended = call(*shlex.split(smaller(command))[1:])
            assert ended.code == 0, (command, ended.text)
    for place in re.findall(r"`(reports/\w+/report\.html)`", (ROOT / "docs" / page).read_text()):
        assert (tmp_path / place).exists()


@pytest.mark.parametrize("page", GUIDES)
def test_what_is_not_run_has_the_options_that_it_is_given(page: str) -> None:
    for block in blocks(page):
        for command in block.commands:
            if block.reason:
                parse(command)


def smaller(text: str) -> str:
    for before, after in SMALLER:
        text = text.replace(before, after)
    return text


@pytest.fixture(scope="module")
def store_of_guides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What guides have in common is trained once."""
    return tmp_path_factory.mktemp("store")
