"""Folders that are written once: files under a manifest of checksums, itself under a checksum.

The manifest says which key the folder has, so that one in the place of another is seen. Only files
that it lists belong to the artifact.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from prologue_bench.storage.checksums import (
    FINE_TICK,
    Status,
    note_checksums,
    settled_at,
    status_of,
)
from prologue_bench.storage.files import checksum, write_text
from prologue_bench.storage.leftovers import make_folder, remove_entry
from prologue_bench.storage.opening import CLOSE_ON_EXEC, NO_FOLLOW, NO_WAIT
from prologue_bench.storage.placing import is_inside

MANIFEST = "manifest.json"
OWN_CHECKSUM = "checksum"
"""The field of a manifest that is over all its others."""
LARGEST_MANIFEST = 1 << 24
"""Bytes; the largest that a stage writes has some kilobytes."""
LOG = "log.txt"
CURVES = "curves.jsonl"
"""The file, in a training's artifact, of its learning curves."""
INSIDE = "inside.jsonl"
"""The file, beside it in a tokenizer's, of what was seen inside the training."""
ACCOUNTS = (LOG, CURVES, INSIDE)
"""Files that say how an artifact was made, such as when; nothing is made from them."""
SHA256 = re.compile(r"[0-9a-f]{64}")


class Damage(Exception):  # noqa: N818 - it is what was found, not what failed
    """What is wrong with an artifact, in some words that name the file."""


