"""Weights by their name on the hub: `hf:ORG/NAME@REVISION/FILE`. Imports no torch."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from attrs import frozen

from prologue_bench.contracts import may_fetch
from prologue_bench.errors import MissingDataError, UserError, shortened

SCHEME = "hf:"
EXPECTED = "hf:ORG/NAME@REVISION/FILE, REVISION the 40 digits of a commit"
_PART = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(
    rf"hf:(?P<repository>{_PART}/{_PART})(?:@(?P<revision>[^/]*))?(?:/(?P<file>.+))?"
)
OFFLINE = (
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "ConnectError",
    "ConnectTimeout",
    "ReadTimeout",
    "ConnectionError",
)
"""What the hub's client and its transport raise where the hub is not reached, in their versions."""


@frozen
class HubFile:
    """A file of one commit of a repository on the hub."""

    repository: str
    revision: str
    """A commit's hash: a branch or tag may move to other weights."""
    file: str

    @classmethod
    def parse(cls, text: str) -> HubFile:
        """The file that `hf:...` names. Raises ValueError, in words for a setting's message."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise ValueError(f"must be {EXPECTED}: {text}")
        revision, file = found["revision"], found["file"]
        if not revision:
            raise ValueError(f"must name a revision, {EXPECTED}; without, weights may change")
        if not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise ValueError(
                f"must be {EXPECTED}: found {shortened(revision)!r}; a branch or tag may move to "
                "other weights"
            )
        if not file or any(part in ("", ".", "..") for part in file.split("/")):
            raise ValueError(f"must name a file of the repository, {EXPECTED}: {text}")
        return cls(found["repository"], revision, file)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}/{self.file}"

    def cached(self) -> Path | None:
        """The file in the hub's cache on this machine; None where it is not there."""
        try:
            from huggingface_hub import try_to_load_from_cache
        except ModuleNotFoundError:
            return None
        found = try_to_load_from_cache(self.repository, self.file, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def fetch(self) -> Path:
        """The file, from the cache or fetched. Raises MissingDataError, and UserError."""
        if (cached := self.cached()) is not None:
            return cached
        try:
            from huggingface_hub import hf_hub_download
        except ModuleNotFoundError:
            raise MissingDataError(
                f"{self}: fetching it needs huggingface_hub; pip install 'prologue-bench[hub]', or "
                "give the file as a path"
            ) from None
        if not may_fetch():
            raise MissingDataError(f"{self}: not in the hub's cache, and only a run fetches it")
        client = logging.getLogger("huggingface_hub")
        before = client.level
        client.setLevel(logging.CRITICAL)  # its tries, several lines each; the outcome is said here
        try:
            return Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        except Exception as error:  # its client's own, and those of its transport
            raise self._not_fetched(error) from None
        finally:
            client.setLevel(before)

    def _not_fetched(self, error: Exception) -> UserError:
        kind = type(error).__name__
        if kind in OFFLINE:
            return MissingDataError(
                f"{self}: not in the hub's cache, and the hub is not reached; fetch it where there "
                f"is a network by `hf download {self.repository} {self.file} --revision "
                f"{self.revision}`, or give the file as a path"
            )
        reason = {
            "GatedRepoError": "its licence must be accepted on the hub, and a token given",
            "RepositoryNotFoundError": "there is no such repository, or it is private",
            "RevisionNotFoundError": "the repository has no such commit",
            "EntryNotFoundError": "the commit has no such file",
            "RemoteEntryNotFoundError": "the commit has no such file",
        }.get(kind)
        told = reason or f"{kind}: {shortened(str(error).strip() or 'no reason given', 120)}"
        return MissingDataError(f"{self}: cannot be fetched: {told}")
