"""Which software a number was made with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from prologue_bench import __version__

SOFTWARE = ("torch", "mmengine", "torch-fidelity", "numpy")


def software() -> Mapping[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "prologue-bench": __version__,
        "git": git_revision(),
        "python": platform.python_version(),
        **{name: version(name) for name in SOFTWARE},
    }


@cache
def git_revision() -> str:
    """The revision of the checkout that the package runs from; "none" for an installed package."""
    folder = Path(__file__).resolve().parent
    try:
        revision = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__],
            cwd=folder,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "none"
    return revision.stdout.strip() if tracked.returncode == 0 else "none"
