"""The client of the Hugging Face hub: without its own lines, and with one for what goes wrong.

Imports neither torch nor the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from prologue_bench.errors import shortened

UNREACHED = (
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "ConnectError",
    "ConnectTimeout",
    "ReadTimeout",
    "ConnectionError",
)
"""What the client and its transport raise where the hub is not reached, in their versions."""
REASONS = {
    "GatedRepoError": "its licence must be accepted on the hub, and a token given",
    "RepositoryNotFoundError": "there is no such repository, or it is private",
    "RevisionNotFoundError": "it has no such revision",
    "EntryNotFoundError": "this revision has no such file",
    "RemoteEntryNotFoundError": "this revision has no such file",
}
"""What errors of the client mean, by their names."""


class HubError(Exception):
    """Why the hub gave nothing, in words of one line."""

    def __init__(self, error: Exception) -> None:
        kind = type(error).__name__
        self.is_unreached = kind in UNREACHED
        """Whether the hub was not reached, so that another time or machine may do."""
        told = shortened(str(error).strip() or "no reason given", 120)
        super().__init__(REASONS.get(kind) or f"{kind}: {told}")


def fetched(call: Callable[[], object]) -> Path:
    """The path that a call of the client gives. Raises HubError."""
    client = logging.getLogger("huggingface_hub")
    before = client.level
    client.setLevel(logging.CRITICAL)  # its tries, several lines each; the outcome is said here
    try:
        return Path(str(call()))
    except Exception as error:  # the client's own, and those of its transport
        raise HubError(error) from None
    finally:
        client.setLevel(before)
