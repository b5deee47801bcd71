"""Searching for sampling settings, and drawing samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray

from prologue_bench.config.search import GRID, sampling_at
from prologue_bench.config.settings import Sampling
from prologue_bench.contracts.checked import check_measurements
from prologue_bench.contracts.metric import MetricInputs
from prologue_bench.errors import StageError
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.held_out import HeldOut
from prologue_bench.pipeline.precision import as_trained
from prologue_bench.pipeline.steps.coding import Decoder, write_images
from prologue_bench.pipeline.tokens import kind_of_ids
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.sampling.decoding import draw_ids
from prologue_bench.storage.files import write_array, write_text
from prologue_bench.storage.store import Store
from prologue_bench.training import distributed
from prologue_bench.training.context import INFERENCE_BATCH, StageContext


def search_sampling(
    stage: stages.SearchSampling, workspace: Workspace, context: StageContext
) -> None:
    """Measure samples of every point of the grid, and choose the best."""
    search = stage.sampling.search
    assert search is not None
    ref = stage.generator.tokens.tokenizer.data
    data = HeldOut(workspace.open_data(ref.resolved), ref.held_out)
    trained = stage.generator.tokens.tokenizer
    tokenizer = workspace.load_tokenizer(trained, context.device)
    decoder = Decoder(trained, tokenizer, data.spec, context.device)
    generator = workspace.load_generator(stage.generator, context.device)
    metric = models.build_metric(stage.metric)
    who = stage.metric.component.called("metric")
    labels = torch.from_numpy(data.spec.labels_in_turn(search.samples))
    points = search.points()
    found = []
    for index, point in enumerate(points):
        # By content: the same grid may come in another order.
        kept = context.work / f"point-{_hash(point)}.json"
        if not kept.exists():
            sampling = sampling_at(stage.sampling, point, GRID)
            parts: list[NDArray[Any]] = []
            for start in range(0, search.samples, sampling.batch_size):
                context.check_stop()
                batch = labels[start : start + sampling.batch_size]
                # The same noise for every point, so that the settings alone make the difference.
                with as_trained(stage.generator, context.device):
                    ids = draw_ids(
                        generator,
                        sampling,
                        data.spec.none_label,
                        batch,
                        None,
                        "search",
                        sampling.seed,
                        first=start,
                    )
                parts += map(decoder.decode, torch.split(ids, INFERENCE_BATCH))
            inputs = MetricInputs(
                metric=stage.metric.name,
                needs=("samples",),
                data=data,
                layout=tokenizer.layout,
                cache=workspace.store.cache,
                batch_size=INFERENCE_BATCH,
                device=context.device,
                advance=lambda done, total: context.check_stop(),
                sampling={},
                samples=np.concatenate(parts),
                known={
                    "test": (
                        f"{json.dumps(stage.reads()['data'], sort_keys=True)} {data.fingerprint}"
                    )
                },
            )
            with torch.inference_mode():
                numbers = check_measurements(metric.measure(inputs), who)
            if not numbers:
                raise StageError(f"{who}: `measure` gave nothing, expected a number to choose by")
            measured = numbers[0]
            if measured.direction == "neutral":
                raise StageError(
                    f"{who}: found '{measured.title}', which is better neither lower nor higher, "
                    "expected a number to choose by"
                )
            result = {
                "point": point,
                "metric": measured.title,
                "value": measured.value,
                "direction": measured.direction,
            }
            write_text(kept, json.dumps(result))
            context.seal(kept)
        found.append(json.loads(kept.read_text()))
        context.advance(index + 1, len(points))
    best = min(
        found, key=lambda each: each["value"] if each["direction"] == "lower" else -each["value"]
    )
    write_text(
        context.output / stages.SEARCH,
        json.dumps({"points": found, "chosen": best["point"]}, indent=1),
    )


def _hash(point: Mapping[str, Any]) -> str:
    """Twenty digits that are equal for equal settings, in whatever order they stand."""
    return hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:20]


def chosen_sampling(stage: stages.SampleImages, store: Store) -> Sampling:
    """The stage's sampling settings, those that were searched for put in."""
    if stage.search is None:
        return stage.sampling
    chosen = json.loads((store.get(stage.search.key) / stages.SEARCH).read_text())["chosen"]
    return sampling_at(stage.sampling, chosen, GRID)


def draw_tokens(stage: stages.SampleImages, workspace: Workspace, context: StageContext) -> None:
    """Draw tokens, the classes in turn, each batch into a file of its own."""
    data = workspace.open_data(stage.generator.tokens.tokenizer.data.resolved)
    generator = workspace.load_generator(stage.generator, context.device)
    sampling = chosen_sampling(stage, workspace.store)
    labels = _sample_labels(stage, workspace)
    for number, path in enumerate(_drawn(stage, context)):
        context.check_stop()
        start = number * sampling.batch_size
        if distributed.is_mine(number) and not path.exists():
            batch = torch.from_numpy(labels[start : start + sampling.batch_size])
            with as_trained(stage.generator, context.device):
                ids = draw_ids(
                    generator,
                    sampling,
                    data.spec.none_label,
                    batch,
                    None,
                    "samples",
                    sampling.seed,
                    first=start,
                )
            write_array(path, ids.cpu().numpy().astype(kind_of_ids(generator.layout)))
            context.seal(path)
        done = min(start + sampling.batch_size, sampling.samples)
        context.advance(done, sampling.samples + _decoding(sampling.samples))


def _decoding(samples: int) -> int:
    """How much of the stage it is to decode samples, which is cheap beside drawing them."""
    return max(1, round(0.1 * samples))


def decode_samples(stage: stages.SampleImages, workspace: Workspace, context: StageContext) -> None:
    """Put the drawn tokens together and decode them."""
    trained, samples = stage.generator.tokens.tokenizer, stage.sampling.samples
    spec = workspace.open_data(trained.data.resolved).spec
    tokenizer = workspace.load_tokenizer(trained, context.device)
    drawn = np.concatenate([np.load(path) for path in _drawn(stage, context)])
    np.save(context.output / "tokens.npy", drawn)
    np.save(context.output / "labels.npy", _sample_labels(stage, workspace))

    def advance(done: int, total: int) -> None:
        part = _decoding(samples)
        context.advance(samples + part * done // total, samples + part)

    write_images(
        Decoder(trained, tokenizer, spec, context.device).decode,
        drawn,
        spec,
        evolve(context, advance=advance),
    )


def _sample_labels(stage: stages.SampleImages, workspace: Workspace) -> NDArray[Any]:
    spec = workspace.open_data(stage.generator.tokens.tokenizer.data.resolved).spec
    return spec.labels_in_turn(stage.sampling.samples)


def _drawn(stage: stages.SampleImages, context: StageContext) -> list[Path]:
    """The files of the batches of drawn tokens."""
    folder = context.work / "drawn"
    folder.mkdir(exist_ok=True)
    return [
        folder / f"{start}.npy"
        for start in range(0, stage.sampling.samples, stage.sampling.batch_size)
    ]
