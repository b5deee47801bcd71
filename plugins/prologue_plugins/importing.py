"""What imports of published checkpoints have in common, whoever published them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

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
