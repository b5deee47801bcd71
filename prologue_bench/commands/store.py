"""The commands `store ls`, `store verify`, `store gc` and `store rm`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prologue_bench.commands.options import open_store, store_option
from prologue_bench.errors import PrologueBenchError, UserError

if TYPE_CHECKING:
    from prologue_bench.pipeline.store import Store

SECONDS_A_DAY = 86400


@click.group()
def store() -> None:
    """List, verify and clean the artifacts of the store."""


@store.command()
@click.option("--kind", help="Only stages of this kind, such as train-tokenizer; patterns with * are allowed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@store_option
def ls(kind: str | None, as_json: bool, store: Path | None) -> None:
    """List the artifacts with kind, first experiment, size and time, the largest last."""
    opened = open_store(store)
    rows = sorted(
        (_row(manifest) for manifest in opened.manifests() if kind is None or fnmatchcase(manifest["kind"], kind)),
        key=lambda row: row["bytes"],
    )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        what = f"{row['kind']} {row['metric'] or ''}".strip()
        click.echo(f"{row['key']}  {size(row['bytes']):>9}  {row['finished'][:10]}  {what:<28}  {row['experiment']}")
    click.echo(f"{len(rows)} artifacts, {size(sum(row['bytes'] for row in rows))}, in {opened.root}")


def _row(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": manifest["key"],
        "kind": manifest["kind"],
        "metric": manifest.get("metric"),
        "experiment": manifest.get("experiment", ""),
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
        "seconds": manifest["seconds"],
        "finished": manifest["finished"],
    }


@store.command()
@store_option
def verify(store: Path | None) -> None:
    """Compare every file of every artifact with its checksum; exit code 1 if any differs."""
    opened = open_store(store)
    keys = opened.artifact_keys()
    damaged = 0
    for key in keys:
        problems = opened.check(key)
        damaged += bool(problems)
        for problem in problems:
            click.echo(f"{key}: {problem}")
    if damaged:
        raise PrologueBenchError(f"{damaged} of {len(keys)} artifacts are damaged; runs that need them make them anew")
    click.echo(f"all {len(keys)} artifacts are as they were written")


@store.command()
@click.option(
    "--keep",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Results whose artifacts stay; all others go; repeatable.",
)
@click.option(
    "--older-than", "days", type=click.FloatRange(min=0), default=14.0, show_default=True, metavar="DAYS",
    help="Unfinished work and features that were not touched for so long.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Remove; without it, only say what would go.")
@store_option
def gc(keep: tuple[Path, ...], days: float, yes: bool, store: Path | None) -> None:
    """Remove damaged artifacts and what old runs left over; with --keep, also artifacts that no kept results name."""
    from prologue_bench.reporting.results import load_results

    opened = open_store(store)
    gone = [(key, "damaged") for key in opened.artifact_keys() if opened.check(key)]
    if keep:
        kept = {
            stage["key"] for results in map(load_results, keep) for run in results["runs"] for stage in run["stages"]
        }
        damaged = {key for key, _ in gone}
        gone += [
            (key, "in no kept results") for key in opened.artifact_keys() if key not in kept and key not in damaged
        ]
    before = time.time() - days * SECONDS_A_DAY
    leftovers = [
        path
        for folder in (opened.root / "work", opened.cache / "features")
        for path in sorted(folder.glob("*"))
        if _last_touched(path) < before
    ]
    freed = sum(_bytes(opened.root / "artifacts" / key) for key, _ in gone) + sum(map(_bytes, leftovers))
    for key, reason in gone:
        click.echo(f"artifact {key}: {reason}")
    for path in leftovers:
        click.echo(f"{path.relative_to(opened.root)}: older than {days:g} days")
    if yes:
        _remove(opened, [key for key, _ in gone], leftovers)
    verb = "removed" if yes else "would be removed; --yes removes them"
    click.echo(f"{len(gone) + len(leftovers)} items, {size(freed)}, {verb}")


def _remove(opened: Store, keys: list[str], leftovers: list[Path]) -> None:
    for key in keys:
        opened.remove(key)
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@store.command()
@click.argument("keys", nargs=-1, required=True)
@store_option
def rm(keys: tuple[str, ...], store: Path | None) -> None:
    """Remove the artifacts KEYS, each by its key or the beginning of one; runs that need them make them anew."""
    opened = open_store(store)
    known = opened.artifact_keys()
    found = []
    for part in keys:
        matches = [key for key in known if key.startswith(part)]
        if len(matches) != 1:
            raise UserError(
                f"{part}: found {len(matches)} artifacts that begin so, expected one; `store ls` lists them"
            )
        found += matches
    for key in found:
        opened.remove(key)
        click.echo(f"removed {key}")


def _last_touched(path: Path) -> float:
    """The newest modification of a file or of anything in a folder."""
    return max((each.stat().st_mtime for each in (path, *path.rglob("*")) if each.exists()), default=0.0)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
