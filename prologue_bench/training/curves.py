"""Learning curves as they lie in artifacts; read without the engine of trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_curves(path: Path) -> list[dict[str, Any]]:
    """The points of a learning curve; an unfinished last line is left out."""
    points = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return points
