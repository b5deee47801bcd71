"""What a plugin changes of the whole process, where it is imported or made, is put back.

A working folder or a default of torch would otherwise be another one for whatever comes after it:
for other plugins, and for paths that a user gave.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from prologue_bench.notices import notice

FLOAT32 = "torch.float32"
"""torch's default dtype where it was not imported before."""


@contextmanager
def process_state_kept(who: str, when: str = "imported") -> Iterator[None]:
    """Put back what is changed inside, and say in one line who changed what."""
    folder, dtype, gradients = _folder(), _dtype() or FLOAT32, _gradients()
    try:
        yield
    finally:
        changed = [
            *_put_back("the working folder", folder, _folder, os.chdir),
            *_put_back("torch's default dtype", dtype, _dtype, _set_dtype),
            *_put_back("torch's gradients", gradients, _gradients, _set_gradients),
        ]
        if changed:
            _tell(f"{who} changed {' and '.join(changed)} when it was {when}; it is put back")


@cache
def _tell(text: str) -> None:
    """Once: a component is made for many stages."""
    notice(text)


def _put_back(
    name: str, before: Any, read: Callable[[], Any], write: Callable[[Any], object]
) -> Iterator[str]:
    now = read()
    if now is None or before is None or now == before:
        return
    with suppress(OSError):  # a folder that was removed meanwhile
        write(before)
    yield name


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _dtype() -> str | None:
    """None where torch is not imported, which is left so."""
    torch = sys.modules.get("torch")
    return None if torch is None else str(torch.get_default_dtype())


def _set_dtype(name: str) -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(getattr(torch, name.removeprefix("torch.")))


def _gradients() -> bool:
    torch = sys.modules.get("torch")
    return True if torch is None else bool(torch.is_grad_enabled())


def _set_gradients(enabled: bool) -> None:
    sys.modules["torch"].set_grad_enabled(enabled)
