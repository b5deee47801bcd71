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


class Timer:
    """Notes when each step of a stage was done."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def waiting(self) -> None:
        """Nobody else is at work."""

    def advanced(self, done: int, total: int, losses: Mapping[str, float]) -> None:
        """A step is done."""
        self.steps.append(time.perf_counter())


def run_stages(profile: str, threads: int, steps: int, last: str) -> None:
    """Run one variant's stages; prints seconds, by stage, of a step or of the whole."""
    import torch

    from prologue_bench.config.ablation import load_ablation
    from prologue_bench.config.files import Overrides
    from prologue_bench.pipeline.executors.stage import run_stage
    from prologue_bench.pipeline.planner import make_plan
    from prologue_bench.pipeline.workspace import Workspace
    from prologue_bench.registry import Registry
    from prologue_bench.storage.store import Store

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
    overrides = Overrides(values=values, profile=profile, seeds=(0,))
    ablation = load_ablation(ABLATION, Registry.load(), overrides)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Store(Path(folder)))
        for planned in make_plan(ablation, workspace).missing:
            kind, timer = planned.stage.kind, Timer()
            if kind not in STAGES:
                continue
            ending = run_stage(planned, workspace, timer, lambda: False)
            if ending.failure or ending.fatal:
                raise SystemExit(ending.failure or ending.fatal)
            found[kind] = ending.seconds
            if kind.startswith("train"):
                pairs = itertools.pairwise(timer.steps[SKIPPED:])
                found[kind] = statistics.median(later - earlier for earlier, later in pairs)
            if kind == last:
                break
    print(json.dumps(found))


def timed(profile: str, threads: int, steps: int, last: str, count: int) -> list[dict[str, float]]:
    """What so many processes at the same time print."""
    command = [sys.executable, __file__, "--profile", profile, "--steps", str(steps)]
    command += ["--last", last]
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
    parser.add_argument("--last", choices=STAGES, default=STAGES[-1], help="stop after this stage")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        run_stages(given.profile, given.threads, given.steps, given.last)
        return
    alone: dict[str, list[float]] = defaultdict(list)
    together: dict[str, list[float]] = defaultdict(list)
    for _ in range(given.repeats):
        one = timed(given.profile, given.cores, given.steps, given.last, 1)
        threads = max(1, given.cores // given.jobs)
        many = timed(given.profile, threads, given.steps, given.last, given.jobs)
        for kind in one[0]:
            alone[kind].append(1 / one[0][kind])
            together[kind].append(sum(1 / each[kind] for each in many))
    print(f"| {given.profile} | one job | {given.jobs} jobs | ratio |")
    print("| --- | --- | --- | --- |")
    for kind in alone:
        ratio = statistics.median(b / a for a, b in zip(alone[kind], together[kind], strict=True))
        what = "steps/s" if kind.startswith("train") else "stages/s"
        before, after = statistics.median(alone[kind]), statistics.median(together[kind])
        print(f"| {kind}, {what} | {before:.2f} | {after:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