@frozen
class Artifact:
    """A finished stage: its folder and what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def files(self) -> Collection[str]:
        """The names of the files that belong to the artifact.

        What else lies in its folder does not count.
        """
        return self.manifest["files"].keys()  # type: ignore[no-any-return]


def seal_artifact(output: Path, key: str, details: Mapping[str, Any]) -> Callable[[Path], None]:
    """Write the manifest of a folder that is complete.

    What is returned notes the checksums of its files for the folder to which it was moved.
    """
    paths = [path for path in sorted(output.rglob("*")) if path.is_file() and path.name != MANIFEST]
    statuses = {path: status_of(path) for path in paths}
    # A later change of a file must show in its times, so that what is hashed here need not be read
    # again.
    wait = max(map(settled_at, statuses.values()), default=0) - time.time_ns()
    time.sleep(max(0, min(wait, FINE_TICK) + 1) / 1e9)
    before = time.time_ns()
    sums = {path: checksum(path) for path in paths}
    files = {
        path.relative_to(output).as_posix(): {"sha256": sums[path], "bytes": statuses[path][0]}
        for path in paths
    }
    # As it will be read, so that the checksum does not depend on tuples and on keys that are no
    # texts.
    manifest = json.loads(json.dumps({**details, "key": key, "files": files}, allow_nan=False))
    write_text(
        output / MANIFEST, json.dumps({**manifest, OWN_CHECKSUM: _own_checksum(manifest)}, indent=1)
    )

    def note(folder: Path) -> None:
        hashed: dict[Path, tuple[Status, str]] = {}
        for path in paths:
            hashed[folder / path.relative_to(output)] = statuses[path], sums[path]
        note_checksums(hashed, before)

    return note


def put_in_place(output: Path, folder: Path) -> bool:
    """Move a sealed folder to its place, also on another disk, where it is copied beside it first.

    What is in its place goes; of a link, what it leads to stays. Returns whether the files are the
    same, not copies. Whoever calls this holds the lock of the place.
    """
    make_folder(folder.parent)
    aside = folder.with_name(f".{folder.name}.new")
    old = folder.with_name(f".{folder.name}.old")
    for leftover in (aside, old):
        remove_entry(leftover)
    source, moved = output, True
    if os.stat(output).st_dev != os.stat(folder.parent).st_dev:
        shutil.copytree(output, aside)
        source, moved = aside, False
    if os.path.lexists(folder):
        os.rename(folder, old)
    os.rename(source, folder)
    for leftover in (old, output):
        remove_entry(leftover)
    return moved


def read_artifact(folder: Path, key: str) -> Artifact:
    """The artifact in a folder by its manifest; its files are not looked at.

    Raises Damage where there is no manifest, or another one than was written for the key, and
    PermissionError.
    """
    return Artifact(folder, checked_manifest(read_manifest(folder), key))


def contents_of(manifest: Mapping[str, Any]) -> str:
    """A SHA-256 of what an artifact holds, whoever made it and whenever: its files but ACCOUNTS."""
    sums = {name: each["sha256"] for name, each in manifest["files"].items()}
    held = sorted((name, each) for name, each in sums.items() if name not in ACCOUNTS)
    return hashlib.sha256(json.dumps(held).encode("utf-8", "surrogatepass")).hexdigest()


def damages(
    artifact: Artifact, hashed: Callable[[list[Path]], Mapping[Path, str]]
) -> Iterator[str]:
    """What is wrong with the files of an artifact, whose checksums `hashed` gives.

    Raises PermissionError.
    """
    files: Mapping[str, Any] = artifact.manifest["files"]
    same_size = []
    for name, expected in files.items():
        try:
            found = (artifact / name).stat()
        except PermissionError:
            raise
        except OSError:
            yield f"{name} is missing"
            continue
        if not stat.S_ISREG(found.st_mode):
            yield f"{name} is not a file"
        elif found.st_size != expected["bytes"]:
            yield f"{name} is not what was written"
        else:
            same_size.append(artifact / name)
    try:
        sums = hashed(same_size)
    except PermissionError:
        raise
    except OSError as error:
        yield f"{Path(error.filename or '').name} cannot be read: {error.strerror}"
        return
    for name, expected in files.items():
        if artifact / name in sums and sums[artifact / name] != expected["sha256"]:
            yield f"{name} is not what was written"


def all_checksums(paths: Iterable[Path]) -> dict[Path, str]:
    """Checksums of files that are all read, whatever is known of them."""
    return {path: checksum(path) for path in paths}


def read_manifest(folder: Path) -> bytes:
    """What is in a manifest, which must be a file: a pipe would wait, and a link lead anywhere.

    Raises Damage and PermissionError.
    """
    try:
        descriptor = os.open(folder / MANIFEST, os.O_RDONLY | CLOSE_ON_EXEC | NO_FOLLOW | NO_WAIT)
    except FileNotFoundError:
        raise Damage(f"{MANIFEST} is missing") from None
    except PermissionError:
        raise
    except OSError as error:
        what = {
            errno.ENOTDIR: "it is not a folder",
            errno.ELOOP: f"{MANIFEST} is a link, which is not followed",
        }
        raise Damage(
            what.get(error.errno or 0, f"{MANIFEST} cannot be read: {error.strerror}")
        ) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Damage(f"{MANIFEST} is not a file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > LARGEST_MANIFEST:
            raise Damage(f"{MANIFEST} is larger than any that was written")
        try:
            return file.read()
        except OSError as error:
            raise Damage(f"{MANIFEST} cannot be read: {error.strerror}") from None


def checked_manifest(content: bytes, key: str) -> Mapping[str, Any]:
    """A manifest as it was written, for this key, and of the shape that its readers rely on.

    Raises Damage.
    """
    try:
        manifest = json.loads(content.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Damage(f"{MANIFEST} is not JSON") from None
    if not isinstance(manifest, dict):
        raise Damage(f"{MANIFEST} is not a JSON object")
    if OWN_CHECKSUM not in manifest:
        raise Damage(f"{MANIFEST} has no checksum of its own, or is of an older version")
    own = manifest.pop(OWN_CHECKSUM)
    if own != _own_checksum(manifest):
        raise Damage(f"{MANIFEST} is not what was written")
    if manifest.get("key") != key:
        raise Damage("it was written for another key")
    for name, is_right in SHAPES.items():
        if not (is_right(manifest[name]) if name in manifest else name not in REQUIRED):
            raise Damage(f"{MANIFEST}: {name} is not what a stage writes")
    return manifest


def _own_checksum(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_amount(value: Any) -> bool:
    """Zero or more of something, or not known."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and 0 <= value < math.inf)


def _are_files(value: Any) -> bool:
    return isinstance(value, dict) and all(
        is_inside(name)
        and name.isprintable()
        and isinstance(file, dict)
        and _is_count(file.get("bytes"))
        and isinstance(file.get("sha256"), str)
        and SHA256.fullmatch(file["sha256"]) is not None
        for name, file in value.items()
    )


SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "kind": _is_text,
    "files": _are_files,
    "seconds": _is_amount,
    "flops": _is_amount,
    "steps": lambda value: value is None or _is_count(value),
    "metric": lambda value: value is None or _is_text(value),
    **dict.fromkeys(("experiment", "finished", "machine", "name"), _is_text),
    **dict.fromkeys(("reads", "component", "fits", "source"), _is_mapping),
    "software": lambda value: _is_mapping(value) and all(map(_is_text, value.values())),
    "inputs": lambda value: isinstance(value, list) and all(map(_is_text, value)),
}
"""What the fields of manifests are, for whoever reads one."""
REQUIRED = ("kind", "files")
