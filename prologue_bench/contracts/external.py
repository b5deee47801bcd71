"""Files outside the project that settings name.

Their content is part of keys; their path is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from prologue_bench.contracts.fetching import may_fetch
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.storage.checksums import fingerprint, known_checksum, known_checksums
from prologue_bench.storage.files import user_path

FILE = "file"
"""Metadata of a setting that names files: its `Identity`."""

Identity = Callable[[Any, Any], str | None]
"""Of the settings and the setting's value: a text for the content of what is read, None where
nothing is."""


def content(settings: Any, value: str | Sequence[str]) -> str | None:
    """The `Identity` of a setting that holds a path, or several, to files or folders.

    None where it is empty.
    """
    paths = [user_path(each) for each in ([value] if isinstance(value, str) else value) if each]
    digests = [content_of(path) for path in paths]
    return ",".join(digests) or None


def content_of(path: Path, names: Sequence[str] | None = None) -> str:
    """A text that changes with the content of a file, or of a folder's files.

    A folder's are those of `names`, or all below it.
    """
    if path.is_file():
        return fingerprint(path)
    if names is None:
        found = [
            Path(folder, name)
            for folder, _, files in os.walk(path, followlinks=True)
            for name in files
        ]
        names = sorted(os.path.relpath(each, path) for each in found)
    sums = known_checksums([path / name for name in names])
    text = json.dumps([[name, sums[path / name]] for name in names])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def existing_file(
    instance: object, attribute: attrs.Attribute[Any], value: str | Sequence[str]
) -> None:
    """A validator for settings that name files, to find missing ones before any training."""
    for each in [value] if isinstance(value, str) else value:
        if each and not user_path(each).is_file():
            raise ValueError(f"{attribute.name!r} must be a file that is there: {each}")


def external_file(identity: Identity = content) -> Any:
    """A setting that names a file.

    Empty stands for none, or for the one that `identity` looks for then.
    """
    return field(default="", validator=existing_file, metadata={FILE: identity})


@frozen
class PublishedFile:
    """A file that is found in torch's cache, or fetched, unless one is named.

    `name` holds the first digits of its SHA-256, as torch's files do: "vgg16-397923af.pth". These
    stand for its content, so that a key stays the same when the file is fetched; what is fetched is
    held to them.
    """

    name: str
    variable: str = ""
    """An environment variable that may name the file."""

    @property
    def digits(self) -> str:
        """The digits in the name."""
        found = re.search(r"-([0-9a-f]{8,64})\.", self.name)
        assert found is not None, f"{self.name} holds no checksum"
        return found[1]

    def path(self, named: str = "") -> Path:
        """Where the file is or would be put. Raises UserError where one is named and not there."""
        import torch

        variable = os.environ.get(self.variable, "") if self.variable else ""
        if chosen := named or variable:
            path = user_path(chosen)
            if not path.is_file():
                where = "weights" if named else self.variable
                raise UserError(f"{where}: found no file {chosen}, expected {self.name}")
            return path
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name

    def identity(self, named: str = "") -> str:
        """The published digits, or 16 of another content's."""
        path = self.path(named)
        found = known_checksum(path) if path.is_file() else self.digits
        return self.digits if found.startswith(self.digits) else found[:16]

    def fetch(self, url: str, named: str = "") -> Path:
        """The path of the file, fetched where it is missing.

        Raises OSError, RuntimeError for another content, or MissingDataError where nothing may be
        fetched.
        """
        import torch

        path = self.path(named)
        if not path.is_file():
            if not may_fetch():
                raise MissingDataError(
                    f"{path}: the file is missing, and is fetched when it is needed"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), self.digits, progress=False)
        return path


def as_read(settings: Any) -> Any:
    """The settings with those that others switch off at their default.

    This is what `as_read` of their class returns.
    """
    return settings.as_read() if hasattr(settings, "as_read") else settings


def files_within(value: Any) -> Any:
    """The texts for the files that nested settings name or find, in the shape of the settings.

    Empty without any.
    """
    if attrs.has(type(value)):
        found = {}
        for attribute in attrs.fields(type(value)):
            part = getattr(value, attribute.name)
            identity: Identity | None = attribute.metadata.get(FILE)
            inside = identity(value, part) if identity is not None else files_within(part)
            if inside:
                found[attribute.name] = inside
        return found
    if isinstance(value, Mapping):
        return {str(key): inside for key, item in value.items() if (inside := files_within(item))}
    if isinstance(value, list | tuple):
        parts = [files_within(item) for item in value]
        return parts if any(parts) else []
    return {}
