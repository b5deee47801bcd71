"""Sampling, encoding and features at a profile's sizes, beside an older revision.

    python benchmarks/sampling_speed.py [TASK ...] [--profile NAME] [--rounds N] [--whole]

Each revision runs in a process of its own, on one thread and checked out from git into a temporary
folder, and they take turns: a block of the one, then one of the other. A ratio is the median over
the rounds of those of neighbouring blocks. Times are seconds of CPU, of which a machine that does
other work too takes away the least. The share is that of the speed of a large matrix product,
timed in each round too, which the counted FLOPs reach. By default, a tenth of 70,000 images is
encoded and of 10,000 features are extracted, and times are for all of them.
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
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from revisions import BASELINE, ROOT, checkout
from sizes import PROLOGUE_TOKENS, Sizes, add_profile

BATCH = 500
IMAGES = {"encode": 70_000, "features": 10_000}
TASKS = {
    "plain": "sampling, batch 500",
    "guided": "sampling with guidance",
    "nucleus": "the same with top-p 0.95",
    "encode": "encoding of 70,000 images",
    "decode": "decoding of 10,000 images",
    "features": "features of 10,000 images",
}
Task = Callable[[], None]


# What runs in the process of one revision. Packages had other names before.


def serve(share: int, sizes: Sizes) -> None:
    """Run a task for each name on stdin; print its CPU seconds, or FLOPs and FLOP/s if asked."""
    import torch

    torch.set_num_threads(1)
    tasks = _tasks(share, sizes)
    answers: dict[str, Callable[[Task], float]] = {"time": _seconds, "flops": _flops}
    for line in sys.stdin:
        what, name = line.split()
        found = _matrix_product_speed() if what == "speed" else answers[what](tasks[name])
        print(json.dumps(found), flush=True)


def _seconds(task: Task) -> float:
    begun = time.process_time()
    task()
    return time.process_time() - begun


def _matrix_product_speed() -> float:
    """FLOP/s: as `pipeline.estimates.matrix_product_speed`, which older revisions had otherwise."""
    import torch

    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(_seconds(lambda: a @ a) for _ in range(4))


def _flops(task: Task) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        task()
    return float(counter.get_total_flops())


def _tasks(share: int, sizes: Sizes) -> dict[str, Task]:
    import numpy as np
    import torch

    try:
        from prologue_bench.config.settings import Guidance, Sampling
        from prologue_bench.contracts import NoSettings, to_float
        from prologue_plugins.datasets.fashion_mnist import EmbeddedFashionMnist
        from prologue_plugins.generators.ar import Ar
        from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings
        from prologue_plugins.layers.settings import TransformerSettings
        from prologue_plugins.metrics.features import extract_features
        from prologue_plugins.metrics.settings import FidSettings
        from prologue_plugins.tokenizers.prologue import Prologue
        from prologue_plugins.tokenizers.settings import PrologueSettings
    except ImportError:
        from prologue_bench.components import NoSettings
        from prologue_bench.images import to_float
        from prologue_bench.spec.settings import Guidance, Sampling
        from prologue_datasets.fashion_mnist import EmbeddedFashionMnist
        from prologue_generators.ar import Ar
        from prologue_generators.settings import ArSettings, ArTransformerSettings
        from prologue_layers.settings import TransformerSettings
        from prologue_metrics.features import extract_features
        from prologue_metrics.settings import FidSettings
        from prologue_tokenizers.prologue import Prologue
        from prologue_tokenizers.settings import PrologueSettings
    from prologue_bench.sampling.decoding import draw_ids

    torch.manual_seed(0)
    data = EmbeddedFashionMnist(NoSettings())
    tokenizer = Prologue(
        PrologueSettings(
            patch_size=4,
            encoder=TransformerSettings(**sizes.encoder),
            decoder=TransformerSettings(**sizes.decoder),
            visual_codebook=256,
            prologue_codebook=128,
            prologue_tokens=PROLOGUE_TOKENS,
        ),
        data.spec,
    ).eval()
    generator = Ar(
        ArSettings(transformer=ArTransformerSettings(**sizes.transformer)),
        tokenizer.layout,
        data.spec.labels,
    ).eval()
    labels = torch.arange(BATCH) % 10
    guidance = {"all": Guidance(scale=2.0)}

    def draw(**settings: Any) -> Task:
        sampling = Sampling(**settings)
        arguments: tuple[Any, ...] = (generator, sampling, data.spec.none_label, labels, None)
        names = ("samples", 0) if _takes_names(draw_ids) else (0,)
        return lambda: draw_ids(*arguments, *names)

    images = np.resize(data.images("test")[:], (70_000, 1, 28, 28))
    count = {name: whole // share for name, whole in IMAGES.items()}
    ids = torch.stack([torch.randint(256, (65,)) % 128 for _ in range(10_000 // share)])

    def decode() -> None:
        with torch.inference_mode():
            for part in ids.split(125):
                tokenizer.decode(part)

    extract: Any = extract_features
    return {
        "plain": draw(),
        "guided": draw(guidance=guidance),
        "nucleus": draw(guidance=guidance, top_p=0.95),
        "encode": _encoding(tokenizer, images[: count["encode"]], to_float),
        "decode": decode,
        "features": lambda: extract(
            images[: count["features"]],
            FidSettings(),
            torch.device("cpu"),
            lambda done, total: None,
        ),
    }


def _takes_names(draw_ids: Callable[..., Any]) -> bool:
    import inspect

    return "names" in inspect.signature(draw_ids).parameters


def _encoding(tokenizer: Any, images: Any, to_float: Any) -> Task:
    """The stage that encodes images, its data and models put in."""
    try:
        from prologue_bench.pipeline.steps import coding
        from prologue_bench.training.context import StageContext

        new = True
    except ImportError:
        from prologue_bench.pipeline.context import StageContext
        from prologue_bench.pipeline.work import coding

        new = False
    data = SimpleNamespace(training_views=lambda: images, images=lambda split: images[:0])

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            context = StageContext(work=Path(folder), output=Path(folder))
            component = SimpleNamespace(called=lambda kind: kind)
            part = SimpleNamespace(component=component, resolved=None)
            trained = SimpleNamespace(tokenizer=part, data=part)
            stage = SimpleNamespace(tokenizer=trained, train=True)
            if new:
                workspace = SimpleNamespace(
                    data_of=lambda stage: data, load_tokenizer=lambda *found: tokenizer
                )
                coding.encode_images(stage, workspace, context)
            else:
                coding.models.open_data = lambda resolved: data
                coding.models.load_tokenizer = lambda *found: tokenizer
                coding.encode_images(stage, None, context)

    return run


# What asks the two processes.


class Revision:
    """A process that runs one revision's tasks."""

    def __init__(self, folder: Path, share: int, sizes: Sizes) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "plugins")]),
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "serve", str(share), sizes.text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )

    def ask(self, what: str, task: str = "-") -> float:
        """The answer of `serve`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what} {task}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of {task!r} ended with {self.process.wait()}")
        return float(json.loads(answer))


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=list(TASKS))
    parser.add_argument("--against", default=BASELINE, metavar="REVISION")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--whole", action="store_true", help="all images, not a tenth")
    add_profile(parser)
    chosen = parser.parse_args()
    if unknown := set(chosen.tasks) - set(TASKS):
        parser.error(f"found {', '.join(sorted(unknown))}, expected of {', '.join(TASKS)}")
    share = 1 if chosen.whole else 10
    with ExitStack() as stack:
        old = Revision(stack.enter_context(checkout(chosen.against)), share, chosen.sizes)
        new = Revision(ROOT, share, chosen.sizes)
        print(f"| | {chosen.against}, s | now, s | ratio | share before | share now |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for task in chosen.tasks:
            print(row(task, old, new, chosen.rounds, share), flush=True)
        for each in (old, new):
            assert each.process.stdin is not None
            each.process.stdin.close()
            each.process.wait()


def row(task: str, old: Revision, new: Revision, rounds: int, share: int) -> str:
    """A line of the table."""
    flops = old.ask("flops", task)
    new.ask("time", task)
    before, after, speeds = [], [], []
    for _ in range(rounds):
        before.append(old.ask("time", task))
        after.append(new.ask("time", task))
        speeds.append(new.ask("speed"))
    ratio = statistics.median(one / other for one, other in zip(before, after, strict=True))
    scale = 1 if task in ("plain", "guided", "nucleus") else share
    seconds = [statistics.median(each) for each in (before, after)]
    shares = [flops / each / statistics.median(speeds) for each in seconds]
    cells = [
        TASKS[task],
        *(f"{scale * each:.3g}" for each in seconds),
        f"{ratio:.2f}",
        *(f"{100 * each:.0f}%" for each in shares),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), Sizes.read(sys.argv[3]))
    else:
        main()
