"""Weights by their name on the hub: `hf:ORG/NAME@REVISION/FILE`. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

from prologue_bench.contracts import may_fetch
from prologue_bench.errors import MissingDataError, shortened
from prologue_plugins.hub import HubError, fetched

SCHEME = "hf:"
EXPECTED = "hf:ORG/NAME@REVISION/FILE, REVISION the 40 digits of a commit"
_PART = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(
    rf"hf:(?P<repository>{_PART}/{_PART})(?:@(?P<revision>[^/]*))?(?:/(?P<file>.+))?"
)


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
        """The file, from the cache or fetched. Raises MissingDataError."""
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
        try:
            return fetched(
                lambda: hf_hub_download(self.repository, self.file, revision=self.revision)
            )
        except HubError as error:
            raise MissingDataError(f"{self}: {self._why_not(error)}") from None

    def _why_not(self, error: HubError) -> str:
        if not error.is_unreached:
            return f"cannot be fetched: {error}"
        return (
            "not in the hub's cache, and the hub is not reached; fetch it where there is a network "
            f"by `hf download {self.repository} {self.file} --revision {self.revision}`, or give "
            "the file as a path"
        )
