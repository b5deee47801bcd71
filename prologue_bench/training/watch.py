"""Several processes watch each other.

When one fails alone, or is killed, all end within seconds, with its reason. A process that fails
alone leaves the others in a collective operation that nobody completes, and Python cannot interrupt
them there. So each process has a connection to the leader, read by a thread of its own. Through it
a process says that it has failed, and the system says that one is gone, since it closes what a
killed process has open.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

GRACE_SECONDS = 4.0
"""How long after a failure the others may take to fail or finish too, so that the run can go on."""
CONNECT_SECONDS = 60.0


def _end(text: str) -> None:
    """End this process at once, wherever it is; the system gives back its locks."""
    with contextlib.suppress(Exception):
        show_cursor = "\033[?25h" if sys.stderr.isatty() else ""
        print(
            f"{show_cursor}prologue-bench: {text}" if text else show_cursor,
            end="\n" * bool(text),
            file=sys.stderr,
        )
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(1)


def _reason(rank: int, text: str) -> str:
    return (
        f"process {rank} {text}; all processes end, and the same command goes on from the last "
        "checkpoint"
    )


class _Peer:
    """A connection to another process, a line at a time."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(CONNECT_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # for machines that fail
        self.connection = connection
        self.lines = connection.makefile("r", encoding="utf-8", errors="replace")
        # A process that reads images would hold the connection open when its parent is killed.
        os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        os.close(self.connection.detach())

    def say(self, line: str) -> None:
        self.connection.sendall(f"{line}\n".encode())


@define(eq=False)
class Watch:
    """One process's end of the connections."""

    rank: int
    _peers: dict[int, _Peer] = field(factory=dict)
    """The leader has one of each other process, the others have the leader's."""
    _end: Callable[[str], None] = _end
    _stage: int = 0
    """How many shared stages are over."""
    _failed: tuple[int, int, str] | None = None
    """The first failure of the running stage: stage, process, reason."""
    _leaving: set[int] = field(factory=set)
    _lock: Any = field(factory=threading.RLock)

    def failed(self, reason: str) -> None:
        """Say that this process failed in the running stage.

        Unless all come to its end soon, all processes end.
        """
        if self.rank == 0:
            self._heard(0, {"failed": reason, "stage": self._stage})
        else:
            self._tell(0, {"failed": reason, "stage": self._stage})

    def stage_over(self) -> None:
        """All processes have come to the end of the stage, failed or not."""
        with self._lock:
            self._stage += 1
            self._failed = None

    def leave(self) -> None:
        """Say that this process is done; its end is no failure from now on."""
        with self._lock:
            self._leaving |= {*self._peers}
            for rank in self._peers:
                self._tell(rank, {"leaves": True})

    def _tell(self, rank: int, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._peers[rank].say(json.dumps(message))

    def _listen(self, rank: int) -> None:
        """Hear one process until its connection ends."""
        with contextlib.suppress(OSError, ValueError):
            for line in self._peers[rank].lines:
                self._heard(rank, json.loads(line))
        self._gone(rank)

    def _heard(self, rank: int, message: Mapping[str, Any]) -> None:
        if "end" in message:  # the leader has said why
            self._end("")
        with self._lock:
            if "leaves" in message:
                self._leaving.add(rank)
            elif self._failed is None and message["stage"] == self._stage:
                self._failed = message["stage"], rank, message["failed"]
                threading.Thread(target=self._judge, args=(message["stage"],), daemon=True).start()

    def _judge(self, stage: int) -> None:
        """End all where a stage is not over some time after one process failed in it."""
        time.sleep(GRACE_SECONDS)
        with self._lock:
            if self._failed is not None and self._failed[0] == stage == self._stage:
                self._end_all(_reason(self._failed[1], f"failed alone: {self._failed[2]}"))

    def _gone(self, rank: int) -> None:
        """The connection to a process has ended."""
        with self._lock:
            if rank in self._leaving:
                return
            if self._failed is not None and self._failed[1] == rank:
                self._end_all(_reason(rank, f"failed alone: {self._failed[2]}"))
            self._end_all(_reason(rank, "ended without a word, as when the system kills it"))

    def _end_all(self, text: str) -> None:
        if self.rank == 0:
            for other in self._peers:
                self._tell(other, {"end": True})
        self._end(text)


def open_watch(rank: int, world: int, share: Callable[[Any], Any]) -> Watch:
    """Connect all processes with the leader. `share` hands an object of the leader's to all.

    Raises OSError where they cannot reach it.
    """
    watch = Watch(rank)
    if rank == 0:
        with _server() as server:
            server.settimeout(CONNECT_SECONDS)
            token = secrets.token_hex(16)
            share((os.environ.get("MASTER_ADDR", "127.0.0.1"), server.getsockname()[1], token))
            while len(watch._peers) < world - 1:
                peer = _Peer(server.accept()[0])
                with contextlib.suppress(OSError):
                    words = peer.lines.readline(100).split()
                    if (
                        len(words) == 2
                        and words[0] == token
                        and words[1] in map(str, range(1, world))
                    ):
                        watch._peers[int(words[1])] = peer
    else:
        host, port, token = share(None)
        watch._peers[0] = _Peer(socket.create_connection((host, port), timeout=CONNECT_SECONDS))
        watch._peers[0].say(f"{token} {rank}")
    for other, peer in watch._peers.items():
        peer.connection.settimeout(None)
        threading.Thread(
            target=watch._listen, args=(other,), daemon=True, name=f"watch {other}"
        ).start()
    return watch


def _server() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))
