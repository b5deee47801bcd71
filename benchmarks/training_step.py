"""One training step of a profile's sizes on one thread, beside that of an older revision.

    python benchmarks/training_step.py [--profile NAME] [--steps N] [--blocks N]

Sizes are those that the profile has in this checkout; all else is the same in both. Each revision
runs in a process of its own, checked out from git into a temporary folder, and they take turns: a
block of steps of the one, then one of the other. Steps are those of the whole runner, with all its
hooks. Times are seconds of CPU, of which a machine that does other work too takes away the least.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from revisions import BASELINE, ROOT, checkout
from sizes import PROLOGUE_TOKENS, Sizes, add_profile

KINDS = {
    "tokenizer": "tokenizer step, 16 prologue tokens",
    "tokenizer-2d": "tokenizer step, no prologue",
    "generator": "generator step",
}


# What runs in the process of one revision. Packages had other names before.


def serve(kind: str, sizes: Sizes, compile_it: bool) -> None:
    """Train, a block of steps for each line of stdin, and print each block's CPU seconds a step."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        from prologue_bench.training.context import StageContext
    except ImportError:
        from prologue_bench.pipeline.context import StageContext
    from prologue_bench.training.runner import TrainingJob, train

    asked = 0
    begun = 0.0
    told = False

    def advance(done: int, total: int) -> None:
        nonlocal asked, begun, told
        if told and done < asked:
            return
        now = time.process_time()
        if told:
            print(json.dumps(now - begun), flush=True)
        told = True
        line = sys.stdin.readline()
        if not line.strip():
            sys.stdout.flush()
            os._exit(0)
        asked = done + int(line)
        begun = time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        for name in ("work", "output"):
            Path(folder, name).mkdir()
        context = StageContext(
            work=Path(folder, "work"), output=Path(folder, "output"), advance=advance
        )
        train(TrainingJob(seed=0, context=context, **_job(kind, sizes, compile_it)))


def _job(kind: str, sizes: Sizes, compile_it: bool) -> dict[str, Any]:
    import torch

    try:
        from prologue_bench.config.settings import (
            GeneratorTraining,
            Optimisation,
            TokenizerTraining,
        )
        from prologue_bench.contracts import NoSettings, to_float
        from prologue_plugins.datasets.fashion_mnist import EmbeddedFashionMnist
        from prologue_plugins.generators.ar import Ar
        from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings
        from prologue_plugins.layers.settings import TransformerSettings
        from prologue_plugins.tokenizers.prologue import Prologue
        from prologue_plugins.tokenizers.settings import PrologueSettings

        setting: dict[str, Any] = {"compile": compile_it}
    except ImportError:
        from prologue_bench.components import NoSettings
        from prologue_bench.images import to_float
        from prologue_bench.spec.settings import (
            GeneratorTraining,
            Optimisation,
            TokenizerTraining,
        )
        from prologue_datasets.fashion_mnist import EmbeddedFashionMnist
        from prologue_generators.ar import Ar
        from prologue_generators.settings import ArSettings, ArTransformerSettings
        from prologue_layers.settings import TransformerSettings
        from prologue_tokenizers.prologue import Prologue
        from prologue_tokenizers.settings import PrologueSettings

        setting = {"compile": compile_it}
    from prologue_bench.training.batches import ArrayDataset
    from prologue_bench.training.models import GeneratorModel, TokenizerModel

    setting |= {
        "steps": 100_000,
        "batch_size": sizes.batch,
        "ema_half_life_steps": 200.0,
        "checkpoint_steps": 1_000_000,
    }
    data = EmbeddedFashionMnist(NoSettings())
    tokenizer = Prologue(
        PrologueSettings(
            patch_size=4,
            encoder=TransformerSettings(**sizes.encoder),
            decoder=TransformerSettings(**sizes.decoder),
            visual_codebook=256,
            prologue_codebook=128,
            prologue_tokens=0 if kind == "tokenizer-2d" else PROLOGUE_TOKENS,
        ),
        data.spec,
    )
    ar = Ar(
        ArSettings(transformer=ArTransformerSettings(**sizes.transformer)),
        tokenizer.layout,
        data.spec.labels,
    )
    images, labels = data.images("train"), data.labels("train")
    rate = {"learning_rate": 1e-3, "warmup_steps": 100, "final_fraction": 0.1}
    if kind != "generator":
        training = TokenizerTraining(l2_weight=1.0, **setting)
        autoencoder = Optimisation(betas=(0.0, 0.99), **rate)
        parts = {"autoencoder": (list(tokenizer.parameters()), autoencoder)}
        prior = None
        if kind == "tokenizer":
            prior = ar
            learns = Optimisation(betas=(0.9, 0.99), weight_decay=0.03, **rate)
            parts["prior"] = (list(ar.parameters()), learns)
        return {
            "model": TokenizerModel(tokenizer, prior, training, data.spec.none_label),
            "data": ArrayDataset({"images": images}),
            "training": training,
            "parts": parts,
        }
    generator_training = GeneratorTraining(**setting)
    with torch.no_grad():
        ids = torch.cat(
            [
                tokenizer.encode(to_float(torch.from_numpy(images[start : start + 500].copy())))
                for start in range(0, len(images), 500)
            ]
        )
    optimisation = Optimisation(betas=(0.9, 0.96), weight_decay=0.03, clip_norm=1.0, **rate)
    return {
        "model": GeneratorModel(ar, generator_training, data.spec.none_label),
        "data": ArrayDataset({"ids": ids.numpy(), "labels": labels}),
        "training": generator_training,
        "parts": {"generator": (list(ar.parameters()), optimisation)},
    }


