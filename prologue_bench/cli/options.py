"""What commands have in common: the registry, and options that several of them take."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import click

if TYPE_CHECKING:
    from prologue_bench.registry import Registry
    from prologue_bench.storage.store import Store

Verbosity: TypeAlias = 'Literal["quiet", "normal", "verbose"]'
"""How much a command says of what it does."""
AnyFunction = TypeVar("AnyFunction", bound="Callable[..., Any]")


class PathType(click.Path):
    """A path as a user writes it, where ~ is a home also if no shell saw it, as in --out=~/o.

    UserError, in one line, for what is none.
    """

    def __init__(self, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        path = _written(value, _called(param, self.name))
        return Path(os.fsdecode(super().convert(path, param, ctx)))


class FolderType(PathType):
    """A folder that is there or will be made. UserError, in one line, for what is none."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        where = _called(param, self.name)
        path = _written(value, where)
        for place in (path, *path.parents):
            if not os.path.lexists(place):
                continue  # it will be made
            if not place.is_dir():
                from prologue_bench.errors import UserError

                found = "a file" if place == path else f"the file {place} above it"
                raise UserError(f"{where} {path}: found {found}, expected a folder")
            break
        return path


def _written(value: str | os.PathLike[str], where: str) -> Path:
    from prologue_bench.storage.files import user_path

    return user_path(os.fspath(value), where)


def _called(param: click.Parameter | None, otherwise: str) -> str:
    """An option or argument as the command line names it."""
    if param is None:
        return otherwise
    return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name


PATH, FILE, FOLDER = PathType(), PathType(dir_okay=False), FolderType()


class JobsType(click.ParamType[int | None]):
    """A number of jobs; None stands for auto. UserError, in one line, for anything else."""

    name = "N|auto"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        text = str(value).strip()
        if text == "auto":
            return None
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text)):
            from prologue_bench.errors import UserError

            raise UserError(
                f"--jobs or $PROLOGUE_BENCH_JOBS: found {text[:40]!r}, "
                "expected a whole number from 1 on, or auto"
            )
        return int(text)


class GpusType(click.ParamType[tuple[int, ...]]):
    """Numbers of GPUs; jobs share one that is named several times. UserError for anything else."""

    name = "LIST"

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) < 7 for part in parts):
            from prologue_bench.errors import UserError

            raise UserError(
                f"--gpus: found {value[:40]!r}, expected the numbers of GPUs, such as 0,1"
            )
        return tuple(map(int, parts))


kind_option = click.option(
    "--kind", help="Only stages of this kind, such as train-tokenizer; patterns with * are allowed."
)
store_option = click.option(
    "--store",
    type=FOLDER,
    help="Folder of artifacts  [$PROLOGUE_BENCH_STORE or the user's cache]",
)


def are_of_kind(kinds: Iterable[str], pattern: str | None) -> list[bool]:
    """For each artifact's kind, whether it is the one that --kind names.

    Raises UserError where there are artifacts and none is, and where there is no such kind.
    """
    from fnmatch import fnmatchcase

    from prologue_bench.errors import UserError, nearest

    found = list(kinds)
    chosen = [pattern is None or fnmatchcase(kind, pattern) for kind in found]
    if pattern is None or any(chosen):
        return chosen
    if found:
        raise UserError(f"--kind {pattern}: found no such artifact; {nearest(pattern, set(found))}")
    from prologue_bench.contracts import stage_kinds
    from prologue_bench.storage.store import CACHES

    known = [*stage_kinds.ALL, *CACHES]
    if not any(fnmatchcase(kind, pattern) for kind in known):
        raise UserError(f"--kind {pattern}: there is no such kind; {nearest(pattern, known)}")
    return chosen


remote_option = click.option(
    "--remote",
    metavar="URL",
    help="Fetch what the store lacks from this remote  [the one that the results name]",
)

force_option = click.option(
    "--force",
    is_flag=True,
    help="Overwrite files that this program did not write, and results of other runs.",
)


def verbosity_options(command: AnyFunction) -> AnyFunction:
    """Add --quiet and --verbose to a command; `verbosity` of both makes one value."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Print the log of each stage, too."),
        click.option(
            "-q", "--quiet", is_flag=True, help="Print only the answer, the report and errors."
        ),
    ):
        command = option(command)
    return command


def verbosity(quiet: bool, verbose: bool) -> Verbosity:
    """What --quiet and --verbose ask for. Raises UserError where both are given."""
    if quiet and verbose:
        from prologue_bench.errors import UserError

        raise UserError("--quiet: found --verbose beside it; leave one of them out")
    return "quiet" if quiet else "verbose" if verbose else "normal"


@functools.cache
def the_registry() -> Registry:
    """The registry of this process; what is wrong with plugins is said once."""
    from prologue_bench.cli.commands import COMMANDS
    from prologue_bench.registry import Registry

    registry = Registry.load(taken=COMMANDS)
    for problem in registry.problems:
        click.echo(f"prologue-bench: {problem}", err=True)
    return registry


def _add_files(context: click.Context, parameter: click.Parameter, files: tuple[Path, ...]) -> None:
    for file in files:
        the_registry().add_file(file, "--plugin")


plugin_option = click.option(
    "--plugin",
    multiple=True,
    type=PATH,
    callback=_add_files,
    expose_value=False,
    is_eager=True,
    metavar="FILE.py",
    help="Use a plugin that is a single file, without installing it; repeatable.",
)


def open_store(folder: Path | None) -> Store:
    """The store of --store, or the default one.

    Raises UserError for a name that torch cannot save to.
    """
    from prologue_bench.errors import UserError
    from prologue_bench.storage.store import Store, default_store

    root = (folder or default_store()).resolve()
    if any("\ud800" <= each <= "\udfff" for each in str(root)):
        raise UserError(
            f"--store {root}: the name is not UTF-8, and torch saves to no such folder; "
            "choose another"
        )
    return Store(root)


def open_store_that_is_there(folder: Path | None) -> Store:
    """As `open_store`, for commands that bring nothing into it.

    The default one may not be there yet. Raises UserError where the one of --store is not.
    """
    from prologue_bench.errors import UserError

    opened = open_store(folder)
    if folder is not None and not opened.root.is_dir():
        raise UserError(f"--store {folder}: no such folder, expected a store")
    return opened
