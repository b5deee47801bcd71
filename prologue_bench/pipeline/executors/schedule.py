"""In what order stages take the least time side by side, and how long that is."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence

from prologue_bench.pipeline.planner import PlannedStage

UNKNOWN_SECONDS = 60.0
"""Of a stage where no estimate is known at all."""


def critical_paths(missing: Sequence[PlannedStage]) -> dict[str, float]:
    """Seconds, by key, of the longest chain of these stages that begins with each.

    They are in the order of a plan, each behind its inputs.
    """
    seconds = _seconds(missing)
    behind: dict[str, float] = defaultdict(float)
    longest: dict[str, float] = {}
    for planned in reversed(missing):
        key = planned.stage.key
        longest[key] = seconds(planned) + behind[key]
        for before in planned.stage.inputs:
            behind[before.key] = max(behind[before.key], longest[key])
    return longest


def makespan(missing: Sequence[PlannedStage], jobs: int) -> float:
    """Seconds that these stages take, so many at a time, the most urgent first.

    That is list scheduling by critical paths (Graham 1969), which is at most twice the shortest.
    """
    seconds, urgency = _seconds(missing), critical_paths(missing)
    known = {planned.stage.key: planned for planned in missing}
    waits = {
        key: {before.key for before in planned.stage.inputs} & known.keys()
        for key, planned in known.items()
    }
    behind: dict[str, list[str]] = defaultdict(list)
    for key, inputs in waits.items():
        for before in inputs:
            behind[before].append(key)
    ready = [(-urgency[key], key) for key, inputs in waits.items() if not inputs]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < jobs:
            _, key = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds(known[key]), key))
        now, over = heapq.heappop(running)
        for key in behind[over]:
            waits[key].discard(over)
            if not waits[key]:
                heapq.heappush(ready, (-urgency[key], key))
    return now


def widest(missing: Sequence[PlannedStage], most: int) -> int:
    """How many of these stages can run at once, up to `most`: that many have none behind another.

    Counted while they all run, each as soon as its inputs are there.
    """
    depth: dict[str, int] = {}
    for planned in missing:
        before = [depth[each.key] for each in planned.stage.inputs if each.key in depth]
        depth[planned.stage.key] = 1 + max(before, default=0)
    counts: dict[int, int] = defaultdict(int)
    for each in depth.values():
        counts[each] += 1
    return min(most, max(counts.values(), default=0))


def _seconds(missing: Sequence[PlannedStage]) -> Callable[[PlannedStage], float]:
    """The estimates, a stage of unknown length counting as the middle one of the others."""
    known = sorted(planned.seconds for planned in missing if planned.seconds is not None)
    unknown = known[len(known) // 2] if known else UNKNOWN_SECONDS
    return lambda planned: unknown if planned.seconds is None else planned.seconds
