"""The commands `store ls`, `store verify`, `store gc` and `store rm`; `remotes` has the others."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.filesize import decimal
from rich.text import Text

from prologue_bench.cli.commands import remotes
from prologue_bench.cli.console.tables import new_table, show
from prologue_bench.cli.options import (
    PATH,
    are_of_kind,
    kind_option,
    open_store_that_is_there,
    store_option,
)
from prologue_bench.errors import PrologueBenchError, UserError, shortened
from prologue_bench.notices import notice
from prologue_bench.storage.leftovers import bytes_in, last_touched, link_target
from prologue_bench.storage.names import name_problem
from prologue_bench.texts.lines import escaped, one_line

if TYPE_CHECKING:
    from prologue_bench.storage.store import Store

SECONDS_A_DAY = 86400


@click.group()
def store() -> None:
    """List, verify, clean, send and fetch the artifacts of the store."""


store.add_command(remotes.push)
store.add_command(remotes.pull)


@store.command()
@kind_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@store_option
def ls(kind: str | None, as_json: bool, store: Path | None) -> None:
    """List the artifacts, the largest last.

    What metrics keep in the cache (features) is listed too.
    """
    opened = open_store_that_is_there(store)
    manifests = [*opened.manifests(), *opened.kept_manifests()]
    chosen = are_of_kind((each["kind"] for each in manifests), kind)
    rows = sorted(map(_row, compress(manifests, chosen)), key=lambda row: row["bytes"])
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = new_table()
    for row in rows:
        what = f"{row['kind']} {row['metric'] or ''}".strip()
        table.add_row(
            *(row["key"], Text(decimal(row["bytes"]), justify="right"), row["finished"][:10]),
            *map(one_line, (what, row["experiment"])),
        )
    show(table)
    click.echo(
        f"{len(rows)} artifacts, {decimal(sum(row['bytes'] for row in rows))}, in {opened.root}"
    )


def _row(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": manifest["key"],
        "kind": manifest["kind"],
        "metric": manifest.get("metric"),
        "experiment": manifest.get("experiment") or manifest.get("name", ""),
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
        "seconds": manifest.get("seconds"),
        "finished": manifest.get("finished", ""),
    }


@store.command()
@store_option
def verify(store: Path | None) -> None:
    """Compare every file of every artifact with its checksum; exit code 1 if any differs."""
    opened = open_store_that_is_there(store)
    folders = [*opened.artifacts(), *opened.kept()]
    damaged = foreign = 0
    for folder in folders:
        if opened.is_foreign(folder):
            foreign += 1
            click.echo(
                f"{_shown(folder, opened)}: passed over, since its name is not that of an artifact "
                "and no run wrote it"
            )
            continue
        problems = opened.check(folder)
        damaged += bool(problems)
        for problem in problems:
            click.echo(f"{_shown(folder, opened)}: {problem}")
    count = len(folders) - foreign
    if damaged:
        raise PrologueBenchError(
            f"{damaged} of {count} artifacts are damaged; runs that need them make them anew"
        )
    click.echo(f"all {count} artifacts are as they were written")


def _shown(folder: Path, opened: Store) -> str:
    """An artifact by its key, and anything else by where it lies."""
    where = folder if folder.parent.name != "artifacts" else folder.relative_to(folder.parent)
    return escaped(str(where.relative_to(opened.root) if where.is_absolute() else where))


@store.command()
@click.option(
    "--keep",
    multiple=True,
    type=PATH,
    help="Keep the artifacts of these results and remove all others; repeatable.",
)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=14.0,
    show_default=True,
    metavar="DAYS",
    help=(
        "Remove unfinished work and cached files that nobody touched for so long, "
        "but never what a process is working on."
    ),
)
@click.option(
    "--yes", is_flag=True, help="Really remove; without this option, only show what would go."
)
@store_option
def gc(keep: tuple[Path, ...], days: float, yes: bool, store: Path | None) -> None:
    """Remove damaged artifacts and what old runs left behind.

    With --keep, also remove artifacts that no kept results use.
    """
    from prologue_bench.results.loading import load_results

    opened = open_store_that_is_there(store)
    found = [*opened.artifacts(), *opened.kept()]
    going = {
        path: "damaged" for path in found if opened.check(path) and not opened.is_foreign(path)
    }
    if keep:
        kept = {
            stage.key
            for results in map(load_results, keep)
            for run in results.runs
            for stage in run.stages
        }
        others = [
            path
            for path in opened.artifacts()
            if path.name not in kept and not opened.is_foreign(path)
        ]
        going = {**dict.fromkeys(others, "in no kept results"), **going}
    before = time.time() - days * SECONDS_A_DAY
    old = [
        path
        for path in (*opened.leftovers(), *opened.kept())
        if path not in going and last_touched(path) < before
    ]
    going.update(dict.fromkeys(old, f"older than {days:g} days"))
    freed = items = 0
    for path, reason in going.items():
        shown, count = _shown_with_kind(path, opened), bytes_in(path)
        what: str | None = (
            f"a link to {target}, which stays" if (target := link_target(path)) else ""
        )
        if yes:
            what = opened.remove_idle(path)
        elif opened.is_at_work(path):
            what = None
        if what is None:
            click.echo(f"{shown}: {reason}, but a process is working on it; it stays")
            continue
        click.echo(f"{shown}: {reason}{what and f' ({what})'}")
        freed, items = freed + count, items + 1
    if yes and (locks := opened.free_locks()):
        click.echo(f"locks: {len(locks)} that no process holds")
    verb = "removed" if yes else "would be removed; --yes removes them"
    click.echo(f"{items} items, {decimal(freed)}, {verb}")


def _shown_with_kind(path: Path, opened: Store) -> str:
    shown = _shown(path, opened)
    return shown if "/" in shown else f"artifact {shown}"


@store.command()
@click.argument("keys", nargs=-1, required=True)
@store_option
def rm(keys: tuple[str, ...], store: Path | None) -> None:
    """Remove artifacts, named by KEYS: their keys or the beginnings of keys.

    Runs that need them will make them anew.
    """
    opened = open_store_that_is_there(store)
    # What is kept of an artifact may begin with its key.
    places = (opened.artifacts(), opened.kept())
    found = []
    for part in keys:
        if problem := name_problem(part):
            raise UserError(f"{shortened(part)}: expected {problem}; `store ls` lists the keys")
        begin = ([path for path in known if path.name.startswith(part)] for known in places)
        matches = next(filter(None, begin), [])
        if len(matches) != 1:
            raise UserError(
                f"{part}: found {len(matches)} artifacts with keys that begin so, expected one; "
                "`store ls` lists them"
            )
        found += matches
    for path in dict.fromkeys(found):
        what = opened.remove(path, _Waiting(path.name))
        click.echo(f"removed {_shown(path, opened)}{what and f' ({what})'}")


class _Waiting:
    """Says once that another process has what is to be removed."""

    def __init__(self, key: str) -> None:
        self.key, self.said = key, False

    def __call__(self) -> None:
        if not self.said:
            notice(f"{self.key}: waiting for the process that is working on it")
        self.said = True
