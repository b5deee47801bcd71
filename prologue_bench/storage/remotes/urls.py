"""Which URLs a remote may have, and what each kind of them needs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.storage.files import user_path

CONNECT_SECONDS = 10


@frozen
class Kind:
    """A kind of remote.

    `renames`: what is being written there can be seen before it is whole, so that it is written
    under another name first. The others show a file when all of it is there.
    """

    name: str
    package: str = ""
    """What fsspec needs for it, an extra of this project's by the name of `extra`."""
    extra: str = ""
    renames: bool = False
    writable: bool = True
    options: Mapping[str, Any] = field(factory=dict)
    environment: Mapping[str, str] = field(factory=dict)
    """What its library asks of the environment, unless that says otherwise."""


S3 = Kind(
    "s3",
    "s3fs",
    "s3",
    options={
        "use_listings_cache": False,
        "config_kwargs": {"connect_timeout": CONNECT_SECONDS, "retries": {"max_attempts": 2}},
    },
)
GCS = Kind(
    "gs",
    "gcsfs",
    "gcs",
    options={"use_listings_cache": False},
    # It would ask for the type of the bucket first, and wait for a minute where nobody answers.
    environment={"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"},
)
SSH = Kind(
    "ssh",
    "sshfs",
    "ssh",
    renames=True,
    # As ssh itself does, only servers whose keys are known.
    options={"known_hosts": (), "connect_timeout": CONNECT_SECONDS},
)
WEB = Kind("http", "aiohttp", "http", writable=False)
KINDS = {
    "file": Kind("file", renames=True),
    "memory": Kind("memory"),
    "s3": S3,
    "gs": GCS,
    "gcs": GCS,
    "ssh": SSH,
    "sftp": SSH,
    "http": WEB,
    "https": WEB,
}


@frozen
class Place:
    """A URL that was checked."""

    url: str
    """To be shown: a password is left out."""
    kind: Kind
    full: str
    """As fsspec takes it."""
    has_password: bool = False

    @property
    def folder(self) -> Path | None:
        """Where a remote on this machine's disks lies."""
        return Path(self.full.removeprefix("file://")) if self.kind.name == "file" else None


def place_of(url: str) -> Place:
    """What a URL, or the path of a folder, leads to. Nothing is opened.

    Raises UserError for a URL of no known kind, without a place, or whose kind needs an extra that
    is not installed.
    """
    if "::" in url:  # fsspec would chain several file systems
        raise UserError(f"{shortened(url)}: expected a URL or the path of a folder, without '::'")
    protocol, separator, rest = url.partition("://")
    if not separator:
        return _folder(url)
    if protocol == "file":
        if not rest.startswith("/"):  # the first part would be a host
            raise UserError(
                f"{shortened(url)}: found no slash behind file://, expected a whole path such as "
                f"file:///{shortened(rest)}, or the path of a folder alone"
            )
        return _folder(rest)
    if protocol not in KINDS:
        raise UserError(
            f"{shortened(url)}: unknown protocol {shortened(protocol)!r}; "
            f"{nearest(protocol, set(KINDS) - {'memory'})}"
        )
    if not rest.strip("/") or not url.isprintable() or re.search(r"\s", url):
        raise UserError(f"{shortened(url)}: expected a URL such as {protocol}://PLACE/FOLDER")
    kind = KINDS[protocol]
    if kind.package and importlib.util.find_spec(kind.package) is None:
        raise UserError(
            f"{protocol}:// needs {kind.package}, which is not installed; "
            f"pip install 'prologue-bench[{kind.extra}]'"
        )
    shown, has_password = _without_password(url)
    return Place(shown.rstrip("/"), kind, url.rstrip("/"), has_password)


def _folder(path: str) -> Place:
    expected = "expected a folder, or a URL such as s3://BUCKET/FOLDER"
    if not path:
        raise UserError(f"{path!r}: {expected}")
    found = user_path(path).absolute()
    if found.exists() and not found.is_dir():
        raise UserError(f"{path!r}: {expected}")
    return Place(f"file://{found}", KINDS["file"], f"file://{found}")


def _without_password(url: str) -> tuple[str, bool]:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError as error:
        raise UserError(f"{shortened(url)}: {error}") from None
    if password is None:
        return url, False
    user, at, host = parts.netloc.rpartition("@")
    return url.replace(f"{user}{at}{host}", f"{user.partition(':')[0]}{at}{host}", 1), True
