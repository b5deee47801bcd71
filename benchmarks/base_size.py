"""What the paper's Base size takes, part by part, with random weights on images of 256 pixels.

    python benchmarks/base_size.py [PART ...] [--images N] [--precision float32] [--work FOLDER]

Tokenizer `prologue-b` and generator `ar-b`; the real images are drawn shapes. Everything is done on
one thread, `--precision bfloat16` under autocast, as in the stages of a run. A part goes on from
those before it, and each batch is kept in the folder, so that the same command goes on where it was
stopped. Prints seconds of CPU, images per second of CPU, the share of the speed of a large matrix
product in the same precision, timed beside each batch, which the counted FLOPs reach, and the most
memory that the process held, its libraries and models included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
import yaml
from attrs import frozen
from numpy.typing import NDArray
from revisions import ROOT
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prologue_bench.config.resolving import resolve_alone
from prologue_bench.config.settings import Guidance, Sampling
from prologue_bench.contracts import Metric, MetricInputs, to_bytes, to_float
from prologue_bench.pipeline.memory import PeakMemory, available_memory
from prologue_bench.pipeline.models import build_generator, build_tokenizer, count_parameters
from prologue_bench.registry import Registry
from prologue_bench.sampling.decoding import draw_ids
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.metrics.features import load_features
from prologue_plugins.metrics.fid import GenerationFid, ReconstructionFid
from prologue_plugins.metrics.pixels import Psnr, Ssim
from prologue_plugins.metrics.settings import FidSettings

PARTS = {
    "encode": "encoding",
    "reconstruct": "decoding of their tokens",
    "sample": "sampling",
    "guided": "sampling with guidance",
    "decode": "decoding of samples",
    "features": "features of three sets of images",
    "distances": "Fréchet distances, with intervals",
    "pixels": "PSNR and SSIM",
}
EDGE = 256
INFERENCE_BATCH = 125
"""Images that are encoded or decoded at once, as in the stages of a run."""
MOST_SEQUENCES = 128
"""Sequences that are drawn at once at most, both of guidance counted. More are no faster."""
SMALL_BLOCKS = {"width": 32, "layers": 1, "heads": 2, "rotary_axes": None}
SMALL: dict[str, dict[str, Any]] = {
    "tokenizer": {
        "encoder": SMALL_BLOCKS,
        "decoder": SMALL_BLOCKS,
        "visual_codebook": 64,
        "prologue_codebook": 32,
    },
    "generator": {"transformer": {**SMALL_BLOCKS, "dropout": 0.0}},
}
"""With --small: other sizes than Base, to try the benchmark."""


@frozen
class Asked:
    """What a folder of results belongs to."""

    images: int
    precision: str
    sequences: int
    """That are drawn at once, both of guidance counted."""
    small: bool


class Bench:
    """Models, images, and what each part makes of a batch of them."""

    def __init__(self, asked: Asked, folder: Path) -> None:
        self.asked, self.folder = asked, folder
        self.dtype = getattr(torch, asked.precision)
        edge = 64 if asked.small else EDGE
        self.data = Shapes(
            ShapesSettings(size=edge, train_images=1, test_images=asked.images, texture=True)
        )
        registry, spec = Registry.load(), self.data.spec
        torch.manual_seed(0)

        def resolved(kind: Any, preset: str) -> Any:
            settings = SMALL[kind] if asked.small else {}
            return resolve_alone(kind, preset, settings, None, registry)

        self.tokenizer = build_tokenizer(resolved("tokenizer", "prologue-b"), spec).eval()
        generator = resolved("generator", "ar-b")
        self.generator = build_generator(generator, self.tokenizer.layout, spec.labels).eval()
        self.features = FidSettings(few_samples="shrink")

    def batch_of(self, part: str) -> int:
        """Images of a batch."""
        if part in ("encode", "reconstruct", "decode"):
            return INFERENCE_BATCH
        if part in ("sample", "guided"):
            return max(1, self.asked.sequences // (2 if part == "guided" else 1))
        return self.asked.images

    def autocast(self) -> AbstractContextManager[None]:
        """As a run does for models that were trained so."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def run(self, part: str, start: int, stop: int) -> NDArray[Any]:
        """What a part makes of the images from `start` on."""
        if part in ("features", "distances", "pixels"):
            return np.array(list(getattr(self, f"_{part}")()))
        with torch.inference_mode(), self.autocast():
            if part == "encode":
                pixels = torch.from_numpy(self.data.images("test")[start:stop])
                return self.tokenizer.encode(to_float(pixels)).numpy()
            if part in ("reconstruct", "decode"):
                ids = self.result({"reconstruct": "encode", "decode": "sample"}[part])[start:stop]
                return to_bytes(self.tokenizer.decode(torch.from_numpy(ids))).numpy()
            return self._drawn(part, start, stop).numpy()

    def _drawn(self, part: str, start: int, stop: int) -> torch.Tensor:
        spec, sampling = self.data.spec, Sampling(samples=self.asked.images)
        if part == "guided":
            sampling = attrs.evolve(sampling, guidance=published_guidance())
        labels = torch.from_numpy(spec.labels_in_turn(self.asked.images)[start:stop])
        names = ("samples", sampling.seed)
        return draw_ids(
            self.generator, sampling, spec.none_label, labels, None, *names, first=start
        )

    def _features(self) -> Iterator[float]:
        inputs = self._inputs("features", ())
        sets = {name: self.result(name) for name in ("reconstruct", "decode")}
        for name, images in {"test": self.data.images("test"), **sets}.items():
            yield load_features(images, self.features, inputs, self._known(name)).mean()

    def _distances(self) -> Iterator[float]:
        yield from self._measured(ReconstructionFid(self.features))
        yield from self._measured(GenerationFid(self.features))

    def _pixels(self) -> Iterator[float]:
        yield from self._measured(Psnr(None))
        yield from self._measured(Ssim(None))

    def _measured(self, metric: Metric) -> Iterator[float]:
        name = str(vars(type(metric))["name"])
        for found in metric.measure(self._inputs(name, metric.needs)):
            print(f"{found.title}: {found.value:.4g}", flush=True)
            yield found.value

    def _inputs(self, name: str, needs: Sequence[Any]) -> MetricInputs:
        known = {"reconstructions": "reconstruct", "samples": "decode", "test": "test"}
        return MetricInputs(
            metric=name,
            needs=tuple(needs),
            data=self.data,
            layout=self.tokenizer.layout,
            cache=self.folder / "cache",
            batch_size=INFERENCE_BATCH,
            device=torch.device("cpu"),
            advance=lambda done, total: None,
            sampling={},
            known={what: self._known(part) for what, part in known.items()},
            reconstructions=self.result("reconstruct") if "reconstructions" in needs else None,
            samples=self.result("decode") if "samples" in needs else None,
            sample_labels=self.data.spec.labels_in_turn(self.asked.images),
        )

    def _known(self, name: str) -> str:
        return f"{name} of {self.asked}"

    def spans(self, part: str) -> Iterator[tuple[Path, int, int]]:
        """A part's batches: where each is kept, and which images it has."""
        size, count = self.batch_of(part), self.asked.images
        for start in range(0, count, size):
            yield self.folder / part / f"{start}.npz", start, min(start + size, count)

    def result(self, part: str) -> NDArray[Any]:
        """What a finished part made of all images."""
        files = [file for file, _, _ in self.spans(part)]
        if missing := [file for file in files if not file.exists()]:
            raise SystemExit(f"found no {missing[0]}, expected that part {part} came before")
        return np.concatenate([np.load(file)["result"] for file in files])

    def flops(self, part: str) -> float | None:
        """Of one image; None of what is no product of matrices.

        Counted under autocast in either precision: torch's counter does not know the products that
        float32 adds in place.
        """
        if part in ("distances", "pixels"):
            return None
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            self._one(part)
        return float(counter.get_total_flops())

    def _one(self, part: str) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            ids = torch.zeros(1, self.tokenizer.layout.length).long()
            if part == "encode":
                self.tokenizer.encode(to_float(torch.from_numpy(self.data.images("test")[:1])))
            elif part in ("reconstruct", "decode"):
                self.tokenizer.decode(ids)
            elif part == "features":
                with tempfile.TemporaryDirectory() as name:
                    images = self.data.images("test")[:1].repeat(3, axis=0)
                    inputs = attrs.evolve(self._inputs(part, ()), cache=Path(name))
                    load_features(images, self.features, inputs)
            else:
                self._drawn(part, 0, 1)

    @cached_property
    def _matrices(self) -> torch.Tensor:
        return torch.randn(1024, 1024).to(self.dtype)

    def product_speed(self, part: str) -> float:
        """FLOP/s of a large matrix product now, by seconds of CPU. Features are in float32."""
        matrices = self._matrices.float() if part == "features" else self._matrices
        return 2 * 1024**3 / min(seconds(lambda: matrices @ matrices) for _ in range(4))


