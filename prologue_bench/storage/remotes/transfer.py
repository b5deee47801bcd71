"""Artifacts on their way between a store and a remote.

What is the same on both sides stays, and nothing takes the place of other contents. An artifact
goes only where those that it was made from are the same, or not there: two machines may have
trained one model with different bits, and what was made from one does not belong to the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen

from prologue_bench.errors import PrologueBenchError, listed, shortened
from prologue_bench.storage.artifacts import (
    MANIFEST,
    Damage,
    contents_of,
    read_manifest,
)
from prologue_bench.storage.files import free_disk
from prologue_bench.storage.leftovers import entries_in, make_folder, remove_entry
from prologue_bench.storage.remotes.remote import Found, Remote
from prologue_bench.storage.store import KEY, Store, is_full_disk

IMPORTED = "imported-"
"""How the kinds of artifacts begin that are found by their name."""
MOST_BEFORE = 1000
"""Artifacts that one may have been made from; honest ones are a few."""


@frozen
class Item:
    """An artifact that is to go from one side to the other."""

    key: str
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The kind of its stage."""
        return str(self.manifest["kind"])

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """SHA-256 and bytes of its files by name."""
        return {
            name: (each["sha256"], each["bytes"]) for name, each in self.manifest["files"].items()
        }

    @property
    def bytes(self) -> int:
        """All of its files."""
        return sum(size for _, size in self.files.values())


@define
class Exchange:
    """What is to go from one side to the other, what is the same already, and what cannot go."""

    going: list[Item] = field(factory=list)
    same: list[str] = field(factory=list)
    absent: list[str] = field(factory=list)
    """Keys that are not where they should come from."""
    problems: list[str] = field(factory=list)
    """A line each."""
    behind: list[str] = field(factory=list)
    """Keys of what was made from artifacts that cannot go."""

    @property
    def bytes(self) -> int:
        """Of all that is to go."""
        return sum(item.bytes for item in self.going)


@define
class Moved:
    """What has arrived of what was to go, and a line for each thing that is wrong."""

    items: list[Item] = field(factory=list)
    problems: list[str] = field(factory=list)

    @property
    def bytes(self) -> int:
        """Of all that has arrived."""
        return sum(item.bytes for item in self.items)


class Progress(Protocol):
    """Who is told how a transfer goes."""

    def started(self, item: Item) -> None:
        """An artifact begins to move."""

    def moved(self, count: int) -> None:
        """So many more bytes have moved, or were there already. May raise to stop."""

    def finished(self, item: Item) -> None:
        """An artifact has arrived."""

    def waiting(self, item: Item) -> None:
        """Another process is at work on the artifact."""


class Quiet(Progress):
    """Tells nobody."""

    def started(self, item: Item) -> None:
        pass

    def moved(self, count: int) -> None:
        pass

    def finished(self, item: Item) -> None:
        pass

    def waiting(self, item: Item) -> None:
        pass


def plan_push(store: Store, remote: Remote, keys: Iterable[str]) -> Exchange:
    """What of these keys the remote lacks."""
    wanted = list(keys)
    remote.refresh()
    remote.manifests(wanted)  # together, which is faster
    return _Planner(store.manifest, remote.manifest, f"{remote.url} has", remote.url).plan(wanted)


def plan_pull(store: Store, remote: Remote, keys: Iterable[str]) -> Exchange:
    """What of these keys the store lacks, or has damaged."""
    wanted = list(keys)
    remote.refresh()
    remote.manifests(wanted)
    exchange = _Planner(remote.manifest, _sound(store), "the store has", remote.url).plan(wanted)
    taken = {
        (each["kind"], each.get("name")): each["key"]
        for each in store.manifests()
        if each["kind"].startswith(IMPORTED)
    }
    for item in [each for each in exchange.going if each.kind.startswith(IMPORTED)]:
        other = taken.setdefault((item.kind, item.manifest.get("name")), item.key)
        if other != item.key:
            exchange.going.remove(item)
            exchange.problems.append(
                f"{item.key}: the store has another {item.kind.removeprefix(IMPORTED)} imported "
                f"as {shortened(str(item.manifest.get('name')))!r}, {other}; "
                "remove that one by `store rm` to take this"
            )
    return exchange


