"""What imports of published checkpoints have in common, whoever published them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from attrs import frozen

from prologue_bench.errors import UserError
from prologue_bench.storage.artifacts import Artifact

Weights = Literal["average", "raw"]


@frozen
class Import:
    """What an import did."""

    part: str
    name: str
    files: tuple[Path, ...]
    parameters: int
    artifact: Artifact


def check_parts(parts: Iterable[str], preset: str, offered: Sequence[str]) -> None:
    """Raises UserError for the first of the asked parts that a preset does not offer."""
    for part in parts:
        if part not in offered:
            raise UserError(
                f"--part {part}: preset {preset!r} has no {part}; expected {' or '.join(offered)}"
            )