def published_guidance() -> dict[str, Guidance]:
    """That of the paper's Base models."""
    recipe = yaml.safe_load((ROOT / "registry" / "recipes" / "prologue-b-b.yaml").read_text())
    return {name: Guidance(**each) for name, each in recipe["sampling"]["guidance"].items()}


def seconds(task: Callable[[], object]) -> float:
    """Of CPU, which a machine that does other work too takes away the least of."""
    begun = time.process_time()
    task()
    return time.process_time() - begun


def finish(part: str, bench: Bench) -> None:
    """Do the batches of a part that are not there yet."""
    spans = list(bench.spans(part))
    spans[0][0].parent.mkdir(parents=True, exist_ok=True)
    for file, start, stop in spans:
        if file.exists():
            continue
        bench.data.images("test")  # drawn here rather than while it is timed
        peak, begun = PeakMemory(), time.process_time()
        result = bench.run(part, start, stop)
        took = time.process_time() - begun
        temporary = file.with_suffix(".part.npz")
        speed = bench.product_speed(part)
        np.savez(temporary, result=result, seconds=took, peak=peak.bytes() or 0, speed=speed)
        temporary.rename(file)
        print(f"{time.strftime('%H:%M:%S')} {part}: {stop} images, {took:.1f} s", flush=True)


