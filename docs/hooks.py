"""Pages of the site that are not in docs/: start page, changelog, reports and command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from prologue_bench.cli.app import cli

ROOT = Path(__file__).parent.parent
REPORTS = (r"\]\((?:\.\./)?reports/(\w+)/results\.md\)", r"](reports/\1/report.html)")
"""Links to reports, as they are on the site."""

LINKS = ((r"\]\(docs/", "]("), REPORTS)
"""Links of files at the repository's root, as they are on the site."""

SHAPE: Any = {"terminal_width": 76, "max_content_width": 76, "help_option_names": ["-h", "--help"]}
"""Of the texts of --help, as wide as a page."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages; called by mkdocs."""
    for source, page in (("README.md", "index.md"), ("CHANGELOG.md", "changelog.md")):
        text = (ROOT / source).read_text(encoding="utf-8")
        for pattern, replacement in LINKS:
            text = re.sub(pattern, replacement, text)
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "cli.md", content=command_line()))
    for report in sorted(ROOT.glob("reports/*/report.html")):
        files.append(
            File.generated(config, str(report.relative_to(ROOT)), abs_src_path=str(report))
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to what is not on the site become the path in the repository.

    Called by mkdocs for each page. The search finds guides before interfaces and the changelog.
    """
    if page.file.src_uri.startswith(("api/", "changelog")):
        page.meta["search"] = {"boost": 0.5}
    markdown = re.sub(*REPORTS, markdown)
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)


def command_line() -> str:
    """What --help says of every command."""
    parent = click.Context(cli, info_name="prologue-bench", **SHAPE)
    pages = ["# Command line", f"```\n{cli.get_help(parent)}\n```"]
    for name in cli.list_commands(parent):
        command = cli.get_command(parent, name)
        assert command is not None
        pages += _help_of(command, name, parent)
    return "\n\n".join(pages) + "\n"


def _help_of(command: click.Command, name: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, **SHAPE)
    pages = [
        f"## {context.command_path.removeprefix('prologue-bench ')}",
        f"```\n{command.get_help(context)}\n```",
    ]
    if isinstance(command, click.Group):
        for below in command.commands:
            pages += _help_of(command.commands[below], below, context)
    return pages
