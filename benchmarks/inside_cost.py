"""What looking inside a tokenizer's training costs, with and without a prologue.

    python benchmarks/inside_cost.py --small --steps 250 --pairs 3 [--tokens 0 8] [--set KEY=VALUE]

Prints a Markdown table. Each pair is one training that is looked into and one that is not, from the
same seed, in turns in one process on one thread; the `share` is what the looks themselves took of
the first one's time, which a busy machine disturbs less than the ratio of the two. Times are
seconds of CPU. It ends with an error where the weights of a pair differ.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch

from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.pipeline.models import TOKENIZER_WEIGHTS
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import TrainTokenizer
from prologue_bench.pipeline.steps.training import train_tokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from prologue_bench.training.context import StageContext
from prologue_bench.training.inside import InsideHook

ABLATION = Path(__file__).parent.parent / "ablations" / "prologue_count.yaml"
SMALL = (
    "tokenizer.encoder={width: 64, layers: 2, heads: 2}",
    "tokenizer.decoder={width: 64, layers: 2, heads: 2}",
    "generator.transformer={width: 64, layers: 2, heads: 2, dropout: 0.0}",
    "tokenizer_training.batch_size=32",
)
"""With --small: models of 64 channels and 2 layers, batches of 32 images."""


class Stopwatch:
    """Adds up the seconds of CPU that a function takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.process_time() - started

        return timed


def stage_of(workspace: Workspace, tokens: int, steps: int, values: tuple[str, ...]) -> Any:
    """The training of a tokenizer with so many prologue tokens."""
    own = (
        "data=fashion-mnist-embedded",
        "vary={}",
        "baseline=",
        f"tokenizer.prologue_tokens={tokens}",
        f"tokenizer_training.steps={steps}",
        "tokenizer_training.compile=false",
        "sampling.search=null",
        "metrics=[codebook]",
    )
    overrides = Overrides(values=(*own, *values), profile="micro", seeds=(0,))
    plan = make_plan(load_ablation(ABLATION, Registry.load(), overrides), workspace)
    return next(each.stage for each in plan.stages if isinstance(each.stage, TrainTokenizer))


def trained(stage: TrainTokenizer, workspace: Workspace, folder: Path) -> tuple[float, bytes]:
    """Seconds of a training, and its weights."""
    (folder / "output").mkdir(parents=True)
    context = StageContext(work=folder, output=folder / "output")
    started = time.process_time()
    train_tokenizer(stage, workspace, context)
    seconds = time.process_time() - started
    return seconds, (context.output / TOKENIZER_WEIGHTS).read_bytes()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--tokens", type=int, nargs="+", default=[0, 8])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    values = (*(SMALL if asked.small else ()), *asked.set)
    print("| prologue tokens | with, s | without, s | ratio | share of the looks |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as root:
        workspace = Workspace(Store(Path(root, "store")))
        for tokens in asked.tokens:
            stage = stage_of(workspace, tokens, asked.steps, values)
            unseen = attrs.evolve(stage, training=attrs.evolve(stage.training, inspect_steps=0))
            ratios, shares, seconds = [], [], []
            for pair in range(asked.pairs):
                watch = Stopwatch()
                methods = ("before_train_iter", "_read_gradients", "after_train_iter")
                originals = {name: getattr(InsideHook, name) for name in methods}
                for name, method in originals.items():
                    setattr(InsideHook, name, watch.around(method))
                whole, weights = trained(stage, workspace, Path(root, f"{tokens}-{pair}-with"))
                for name, method in originals.items():
                    setattr(InsideHook, name, method)
                bare, others = trained(unseen, workspace, Path(root, f"{tokens}-{pair}-without"))
                if weights != others:
                    raise SystemExit("the weights differ: looking has changed the training")
                ratios.append(whole / bare)
                shares.append(watch.seconds / whole)
                seconds.append((whole, bare))
            means = [statistics.mean(each) for each in zip(*seconds, strict=True)]
            print(
                f"| {tokens} | {means[0]:.1f} | {means[1]:.1f} | {statistics.median(ratios):.3f} "
                f"| {100 * statistics.mean(shares):.1f}% |",
                flush=True,
            )


if __name__ == "__main__":
    main()
