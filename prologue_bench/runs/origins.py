"""Whether a run's components are here, as they were when its results were made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from prologue_bench.errors import UserError
from prologue_bench.notices import notice
from prologue_bench.registry import Kind, Registry
from prologue_bench.results.schema import ComponentRecord

ONE_FILE = re.compile(r"(?P<file>.+\.py) (?P<checksum>[0-9a-f]{8})")
"""The origin of a component of a plugin that is a single file; see `Registry.add_file`."""


def check_origin(
    records: Iterable[ComponentRecord], kind: Kind, name: str, registry: Registry
) -> None:
    """Say where a component comes from a file that is another than it was for the results.

    `records` are the components of the results or of an export. Raises UserError, with where they
    have it from, for one that is not here.
    """
    origin = next((each.origin for each in records if (each.kind, each.name) == (kind, name)), "")
    before = ONE_FILE.fullmatch(origin)
    if name not in registry.entries[kind]:
        if before:
            raise UserError(
                f"unknown {kind} {name!r}; the results have it from {before['file']}: "
                f"give that file with --plugin FILE"
            )
        registry.find(kind, name, f"the results have it from {origin}" if origin else "")
    entry = registry.find_entry(kind, name)
    here = entry.component.source[:8]
    if origin and here != (before["checksum"] if before else ""):
        _say_once(
            f"{kind} {name!r} is not as it was for the results, which have it from {origin}, "
            f"and here it is of {entry.origin}; images may not be theirs"
        )


@cache
def _say_once(text: str) -> None:
    notice(text)
