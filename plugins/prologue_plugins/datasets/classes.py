"""Which class an image is of, where its files say it."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from prologue_bench.errors import UserError
from prologue_bench.texts.lines import escaped
from prologue_plugins.datasets.archives import Archive
from prologue_plugins.datasets.names import shortened

LARGEST = 10**6
"""Of the numbers of classes."""


def classes_by_folder(places: Sequence[str]) -> tuple[list[int], list[str]] | None:
    """Label of each image and the names of the classes, if images lie in several folders."""
    folders = [escaped(posixpath.basename(posixpath.dirname(place))) for place in places]
    names = sorted(set(folders))
    if len(names) < 2 or "" in names:
        return None
    number = {name: index for index, name in enumerate(names)}
    return [number[folder] for folder in folders], names


def class_numbers(archive: Archive, names: Sequence[str]) -> tuple[list[int], list[str]] | None:
    """The same from webdataset's .cls files, one for each image; None without them."""
    beside = {name for name in archive.names() if name.endswith(".cls")}
    if not beside:
        return None
    labels = []
    for name in names:
        folder, base = posixpath.split(name)
        other = posixpath.join(folder, f"{base.partition('.')[0]}.cls")
        text = archive.read(other)[:20].strip() if other in beside else b""
        if not text.isdigit() or int(text) >= LARGEST:
            found = repr(text.decode(errors="replace")) if other in beside else "no such file"
            raise UserError(
                f"{archive.path}: {shortened(other)}: found {found}, expected the number of a class"
            )
        labels.append(int(text))
    return labels, [str(each) for each in range(max(labels) + 1)]