def row(part: str, bench: Bench) -> str:
    """A line of the table, of a finished part."""
    batches = [dict(np.load(file)) for file, _, _ in bench.spans(part)]
    took = sum(float(each["seconds"]) for each in batches)
    count = bench.asked.images * (3 if part == "features" else 1)
    share = "–"
    if flops := bench.flops(part):
        speed = statistics.median(float(each["speed"]) for each in batches)
        share = f"{flops * bench.asked.images / took / speed:.0%}"
    cells = [
        PARTS[part],
        f"{count:,}",
        three_digits(took),
        three_digits(count / took),
        three_digits(flops * bench.asked.images / count / 1e9) if flops else "–",
        share,
        f"{max(int(each['peak']) for each in batches) / 2**30:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def three_digits(number: float) -> str:
    """All digits of a large number, and three of a small one."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def sequences_that_fit(precision: str, small: bool) -> int:
    """How many sequences' keys and values take a quarter of the free memory, at most
    `MOST_SEQUENCES`.
    """
    layers, width, positions = (1, 32, 34) if small else (12, 768, 273)
    each: int = 2 * layers * width * positions * getattr(torch, precision).itemsize
    return max(2, min(MOST_SEQUENCES, available_memory() // 4 // each))


def of_folder(asked: argparse.Namespace, folder: Path) -> Asked:
    """What the folder's results belong to; they are those that were asked for."""
    file = folder / "asked.json"
    new = Asked(
        asked.images,
        asked.precision,
        sequences_that_fit(asked.precision, asked.small),
        asked.small,
    )
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(attrs.asdict(new)))
    found = Asked(**json.loads(file.read_text()))
    # Free memory differs each time: the batches that were begun go on.
    if attrs.evolve(found, sequences=new.sequences) != new:
        raise SystemExit(
            f"{folder}: found results of {found}, expected of {new}; name another folder"
        )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keeps batches (temporary)")
    parser.add_argument("--small", action="store_true", help="tiny models, images of 64 pixels")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"found {', '.join(sorted(unknown))}, expected of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.work or Path(temporary)
        bench = Bench(of_folder(asked, folder), folder)
        for part in asked.parts:
            finish(part, bench)
        millions = [count_parameters(each) / 1e6 for each in (bench.tokenizer, bench.generator)]
        print(
            f"\n{asked.precision}, {bench.asked.sequences} sequences at once; parameters: "
            f"tokenizer {millions[0]:.0f}M, generator {millions[1]:.0f}M\n\n"
            "| part | images | CPU s | images/s | GFLOP per image | share | peak, GiB |\n"
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        )
        for part in asked.parts:
            print(row(part, bench), flush=True)


if __name__ == "__main__":
    main()
