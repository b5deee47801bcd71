"""What a report would take the place of.

Whether the files are a report's own, and which runs would be lost.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from attrs import evolve

from prologue_bench.errors import UserError
from prologue_bench.results.documents import RESULTS
from prologue_bench.results.loading import load_results
from prologue_bench.results.pictures import ASSETS, picture_names
from prologue_bench.results.schema import MEASURE, RemoteRecord, Results, RunRecord
from prologue_bench.results.spreadsheet import CSV as CSV
from prologue_bench.results.strict import to_json
from prologue_bench.storage.files import checksum
from prologue_bench.storage.placing import is_inside, not_own, recover

REPORT = "report.html"
MARKDOWN, LATEX, PARQUET = "results.md", "results.tex", "results.parquet"
TABLES = (CSV, MARKDOWN, LATEX, PARQUET)
SHOWN = 3
"""Names in an error."""


def report_in(folder: Path) -> Results | None:
    """The results of the report that lies in a folder; None where none can be read."""
    if not folder.is_dir():
        return None
    recover(folder, RESULTS)
    try:
        if not stat.S_ISREG((folder / RESULTS).lstat().st_mode):
            return None
        return load_results(folder)
    except (FileNotFoundError, UserError):
        return None


def is_current(folder: Path, results: Results, markdown: str) -> bool:
    """Whether the report in a folder is what writing these results would put there again.

    `markdown` is their table, as `render_markdown` gives it.

    All its files must be as this program wrote them, by the same revision, and say what is in
    results.json, whose remarks authors add by hand.
    """
    there = report_in(folder)
    if there is None or not there.files or _without_time(there) != _without_time(results):
        return False
    try:
        shown = (folder / MARKDOWN).read_text(encoding="utf-8") == markdown
        return shown and all(
            checksum(folder / name) == known for name, known in there.files.items()
        )
    except (OSError, ValueError):
        return False


def _without_time(results: Results) -> str:
    return to_json(evolve(results, created="", files=None))


def check_place(
    folder: Path,
    name: str,
    keys: Collection[str],
    pictures: Iterable[str],
    force: bool,
    there: Results | None,
) -> None:
    """Raises UserError where a report would overwrite others' files, or lose runs of the one there.

    Args:
        folder: Where the report is to go.
        name: That of its ablation.
        keys: Of all measurements that it will have.
        pictures: Names of the pictures that it may have.
        force: Overwrite all the same, but nothing through a link.
        there: The results of the report that is there already.
    """
    _check_folder(folder)
    names = [REPORT, *TABLES, *(f"{ASSETS}/{each}.png" for each in pictures), RESULTS]
    foreign = not_own(folder, names, _own(there))
    if force:
        return
    if foreign:
        raise UserError(
            f"{folder}: {_some(foreign)} would be overwritten, "
            f"and {'is' if len(foreign) == 1 else 'are'} not as this program wrote it; "
            "name another folder with --out, or overwrite with --force"
        )
    if there is not None and (losses := lost(there, name, keys)):
        raise UserError(
            f"{folder}: {losses} would be lost; name another folder with --out, "
            "or accept this with --force"
        )


def _check_folder(folder: Path) -> None:
    """Raises OSError, as writing would, for a folder that is none, or cannot be written or made."""
    nearest = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def keep_remarks(results: Results, folder: Path) -> Results:
    """The results with what authors say of the report in a folder, and where its artifacts are.

    Only where these results take its place without losing runs.
    """
    there = report_in(folder)
    if there is None or lost(there, results.name, set(measure_keys(results.runs))):
        return results
    return evolve(
        results,
        remarks=there.remarks or results.remarks,
        remotes=results.remotes or tuple(_remotes(there, results)),
    )


def _remotes(there: Results, results: Results) -> Iterator[RemoteRecord]:
    """The remotes of a report, with those of their artifacts that new results are made of, too."""

    def made(found: Results) -> set[tuple[str, str | None, str | None]]:
        stages = (stage for run in found.runs for stage in run.stages)
        return {(stage.key, stage.finished, stage.machine) for stage in stages}

    same = {key for key, *_ in made(there) & made(results)}
    for remote in there.remotes:
        artifacts = {key: each for key, each in remote.artifacts.items() if key in same}
        if artifacts:
            yield evolve(remote, artifacts=artifacts)


def lost(there: Results, name: str, keys: Collection[str]) -> str:
    """What results hold that others of this name and with measurements of these keys do not.

    Empty for nothing.
    """
    measured = [(run, set(measure_keys([run]))) for run in there.runs]
    gone = [run for run, own in measured if own and not own & set(keys)]
    partly = [run for run, own in measured if own & set(keys) and own - set(keys)]
    parts = []
    if gone and there.remarks:
        parts.append("its remarks")
    if there.name != name and any(own for _, own in measured):
        parts.append(f"the results of ablation {there.name!r:.60}")
    if gone:
        parts.append(
            f"{_count(len(gone))} that would not be in the new report "
            f"({_some([*map(_run, gone)], '; ')})"
        )
    if partly:
        parts.append(f"measurements of {_count(len(partly))} ({_some([*map(_run, partly)], '; ')})")
    return " and ".join(parts)


def measure_keys(runs: Iterable[RunRecord]) -> Iterator[str]:
    """The keys of all measurements of results' runs."""
    for run in runs:
        yield from (stage.key for stage in run.stages if stage.stage.startswith(MEASURE))


def own_files(there: Results | None) -> dict[str, str]:
    """SHA-256, by name, of the files that results list as their report's own.

    Nothing of earlier versions.
    """
    files = (there.files if there is not None else None) or {}
    return {name: text for name, text in files.items() if is_inside(name)}


def _own(there: Results | None) -> dict[str, str | None]:
    """As `own_files`, with the results themselves.

    Reports of earlier versions list nothing, and have fixed names.
    """
    if there is None:
        return {}
    if there.files is not None:
        return {RESULTS: None, **own_files(there)}
    pictures = (
        f"{ASSETS}/{each}.png" for each in picture_names(len(there.variants), len(there.runs))
    )
    return dict.fromkeys([RESULTS, REPORT, *TABLES, *pictures])


def _run(run: RunRecord) -> str:
    return f"{run.variant[:40]}, {run.seeds_text}"


def _count(number: int) -> str:
    return f"{number} run{'s' * (number > 1)}"


def _some(texts: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}{len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return separator.join(texts[:SHOWN]) + more
