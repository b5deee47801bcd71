"""What recording a training's steps brings on a GPU, for models as small as those of `micro`.

    python benchmarks/recorded_step.py [--steps 400] [--profile micro] [--set KEY=VALUE]

Prints a Markdown table: steps per second with and without a recording, in turns in one process, and
the largest difference between the weights that they end with. Needs a GPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from prologue_bench import seeds
from prologue_bench.config.ablation import load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.pipeline import models
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.stages import TrainGenerator, TrainTokenizer
from prologue_bench.pipeline.steps import training as steps
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from prologue_bench.storage.weights import load_state
from prologue_bench.training.context import StageContext

ABLATION = Path(__file__).parent.parent / "ablations" / "prologue_count.yaml"


def stages_of(workspace: Workspace, profile: str, count: int, values: list[str]) -> dict[str, Any]:
    """The trainings of a variant with eight prologue tokens, by kind."""
    own = (
        "data=fashion-mnist-embedded",
        "vary={}",
        "baseline=",
        "tokenizer.prologue_tokens=8",
        f"tokenizer_training.steps={count}",
        f"generator_training.steps={count}",
        "sampling.search=null",
        "metrics=[rate]",
    )
    overrides = Overrides(values=(*own, *values), profile=profile, seeds=(0,))
    plan = make_plan(load_ablation(ABLATION, Registry.load(), overrides), workspace)
    stages = [each.stage for each in plan.stages]
    kinds = (TrainTokenizer, TrainGenerator)
    return {each.kind: each for each in stages if isinstance(each, kinds)}


def random_ids(workspace: Workspace, stage: TrainGenerator) -> Any:
    """Ids of every training image, [N, L], as a tokenizer could give them."""
    layout = workspace.layout_of(stage.tokens.tokenizer)
    data = workspace.data_of(stage.tokens.tokenizer)
    rng = np.random.default_rng(seeds.stream("ids", 0))
    parts = [
        rng.integers(each.vocabulary, size=(len(data.labels("train")), each.length))
        for each in layout
    ]
    return np.concatenate(parts, axis=1)


def train(
    stage: Any, workspace: Workspace, recorded: bool
) -> tuple[float, dict[str, torch.Tensor]]:
    """Steps per second after the first quarter, and the weights at the end."""
    work, name = {
        TrainTokenizer: (steps.train_tokenizer, models.TOKENIZER_WEIGHTS),
        TrainGenerator: (steps.train_generator, models.GENERATOR_WEIGHTS),
    }[type(stage)]
    can_be_recorded = steps.can_be_recorded if recorded else lambda *_: False
    replaced: dict[str, Any] = {"can_be_recorded": can_be_recorded}
    if isinstance(stage, TrainGenerator):
        ids = random_ids(workspace, stage)
        replaced["open_tokens"] = lambda *_: ids
    with tempfile.TemporaryDirectory() as folder:
        context = StageContext(work=Path(folder), output=Path(folder, "output"))
        context.output.mkdir()
        with mock.patch.multiple(steps, **replaced):
            work(stage, workspace, context)
        lines = (context.output / "curves.jsonl").read_text().splitlines()
        points = [json.loads(line) for line in lines]
        begun, ended = points[len(points) // 4], points[-1]
        rate = (ended["step"] - begun["step"]) / max(ended["seconds"] - begun["seconds"], 1e-9)
        return rate, load_state(context.output / name)


def main() -> None:
    """Time and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--profile", default="micro")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Store(Path(folder)))
        found = stages_of(workspace, options.profile, options.steps, options.set)
        print("| training | steps/s | recorded | ratio | weights differ by at most |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for kind, stage in found.items():
            with mock.patch.object(Store, "get", return_value=Path(folder)):
                plain, before = train(stage, workspace, recorded=False)
                fast, after = train(stage, workspace, recorded=True)
            apart = max(float((after[name] - each).abs().max()) for name, each in before.items())
            print(f"| {kind} | {plain:.1f} | {fast:.1f} | {fast / plain:.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