def push(store: Store, remote: Remote, items: Sequence[Item], progress: Progress) -> Moved:
    """Send artifacts, each visible there when all of it has arrived.

    Raises RemoteError where nothing more can be sent; what has arrived until then stays.
    """

    def send(item: Item) -> None:
        artifact = store.find(item.key)
        if artifact is None:
            raise Damage(f"is damaged in {store.root}")
        for name, (digest, size) in item.files.items():
            _send(artifact / name, digest, size, remote, progress)
        remote.send_manifest(item.key, read_manifest(artifact.folder))

    return _each(items, send, progress, f"not sent to {remote.url}")


def pull(store: Store, remote: Remote, items: Sequence[Item], progress: Progress) -> Moved:
    """Fetch artifacts, each in its place when all of it has arrived.

    Raises RemoteError where nothing more can be fetched, and PrologueBenchError where the store
    cannot hold it; the next attempt goes on from there.
    """
    _check_room(store, sum(item.bytes for item in items))

    def fetch(item: Item) -> None:
        try:
            with store.lock(f"fetch-{item.key}", waiting=partial(progress.waiting, item)):
                _fetch(store, remote, item, progress)
        except OSError as error:
            if is_full_disk(error):
                raise _no_room(store) from None
            raise PrologueBenchError(
                f"{error.filename or store.root}: {error.strerror or error}; "
                f"the store cannot take what {remote.url} has"
            ) from None

    return _each(items, fetch, progress, f"not taken from {remote.url}")


def _each(
    items: Sequence[Item], move: Callable[[Item], None], progress: Progress, not_moved: str
) -> Moved:
    """Move artifacts, but none that was made from one which could not move."""
    moved = Moved()
    behind: list[str] = []
    failed: set[str] = set()
    for item in items:
        if any(each in failed for each in _inputs(item.manifest)):
            failed.add(item.key)
            behind.append(item.key)
            continue
        progress.started(item)
        try:
            move(item)
        except Damage as damage:
            failed.add(item.key)
            moved.problems.append(f"{item.key} ({item.kind}): {damage}; {not_moved}")
        else:
            moved.items.append(item)
            progress.finished(item)
    if behind:
        moved.problems.append(
            f"{len(behind)} artifact{'s' * (len(behind) > 1)} made from these, {not_moved}: "
            f"{listed(behind)}"
        )
    return moved


def repair(store: Store, remote: Remote, keys: Iterable[str], progress: Progress) -> list[str]:
    """Read the files of artifacts that are on both sides, and send those again that are damaged.

    Returns a line for each.
    """
    lines = []
    for key in keys:
        if (artifact := store.find(key)) is None:
            continue
        for name, (digest, size) in Item(key, artifact.manifest).files.items():
            if not remote.has_file(digest, size, read=True):
                remote.send_file(artifact / name, digest, size, lambda count: None)
                lines.append(f"{key}: {name} was damaged in {remote.url}; it was sent again")
            progress.moved(size)
    return lines


def _sound(store: Store) -> Callable[[str], Found]:
    """The manifests of a store's artifacts that are whole."""

    def manifest(key: str) -> Found:
        artifact = store.find(key)
        return None if artifact is None else artifact.manifest

    return manifest


