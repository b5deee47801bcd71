"""Random generators, each named after what it draws for.

A name tells one use of random numbers from every other: ("dropout", training seed, step, rank). It
is hashed as a whole, so that no two names meet as sums or shifted numbers do. PyTorch's generator
of a CPU is a Mersenne Twister that takes the low 32 bits of a seed and drops the rest; a million
steps would meet about a hundred times in those. So `generator` and `seed_all` fill its whole state,
128 bits of the hash deep, and `stream` is for whoever takes nothing but a number.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # settings are read without torch
    import torch

Name = str | SupportsIndex
"""A word or a whole number of any kind; the two are never taken for each other."""

_STATE = slice(24, 24 + 8 * 624)
"""Where the 624 words of the Mersenne Twister stand in the state of PyTorch's CPU generator, each
in 8 bytes."""


def stream(*names: Name) -> int:
    """A seed from 0 to 2^32 - 1 of that name: what the generators of all devices use in full."""
    return int.from_bytes(_digest(names)[:4], "big")


def generator(*names: Name, device: torch.device | str = "cpu") -> torch.Generator:
    """A new PyTorch generator of that name. Devices draw apart from each other."""
    import torch

    made = torch.Generator(device).manual_seed(_wide(names))
    return made if made.device.type != "cpu" else _filled(made, names)


def uniform(count: int, *names: Name) -> NDArray[np.float64]:
    """Numbers from 0 up to, but without, 1 of that name [count].

    The first are the same whatever the count.
    """
    return np.random.default_rng(_sequence(names)).random(count)


def seed_all(*names: Name) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, on all devices."""
    random.seed(_digest(names))
    np.random.seed(stream("numpy", *names))
    seed_torch(*names)


def seed_torch(*names: Name) -> None:
    """Seed the global generators of PyTorch, on all devices."""
    import torch

    if torch.accelerator.is_available():
        torch.manual_seed(_wide(names))
    else:  # torch would note for later where it was called from, which takes longer than a layer
        torch.default_generator.manual_seed(_wide(names))
    _filled(torch.default_generator, names)


@contextmanager
def seeded(*names: Name) -> Iterator[None]:
    """Global generators seeded inside, as `seed_all` does, and afterwards as they were before."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            seed_all(*names)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _digest(names: tuple[Name, ...]) -> bytes:
    plain: list[Any] = [name if isinstance(name, str) else name.__index__() for name in names]
    return hashlib.sha256(json.dumps(plain).encode()).digest()


def _wide(names: tuple[Name, ...]) -> int:
    """64 bits, which GPUs use all of."""
    return int.from_bytes(_digest(names)[:8], "big")


def _sequence(names: tuple[Name, ...]) -> np.random.SeedSequence:
    digest = _digest(names)
    words = np.frombuffer(digest[::-1], "<u4")
    # The number in words of 32 bits is what NumPy makes of it, and takes long to make; zeros at its
    # end are not among them.
    return np.random.SeedSequence(words if words[-1] else int.from_bytes(digest, "big"))


def _filled(made: torch.Generator, names: tuple[Name, ...]) -> torch.Generator:
    """The CPU generator with the state of NumPy's Mersenne Twister of that name."""
    state = made.get_state()
    words = state.numpy()[_STATE].view(np.uint64)
    words[:] = np.random.MT19937(_sequence(names)).state["state"]["key"]
    made.set_state(state)
    return made
