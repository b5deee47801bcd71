"""One stage on all threads against several stages on a share of them: what `--jobs auto` goes by.

    python benchmarks/jobs.py --profile micro --jobs 2 --repeats 3

Prints a Markdown table of stages per second in either case, and their ratio. Each repeat runs the
stages of one variant once alone, and once in as many processes at the same time as there are jobs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

ABLATION = Path(__file__).parent.parent / "ablations" / "prologue_count.yaml"
STAGES = ("train-tokenizer", "encode", "reconstruct", "train-generator", "sample")
SKIPPED = 3
"""Steps of a training that are not timed, while memory and caches fill."""


def run_stages(profile: str, threads: int, steps: int) -> None:
    """Run one variant's stages; prints seconds, by stage, of a step or of the whole."""
    import torch

    from prologue_bench.config.ablation import load_ablation
    from prologue_bench.config.files import Overrides
    from prologue_bench.pipeline.executor import Watcher, execute
    from prologue_bench.pipeline.planner import PlannedStage, make_plan
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.registry import Registry
    from prologue_bench.storage.store import Store

    class Timer(Watcher):
        """Notes when each step was done."""

        def __init__(self) -> None:
            self.steps: dict[str, list[float]] = defaultdict(list)
            self.wholes: dict[str, float] = {}

        def advanced(
            self, planned: PlannedStage, done: int, total: int, losses: Mapping[str, float]
        ) -> None:
            self.steps[planned.stage.kind].append(time.perf_counter())

        def finished(self, planned: PlannedStage, seconds: float) -> None:
            self.wholes[planned.stage.kind] = seconds

        def failed(self, planned: PlannedStage, reason: str) -> None:
            raise SystemExit(reason)

    torch.set_num_threads(threads)
    values = (
        "data=fashion-mnist-embedded",
        "vary={}",
        "baseline=",
        "tokenizer.prologue_tokens=8",
        f"tokenizer_training.steps={steps}",
        f"generator_training.steps={2 * steps}",
        "sampling.samples=500",
        "metrics=[rate]",
    )
    ablation = load_ablation(
        ABLATION, Registry.load(), Overrides(values=values, profile=profile, seeds=(0,))
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace, timer = Workspace(Store(Path(folder))), Timer()
        execute(make_plan(ablation, workspace), workspace, timer, lambda: False)
    found = {kind: timer.wholes[kind] for kind in STAGES}
    for kind in ("train-tokenizer", "train-generator"):
        times = timer.steps[kind][SKIPPED:]
        found[kind] = statistics.median(
            later - earlier for earlier, later in itertools.pairwise(times)
        )
    print(json.dumps(found))


def timed(profile: str, threads: int, steps: int, count: int) -> list[dict[str, float]]:
    """What so many processes at the same time print."""
    command = [sys.executable, __file__, "--profile", profile, "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    running = [
        subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(count)
    ]
    outputs = [each.communicate()[0] for each in running]
    return [json.loads(each.splitlines()[-1]) for each in outputs]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="micro")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        run_stages(given.profile, given.threads, given.steps)
        return
    alone: dict[str, list[float]] = defaultdict(list)
    together: dict[str, list[float]] = defaultdict(list)
    for _ in range(given.repeats):
        one = timed(given.profile, given.cores, given.steps, 1)
        many = timed(given.profile, max(1, given.cores // given.jobs), given.steps, given.jobs)
        for kind in STAGES:
            alone[kind].append(1 / one[0][kind])
            together[kind].append(sum(1 / each[kind] for each in many))
    print(f"| {given.profile} | one job | {given.jobs} jobs | ratio |")
    print("| --- | --- | --- | --- |")
    for kind in STAGES:
        ratio = statistics.median(b / a for a, b in zip(alone[kind], together[kind], strict=True))
        what = "steps/s" if kind.startswith("train") else "stages/s"
        before, after = statistics.median(alone[kind]), statistics.median(together[kind])
        print(f"| {kind}, {what} | {before:.2f} | {after:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
