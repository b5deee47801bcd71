"""How ids are spread: codes that occur, perplexities, and what a segment says of its image.

Letters: N images, n tokens. Nothing here is as large as a vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def frequencies(ids: NDArray[Any]) -> NDArray[np.float64]:
    """How often each id that occurs does, of ids of any shape; they sum to one."""
    counts: NDArray[np.int64] = np.unique(ids, return_counts=True)[1]
    return counts / ids.size


def entropy(shares: NDArray[Any]) -> float:
    """In bits, of frequencies that sum to one."""
    occurring = shares[shares > 0]
    return float((occurring * np.log2(1 / occurring)).sum())


def codes_and_perplexity(ids: NDArray[Any]) -> tuple[int, float]:
    """How many codes occur, and 2^entropy of their frequencies, of ids of any shape."""
    shares = frequencies(ids)
    return len(shares), float(np.exp2(entropy(shares)))


def joint_bits(ids: NDArray[Any]) -> float:
    """Entropy in bits of the ids [N, n] of an image together, at most log2(N).

    Codes that differ between positions, but not between images, carry nothing.
    """
    counts = np.unique(ids, axis=0, return_counts=True)[1]
    return entropy(counts / len(ids))


def position_bits(ids: NDArray[Any]) -> float:
    """Entropies in bits of each position of ids [N, n] alone, added up."""
    return sum(entropy(frequencies(column)) for column in ids.T)


def redundancy(ids: NDArray[Any]) -> float:
    """What positions say twice: the sum of their entropies minus the joint one, in bits."""
    return position_bits(ids) - joint_bits(ids)
