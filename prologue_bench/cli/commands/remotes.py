"""The commands `store push` and `store pull`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.filesize import decimal

from prologue_bench.cli.options import (
    PATH,
    are_of_kind,
    kind_option,
    open_store,
    open_store_that_is_there,
    store_option,
)
from prologue_bench.errors import Interrupted, PrologueBenchError, UserError, listed, shortened
from prologue_bench.notices import notice
from prologue_bench.stopping import is_interrupt

if TYPE_CHECKING:
    from prologue_bench.storage.remotes.remote import Remote
    from prologue_bench.storage.remotes.transfer import Exchange, Moved
    from prologue_bench.storage.store import Store

YAML = (".yaml", ".yml")
PART_OF_KEY = re.compile(r"[0-9a-f]{1,20}")

keys_argument = click.argument("keys", nargs=-1)
for_option = click.option(
    "--for",
    "users",
    multiple=True,
    metavar="RESULTS|ABLATION",
    type=PATH,
    help="Only what these results, or this ablation's YAML file, use; repeatable.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would move.")


@click.command()
@click.argument("url")
@keys_argument
@for_option
@kind_option
@dry_run_option
@click.option(
    "--check",
    is_flag=True,
    help="Also read what is there already, and send again what is damaged.",
)
@click.option(
    "--publish",
    is_flag=True,
    help="Then write into the results of --for that their artifacts are at URL.",
)
@click.option(
    "--publish-as",
    metavar="URL",
    help="As --publish, with the URL by which others read what is there.",
)
@store_option
def push(
    url: str,
    keys: tuple[str, ...],
    users: tuple[Path, ...],
    kind: str | None,
    dry_run: bool,
    check: bool,
    publish: bool,
    publish_as: str | None,
    store: Path | None,
) -> None:
    """Send to URL what it lacks of the store, or of the artifacts named by KEYS.

    URL is a folder, or begins with file://, s3://, gs:// or ssh://. Nothing there is overwritten.
    """
    from prologue_bench.cli.console.transfers import showing
    from prologue_bench.storage.remotes import transfer
    from prologue_bench.storage.remotes.remote import open_remote

    opened = open_store_that_is_there(store)
    remote = open_remote(url, opened.root)
    readers = open_remote(publish_as) if publish_as is not None else remote
    is_published = publish or publish_as is not None
    if is_published:
        _check_publishing(users, bool(keys or kind), readers)
    wanted = _selected(keys, users, opened, lambda: _own_keys(opened))
    wanted = _of_kind(wanted, kind, opened.manifest)
    with _going_on():
        if not dry_run:
            remote.prepare()
        exchange = transfer.plan_push(opened, remote, wanted)
        problems = _problems(exchange, f"not in {opened.root}", "sent")
        if dry_run:
            _end_dry_run(exchange, problems, f"would be sent to {remote.url}")
            return
        with showing(exchange, "sent") as progress:
            moved = transfer.push(opened, remote, exchange.going, progress)
        if check:
            for line in transfer.repair(opened, remote, exchange.same, transfer.Quiet()):
                notice(line)
        _end(moved, len(exchange.same), problems, f"sent to {remote.url}")
        if is_published:
            _publish(users, readers)


@click.command()
@click.argument("url")
@keys_argument
@for_option
@kind_option
@dry_run_option
@store_option
def pull(
    url: str,
    keys: tuple[str, ...],
    users: tuple[Path, ...],
    kind: str | None,
    dry_run: bool,
    store: Path | None,
) -> None:
    """Fetch from URL what the store lacks of it, or of its artifacts named by KEYS.

    What arrives is held against its checksums. Nothing in the store is overwritten.
    """
    from prologue_bench.cli.console.transfers import showing
    from prologue_bench.storage.remotes import transfer
    from prologue_bench.storage.remotes.remote import open_remote

    opened = open_store(store)
    remote = open_remote(url, opened.root)
    with _going_on():
        remote.check()
        wanted = _selected(keys, users, opened, remote.keys)
        remote.manifests(wanted)
        exchange = transfer.plan_pull(opened, remote, _of_kind(wanted, kind, remote.manifest))
        problems = _problems(exchange, f"not in {remote.url}", "taken")
        if dry_run:
            _end_dry_run(exchange, problems, f"would be fetched from {remote.url}")
            return
        with showing(exchange, "fetched") as progress:
            moved = transfer.pull(opened, remote, exchange.going, progress)
        _end(moved, len(exchange.same), problems, f"fetched from {remote.url}")


def _own_keys(opened: Store) -> list[str]:
    """The keys of the artifacts of a store, without what else lies there."""
    from prologue_bench.storage.store import KEY

    return [each.name for each in opened.artifacts() if KEY.fullmatch(each.name)]


def _selected(
    keys: Sequence[str], users: Sequence[Path], opened: Store, known: Callable[[], list[str]]
) -> list[str]:
    """The keys that a user means. Raises UserError."""
    if keys and users:
        raise UserError("KEYS and --for: name artifacts by one of the two")
    if keys:
        return [each for part in keys for each in _completed(part, known)]
    if users:
        return list(dict.fromkeys(key for path in users for key in _keys_of(path, opened)))
    return known()


def _completed(part: str, known: Callable[[], list[str]]) -> list[str]:
    """The key that begins so. Raises UserError where not one does."""
    if not PART_OF_KEY.fullmatch(part):
        raise UserError(f"{shortened(part)}: expected the beginning of a key; see `store ls`")
    if len(part) == 20:
        return [part]
    found = [key for key in known() if key.startswith(part)]
    if len(found) != 1:
        raise UserError(f"{part}: found {len(found)} artifacts with keys that begin so, not one")
    return found


def _keys_of(path: Path, opened: Store) -> list[str]:
    """The keys of what results, or the ablation of a YAML file, use. Raises UserError."""
    if path.suffix not in YAML:
        from prologue_bench.results.loading import load_results
        from prologue_bench.runs.published import keys_of

        return keys_of(load_results(path))
    from prologue_bench.cli.commands.plan import make_plan_with, read_ablation
    from prologue_bench.pipeline.workspace import Workspace

    plan, _ = make_plan_with(read_ablation(path, None, None, ()), Workspace(opened), ())
    return [planned.stage.key for planned in plan.stages]


def _of_kind(keys: Sequence[str], kind: str | None, manifest: Callable[[str], Any]) -> list[str]:
    if kind is None:
        return list(keys)
    found = {key: each for key in keys if isinstance(each := manifest(key), Mapping)}
    return list(compress(found, are_of_kind((each["kind"] for each in found.values()), kind)))


def _problems(exchange: Exchange, absent: str, done: str) -> list[str]:
    """What cannot move, a line each."""
    lines = list(exchange.problems)
    if exchange.absent:
        lines.append(f"{_count(exchange.absent)} {absent}: {listed(exchange.absent)}")
    if exchange.behind:
        lines.append(
            f"{_count(exchange.behind)} made from other contents, not {done}: "
            f"{listed(exchange.behind)}"
        )
    return lines


def _end_dry_run(exchange: Exchange, problems: Sequence[str], would: str) -> None:
    for item in exchange.going:
        click.echo(f"{item.key}  {item.kind}  {decimal(item.bytes)}")
    for line in problems:
        notice(line)
    click.echo(
        f"{_count(exchange.going)}, {decimal(exchange.bytes)}, {would}; "
        f"{len(exchange.same)} are there already"
    )


def _end(moved: Moved, same: int, problems: Sequence[str], done: str) -> None:
    """Say what has moved. Raises PrologueBenchError where not all has."""
    problems = [*problems, *moved.problems]
    for line in problems:
        notice(line)
    there = f"; {same} were there already" if same else ""
    click.echo(f"{_count(moved.items)}, {decimal(moved.bytes)}, {done}{there}")
    if problems:
        raise PrologueBenchError(f"not everything was {done}; see the lines above")


def _count(items: Sequence[object]) -> str:
    return f"{len(items)} artifact{'s' * (len(items) != 1)}"


@contextmanager
def _going_on() -> Iterator[None]:
    """An interrupt says that the same command goes on."""
    try:
        yield
    except BaseException as error:
        if is_interrupt(error):
            raise Interrupted("interrupted; the same command goes on from here") from None
        raise


def _check_publishing(users: Sequence[Path], has_others: bool, readers: Remote) -> None:
    """Raises UserError, before anything is sent, where nothing could be published."""
    from prologue_bench.runs.published import check_publishable

    if not users or has_others or any(path.suffix in YAML for path in users):
        raise UserError("--publish: name the folder of the results by --for, and nothing else")
    if missing := next((path for path in users if not path.is_dir()), None):
        raise UserError(f"--for {missing}: expected the folder of a report, to publish it")
    check_publishable(readers)


def _publish(users: Sequence[Path], readers: Remote) -> None:
    from prologue_bench.results.loading import load_results
    from prologue_bench.runs.published import publish

    for folder in users:
        publish(load_results(folder), folder, readers)
        click.echo(f"{folder}: says that its artifacts are in {readers.url}")