# What runs in this process.


class Revision:
    """A process that trains with one checkout, a block of steps at a time."""

    def __init__(
        self, checkout: Path, kind: str, sizes: Sizes, compiled: bool, warm_up: int
    ) -> None:
        paths = [str(checkout), str(checkout / "plugins")]
        arguments = ["serve", kind, sizes.text(), *["compile"] * compiled]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seconds: list[float] = []
        """CPU seconds per step of each block."""
        self.first = self._run(warm_up)
        """CPU seconds of the first steps, compiling included."""

    def block(self, steps: int) -> None:
        """Train so many steps."""
        self.seconds.append(self._run(steps) / steps)

    def _run(self, steps: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a revision's process ended; its last lines say why")
        return float(json.loads(line))

    def close(self) -> None:
        """End the process."""
        self.process.communicate("\n")


def flops(kind: str, sizes: Sizes) -> float:
    """FLOPs of a step: three times those of a forward pass, as stages are counted."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    job = _job(kind, sizes, compile_it=False)
    batch = job["data"].__getitems__(list(range(sizes.batch)))
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        job["model"].losses(**batch)
    return 3.0 * counter.get_total_flops()


def matrix_speed() -> float:
    """FLOP/s of a large matrix product on one thread, by CPU time as steps are.

    Unlike `estimates.matrix_product_speed`, anew for each call: each round has its own.
    """
    import torch

    torch.set_num_threads(1)
    a = torch.randn(1024, 1024)
    taken = []
    for _ in range(5):
        begun = time.process_time()
        a @ a
        taken.append(time.process_time() - begun)
    return 2 * 1024**3 / statistics.median(taken)


def main() -> None:
    """Print a Markdown table of times and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--against", default=BASELINE, help=f"the older revision ({BASELINE})")
    parser.add_argument("--steps", type=int, default=5, help="steps per block (5)")
    parser.add_argument("--blocks", type=int, default=5, help="blocks per revision (5)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--compile", action="store_true", help="a third process, compiled")
    add_profile(parser)
    arguments = parser.parse_args()
    print(f"CPU seconds per step; ratios and medians of {arguments.blocks} interleaved blocks.\n")
    print(
        "| step | code | s per step | times as fast | share of matrix products | first steps, s |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with checkout(arguments.against) as old:
        for kind in arguments.kinds:
            each = {arguments.against: Revision(old, kind, arguments.sizes, False, 2)}
            each["now"] = Revision(ROOT, kind, arguments.sizes, False, 2)
            if arguments.compile:
                each["now, compiled"] = Revision(ROOT, kind, arguments.sizes, True, 2)
            speeds = []
            for _ in range(arguments.blocks):
                for revision in each.values():
                    revision.block(arguments.steps)
                matrix = subprocess.run(
                    [sys.executable, "-W", "ignore", __file__, "matrix"],
                    env={
                        **os.environ,
                        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
                    },
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                speeds.append(float(matrix.stdout))
            count, matrices = flops(kind, arguments.sizes), statistics.median(speeds)
            before = each[arguments.against].seconds
            for name, revision in each.items():
                seconds = statistics.median(revision.seconds)
                ratio = statistics.median(
                    one / other for one, other in zip(before, revision.seconds, strict=True)
                )
                print(
                    f"| {KINDS[kind]} | {name} | {seconds:.4f} | {ratio:.2f} | "
                    f"{count / seconds / matrices:.0%} | {revision.first:.1f} |",
                    flush=True,
                )
                revision.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], Sizes.read(sys.argv[3]), "compile" in sys.argv[4:])
    elif sys.argv[1:2] == ["matrix"]:
        print(matrix_speed())
    else:
        main()