class _Planner:
    """Compares two sides, each a function from keys to manifests."""

    def __init__(
        self,
        source: Callable[[str], Found],
        target: Callable[[str], Found],
        target_has: str,
        url: str,
    ) -> None:
        self.source, self.target = source, target
        self.target_has, self.url = target_has, url

    def plan(self, keys: Iterable[str]) -> Exchange:
        exchange = Exchange()
        for key in self._in_order(keys):
            here = self.source(key)
            if here is None:
                exchange.absent.append(key)
            elif isinstance(here, Damage):
                exchange.problems.append(f"{key}: {self.url}: {here}; not taken")
            elif self._is_other(key):
                exchange.problems.append(self._other(key, here))
            elif isinstance(self.target(key), Mapping):
                exchange.same.append(key)
            elif any(map(self._has_other_below, _inputs(here))):
                exchange.behind.append(key)
            else:
                exchange.going.append(Item(key, here))
        return exchange

    def _in_order(self, keys: Iterable[str]) -> list[str]:
        """The keys, each behind those that it was made from."""
        wanted = dict.fromkeys(keys)
        before = {key: [each for each in self._inputs(key) if each in wanted] for key in wanted}
        try:
            return list(TopologicalSorter(before).static_order())
        except CycleError:  # as only a forger makes one
            return list(wanted)

    def _inputs(self, key: str) -> list[str]:
        found = self.source(key)
        return _inputs(found) if isinstance(found, Mapping) else []

    def _is_other(self, key: str) -> bool:
        """Whether both sides have an artifact, of different contents."""
        here, there = self.source(key), self.target(key)
        if not isinstance(here, Mapping) or not isinstance(there, Mapping):
            return False
        return contents_of(here) != contents_of(there)

    def _has_other_below(self, key: str) -> bool:
        """Whether an artifact, or any that it was made from, is another on the other side."""
        seen: set[str] = set()
        waiting = [key]
        while waiting and len(seen) < MOST_BEFORE:
            each = waiting.pop()
            if each in seen:
                continue
            seen.add(each)
            if self._is_other(each):
                return True
            waiting += self._inputs(each)
        return bool(waiting)

    def _other(self, key: str, here: Mapping[str, Any]) -> str:
        there = self.target(key)
        made = there if isinstance(there, Mapping) else {}
        when = f", made {made.get('finished', 'at some time')} on {made.get('machine', 'another')}"
        return (
            f"{key} ({here['kind']}): {self.target_has} other contents under this key"
            f"{shortened(when, 120)}; both stay as they are"
        )


def _inputs(manifest: Mapping[str, Any]) -> list[str]:
    """The keys of what an artifact was made from; a stranger may have written anything there."""
    return [each for each in manifest.get("inputs", ()) if KEY.fullmatch(each)]


def _send(path: Path, digest: str, size: int, remote: Remote, progress: Progress) -> None:
    """Send a file that is not there, and tell of all its bytes, whatever the library told."""
    told = 0

    def moved(count: int) -> None:
        nonlocal told
        count = min(count, size - told)
        told += count
        progress.moved(count)

    if not remote.has_file(digest, size):
        remote.send_file(path, digest, size, moved)
    progress.moved(size - told)


def _fetch(store: Store, remote: Remote, item: Item, progress: Progress) -> None:
    """Fetch an artifact aside, going on with what an earlier attempt left, and put it in place."""
    if store.find(item.key) is not None:  # another process was faster
        progress.moved(item.bytes)
        return
    content, manifest = remote.sealed(item.key)
    if contents_of(manifest) != contents_of(item.manifest):
        raise Damage("other contents came under its key meanwhile")
    work = store.work(f"fetch-{item.key}")
    output = work / "output"
    make_folder(output)
    wanted = {output / name: each for name, each in Item(item.key, manifest).files.items()}
    for path in [each for each in entries_in(output) if each not in wanted and each != output]:
        if not path.is_dir() or path.is_symlink():
            remove_entry(path)
    for path, (digest, size) in wanted.items():
        make_folder(path.parent)
        _fetch_file(remote, path, digest, size, progress)
    (output / MANIFEST).write_bytes(content)
    with store.lock(item.key):
        if store.find(item.key) is None:
            store.place(item.key, output)
    remove_entry(work)


def _fetch_file(remote: Remote, path: Path, digest: str, size: int, progress: Progress) -> None:
    """Fetch a file, behind what is there of it. Raises Damage where it is not what was written."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size > size:
        remove_entry(path)
    for _ in range(2):
        hashed = hashlib.sha256()
        before = 0
        if path.exists():
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    hashed.update(part)
                    before += len(part)
        progress.moved(before)
        try:
            with path.open("ab") as file:
                for part in remote.parts(digest, before, size):
                    file.write(part)
                    hashed.update(part)
                    progress.moved(len(part))
        except Damage as damage:
            raise Damage(f"{path.name} {damage}") from None
        if hashed.hexdigest() == digest:
            return
        remove_entry(path)
        if not before:
            break
        progress.moved(-size)  # what was left of it was damaged: once more from its beginning
    raise Damage(f"{path.name} is not what was written there")


def _check_room(store: Store, needed: int) -> None:
    if free_disk(store.root) < needed:
        raise _no_room(store, needed)


def _no_room(store: Store, needed: int = 0) -> PrologueBenchError:
    what = f" for the {needed / 1e6:,.0f} MB that are to come" if needed else ""
    return PrologueBenchError(
        f"{store.root}: no space is left on the disk{what}; "
        "free some, and the same command goes on from here"
    )
