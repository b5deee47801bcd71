"""Random damage: to plain values, to text and bytes, and to files."""

from __future__ import annotations

import copy
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

JUNK: list[Callable[[], Any]] = [
    *(lambda: None, lambda: True, lambda: False, lambda: 0, lambda: -1, lambda: 1, lambda: 3.5),
    *(lambda: 10**9, lambda: 10**30, lambda: 10**400, lambda: -(10**18), lambda: 1e308),
    *(lambda: 1e-310, lambda: float("nan"), lambda: float("inf"), lambda: -float("inf")),
    *(lambda: "", lambda: "x", lambda: "../../x", lambda: "/etc/passwd", lambda: "a\0b"),
    *(lambda: "\ud800", lambda: "é中", lambda: "x" * 20_000, lambda: "<script>alert(1)</script>"),
    *(lambda: "\x1b[31m\n", lambda: "=cmd|' /C calc'!A0", lambda: [], lambda: [None]),
    *(lambda: [1, "2"], lambda: {}, lambda: {"x": 1}, lambda: {"use": "nothing"}),
    *(lambda: nested(60), lambda: [[]] * 50),
]


def nested(depth: int) -> Any:
    """Lists within one another."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def place(draw: random.Random, document: Any) -> tuple[Any, Any]:
    """A random part; one level after the other, so that the many numbers do not take all tries."""
    holder, key = document, _key(draw, document)
    while isinstance(holder[key], dict | list) and holder[key] and draw.random() < 0.85:
        holder = holder[key]
        key = _key(draw, holder)
    return holder, key


def _key(draw: random.Random, holder: Any) -> Any:
    """Of one part; more often one that holds others, of which there are few beside many texts."""
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    inner = [key for key in keys if isinstance(holder[key], dict | list) and holder[key]]
    return draw.choice(inner if inner and draw.random() < 0.7 else keys)


def mutated(draw: random.Random, document: Any) -> tuple[Any, str]:
    """A document with one to three parts changed, and what was done."""
    document, told = copy.deepcopy(document), []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        if not document:
            break
        holder, key = place(draw, document)
        kind = draw.choice(
            ["drop", "junk", "junk", "like", "like", "double", "swap", "scale", "rename"]
        )
        told.append(f"{kind} {key!r:.40}")
        if kind == "drop":
            del holder[key]
        elif kind == "double" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == "swap":
            other, there = place(draw, document)
            holder[key] = copy.deepcopy(other[there])
        elif kind == "scale" and type(holder[key]) in (int, float):
            holder[key] *= draw.choice([-1, 0, 1e-9, 1e9, 10**40])
        elif kind == "like":  # of the same type, so that the schema may take it
            holder[key] = draw.choice(
                [each for each in JUNK if type(each()) is type(holder[key])] or JUNK
            )()
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw.choice(["x", "", "__class__", "a.b"])] = holder.pop(key)
        else:
            holder[key] = draw.choice(JUNK)()
            told[-1] += f" = {holder[key]!r:.30}"
    return document, ", ".join(told)


def damaged_text(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    """The bytes of a text with damage that JSON may not survive, and what was done."""
    kind = draw.choice(
        ["cut", "flip", "insert", "encoding", "brackets", "foreign", "twice", "digits"]
    )
    at = draw.randrange(len(content))
    if kind == "cut":
        return content[:at], f"cut at {at}"
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(draw.choice([1, 1, 5])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed), "bits flipped"
    if kind == "insert":
        return content[:at] + draw.randbytes(draw.choice([1, 4])) + content[
            at:
        ], f"bytes inserted at {at}"
    if kind == "encoding":
        name = draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-le"])
        return content.decode().encode(name), name
    if kind == "brackets":
        return draw.choice([b"[" * 100_000, b'{"a":' * 50_000, b"[" * 500 + b"]" * 500]), kind
    if kind == "foreign":
        other: list[Any] = [
            *(None, 1, "x", [], {}, [{}], {"schema": 1}, {"format": 1}, {"schema": 2}),
            *({"schema": True}, {"benchmarks": []}),
            *({"benchmarks": None}, {"cells": [], "nbformat": 4}),
        ]
        chosen = draw.choice(other)
        return json.dumps(chosen).encode(), f"foreign {chosen}"
    if kind == "twice":
        return content.replace(b'"name":', b'"name": "again", "name":', 1), "a name twice"
    return content.replace(b"1", b"9" * draw.choice([400, 5000]), 1), "a number of many digits"


OTHERS = (
    "link",
    "dangling link",
    "looping link",
    "link to zeros",
    "pipe",
    "folder",
    "nothing",
    "empty",
    "link to null",
)


def replaced(draw: random.Random, path: Path, target: Path) -> str:
    """Put something else in the place of a file; returns what."""
    kind = draw.choice(OTHERS)
    path.unlink()
    if kind in ("link", "dangling link", "looping link", "link to zeros", "link to null"):
        path.symlink_to(
            {
                "link": target,
                "dangling link": target / "nothing",
                "looping link": path,
                "link to zeros": Path("/dev/zero"),
                "link to null": Path("/dev/null"),
            }[kind]
        )
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    return kind


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that says it is of that size, with whatever data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def spoiled(draw: random.Random, path: Path, target: Path) -> str:
    """Spoil a file of JSON: its document, its text, or the file itself; returns which and how."""
    kind = draw.choice(["document", "document", "document", "text", "file"])
    return f"{kind}: {SPOIL[kind](draw, path, target)}"


def _document(draw: random.Random, path: Path, target: Path) -> str:
    changed, told = mutated(draw, json.loads(path.read_text()))
    path.write_text(json.dumps(changed))
    return told


def _text(draw: random.Random, path: Path, target: Path) -> str:
    content, told = damaged_text(draw, path.read_bytes())
    path.write_bytes(content)
    return told


SPOIL: dict[str, Callable[[random.Random, Path, Path], str]] = {
    "document": _document,
    "text": _text,
    "file": replaced,
}
"""Ways to spoil a file, of which the last puts something else, such as a link to the target, in its
place."""
