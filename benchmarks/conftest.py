"""A kernel timed around each benchmark, so that times from two machines compare as ratios to it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

REPEATS = 15


def kernel() -> None:
    """Plain operations of a small transformer's sizes.

    Products, a softmax and a norm, forwards and backwards.
    """
    rng = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(64, 58, 96, generator=rng),
        torch.randn(96, 96, generator=rng).requires_grad_(),
    )
    for _ in range(4):
        hidden = x @ weight
        attention = (hidden @ hidden.transpose(1, 2) / 96).softmax(dim=-1)
        F.layer_norm(attention @ hidden, (96,)).square().mean().backward()


def kernel_seconds() -> float:
    """The fastest of several runs.

    On a busy machine it varies by a few hundredths, a median by a third.
    """
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        kernel()
        times.append(time.perf_counter() - started)
    return min(times)


@pytest.fixture(autouse=True)
def calibration(benchmark: BenchmarkFixture) -> Iterator[None]:
    """Time the kernel before and after, close to what it is compared with.

    A noisy machine drifts within one run. All on one thread, which what else the machine does on
    its other cores disturbs least.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    kernel()
    before = kernel_seconds()
    yield
    benchmark.extra_info["calibration_seconds"] = min(before, kernel_seconds())
    torch.set_num_threads(threads)
