"""Data sets that torchvision fetches and reads."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from prologue_bench.contracts import may_fetch
from prologue_plugins.datasets.names import first_line

CONNECTION_TIMEOUT_SECONDS = 20.0


def why_not_fetched(of: str, folder: Path, allowed: bool) -> str:
    """Let torchvision fetch its data set of that name into a folder; returns why it did not.

    `allowed` is what the settings say. Nothing is fetched while a run is only planned.
    """
    if not allowed:
        return "downloads are switched off"
    if not may_fetch():
        return "it is downloaded when it runs"
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECTION_TIMEOUT_SECONDS)
    try:
        torchvision_class(of)(str(folder), download=True)
    except Exception as error:
        return f"the download failed: {first_line(error).rstrip(':')}"
    finally:
        socket.setdefaulttimeout(waited)
    return ""


def torchvision_class(of: str) -> Any:
    """The class of one of torchvision's data sets, which takes long to import."""
    from torchvision import datasets

    return getattr(datasets, of)
