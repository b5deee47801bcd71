"""Whether results, and the files beside them, are as they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from os.path import lexists
from pathlib import Path

from prologue_bench.errors import UserError
from prologue_bench.results.plain import Document
from prologue_bench.results.reading import LARGEST_DOCUMENT, read_bytes
from prologue_bench.results.schema import Results
from prologue_bench.storage.artifacts import SHA256
from prologue_bench.storage.placing import is_inside

EXTRACT, CONTENTS = "extract", "contents"


def contents_of(document: Document) -> str:
    """The SHA-256 of an extract, without the one that it holds.

    It is of the JSON with sorted names and without blanks, so that layout does not count.
    """
    extract = {name: each for name, each in document[EXTRACT].items() if name != CONTENTS}
    text = json.dumps(
        {**document, EXTRACT: extract}, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def altered(document: Document, results: Results, folder: Path) -> Iterator[str]:
    """A sentence for each checksum or key that does not fit.

    Args:
        document: The results as they stand in the file.
        results: The same as records.
        folder: Where the file lies, and maybe the other files of its report.
    """
    if results.extract is not None and contents_of(document) != results.extract.contents:
        yield (
            "changed since it was made: its contents have another SHA-256 than extract.contents; "
            "make it again with 'prologue-bench validate --extract'"
        )
    yield from _files(results.files or {}, folder)
    for remote in results.remotes:
        for key, digest in remote.artifacts.items():
            if not SHA256.fullmatch(digest):
                yield f"remote {remote.url}, artifact {key}: found {digest!r}, expected a SHA-256"


def beside(results: Results, folder: Path) -> list[str]:
    """The files of the report that lie beside its results; none where these lie alone."""
    return [name for name in results.files or () if is_inside(name) and lexists(folder / name)]


def _files(files: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Each file of a report that is not as the report says; none that lies alone has any."""
    outside = [name for name in files if not is_inside(name)]
    for name in outside:
        yield f"files: found {name!r}, expected the name of a file in the report's folder"
    named = [name for name in files if name not in outside]
    alone = not any(lexists(folder / name) for name in named)
    for name in named:
        if not SHA256.fullmatch(files[name]):
            yield f"files: {name}: found {files[name]!r}, expected a SHA-256"
        elif not alone:
            try:
                content = read_bytes(folder / name, LARGEST_DOCUMENT)
            except FileNotFoundError:
                yield f"files: {name} is missing, and other files of the report are there"
            except UserError as error:
                yield f"files: {error}"
            else:
                if hashlib.sha256(content).hexdigest() != files[name]:
                    yield f"files: {name} was changed: it has another SHA-256 than the report says"
