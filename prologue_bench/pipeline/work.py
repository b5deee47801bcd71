"""What the stages do. Imported when a stage runs, because it needs torch."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench import distributed
from prologue_bench.errors import PrologueBenchError, StageError
from prologue_bench.files import write_array, write_text
from prologue_bench.images import to_bytes, to_float
from prologue_bench.interfaces import ImageArray, Metric, MetricInputs, StageCost, Tokenizer
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.context import StageContext
from prologue_bench.pipeline.estimates import machine
from prologue_bench.pipeline.held_out import HeldOut
from prologue_bench.pipeline.store import Store
from prologue_bench.pipeline.tokens import Shards, open_tokens, read_tokens, write_shards
from prologue_bench.sampling.decoding import draw_ids
from prologue_bench.spec.search import sampling_at
from prologue_bench.spec.settings import Sampling, key_values
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.models import GeneratorModel, TokenizerModel
from prologue_bench.training.runner import TrainingJob, train

INFERENCE_BATCH = 125
SEARCH = "search.json"


def train_tokenizer(stage: stages.TrainTokenizer, store: Store, context: StageContext) -> None:
    """Train a tokenizer, with its joint prior where it asks for one."""
    data = models.open_data(stage.data.resolved)
    torch.manual_seed(stage.seed)
    tokenizer = models.build_tokenizer(stage.tokenizer, data.spec)
    if stage.foundation is not None:
        models.load_foundation(tokenizer, store.get(stage.foundation.key) / models.TOKENIZER_WEIGHTS)
    if tokenizer.frozen:
        if distributed.is_leader():
            models.save_weights(tokenizer, context.output / models.TOKENIZER_WEIGHTS)
        return
    parts = {"autoencoder": (list(tokenizer.parameters()), stage.training.autoencoder)}
    prior = None
    if stage.prior is not None:
        prior = models.build_generator(stage.prior, tokenizer.layout, data.spec.labels)
        parts["prior"] = (list(prior.parameters()), stage.training.prior_optimisation)
    losses = {loss.name: models.build_loss(loss, data.spec) for loss in stage.losses}
    learning = [parameter for loss in losses.values() for parameter in loss.parameters() if parameter.requires_grad]
    if learning:
        parts["losses"] = (learning, stage.training.loss_optimisation)
    arrays: dict[str, Any] = {"images": data.training_views()}
    if stage.training.prior_labels:
        arrays["labels"] = np.repeat(data.labels("train"), data.views)
    averaged = train(
        TrainingJob(
            model=TokenizerModel(tokenizer, prior, stage.training, data.spec.none_label, losses),
            data=ArrayDataset(arrays),
            training=stage.training,
            parts=parts,
            seed=stage.seed,
            context=context,
        )
    )
    if distributed.is_leader():
        models.save_weights(averaged.tokenizer, context.output / models.TOKENIZER_WEIGHTS)
        if averaged.prior is not None:
            models.save_weights(averaged.prior, context.output / "prior.safetensors")


def train_generator(stage: stages.TrainGenerator, store: Store, context: StageContext) -> None:
    """Train a generator on the cached tokens."""
    data = models.open_data(stage.tokens.tokenizer.data.resolved)
    ids = open_tokens(store.get(stage.tokens.key).folder, "train")
    layout = models.layout_of(stage.tokens.tokenizer)
    torch.manual_seed(stage.seed)
    generator = models.build_generator(stage.generator, layout, data.spec.labels)
    averaged = train(
        TrainingJob(
            model=GeneratorModel(generator, stage.training, data.spec.none_label),
            data=ArrayDataset({"ids": ids, "labels": np.repeat(data.labels("train"), data.views)}),
            training=stage.training,
            parts={"generator": (list(generator.parameters()), stage.training.optimisation)},
            seed=stage.seed,
            context=context,
        )
    )
    if distributed.is_leader():
        models.save_weights(averaged.generator, context.output / models.GENERATOR_WEIGHTS)


def take_prior(stage: stages.TakePrior, store: Store, context: StageContext) -> None:
    """The joint prior becomes the generator."""
    shutil.copyfile(
        store.get(stage.tokens.tokenizer.key) / "prior.safetensors", context.output / models.GENERATOR_WEIGHTS
    )


def encode_images(stage: stages.EncodeImages, store: Store, context: StageContext) -> None:
    """Encode the views of the training images, and the test images."""
    data = models.open_data(stage.tokenizer.data.resolved)
    tokenizer = models.load_tokenizer(stage.tokenizer, store, context.device)
    splits = {"train": data.training_views(), "test": data.images("test")}
    total = sum(map(len, splits.values()))
    before = 0
    for name, images in splits.items():

        def encode(start: int, stop: int, images: ImageArray = images, before: int = before) -> NDArray[Any]:
            parts = []
            for first, batch in _batches(images, context, start, stop):
                ids = tokenizer.encode(to_float(batch))
                tokenizer.layout.check(ids)
                parts.append(ids.cpu().numpy())
                context.advance(before + first + len(batch), total)
            return np.concatenate(parts)

        write_shards(context.output, name, len(images), encode, distributed.is_mine)
        before += len(images)


def reconstruct(stage: stages.Reconstruct, store: Store, context: StageContext) -> None:
    """Decode the tokens of the test split."""
    tokenizer = models.load_tokenizer(stage.tokens.tokenizer, store, context.device)
    ids = open_tokens(store.get(stage.tokens.key).folder, "test")
    _decode(tokenizer, ids, context, len(ids), 0)


def search_sampling(stage: stages.SearchSampling, store: Store, context: StageContext) -> None:
    """Measure samples of every point of the grid, and choose the best."""
    search = stage.sampling.search
    assert search is not None
    whole = models.open_data(stage.generator.tokens.tokenizer.data.resolved)
    data = HeldOut(whole, search.validation_images)
    tokenizer = models.load_tokenizer(stage.generator.tokens.tokenizer, store, context.device)
    generator = models.load_generator(stage.generator, store, context.device)
    metric: Metric = stage.metric.component.load()(stage.metric.settings)
    labels = torch.arange(search.samples) % max(1, len(data.spec.class_names))
    points = search.points()
    found = []
    for index, point in enumerate(points):
        kept = context.work / f"point-{index}.json"
        if not kept.exists():
            sampling = sampling_at(stage.sampling, point, "sampling.search.grid")
            parts = []
            for start in range(0, search.samples, sampling.batch_size):
                context.check_stop()
                batch = labels[start : start + sampling.batch_size]
                ids = draw_ids(generator, sampling, data.spec.none_label, batch, None, (sampling.seed << 32) + start)
                parts.append(_images(tokenizer, ids))
            inputs = MetricInputs(
                data=data,
                layout=tokenizer.layout,
                cache=store.cache,
                batch_size=INFERENCE_BATCH,
                device=context.device,
                prefixes=(),
                advance=lambda done, total: context.check_stop(),
                sampling={},
                samples=np.concatenate(parts),
            )
            with torch.inference_mode():
                measured = metric.measure(inputs)[0]
            result = {
                "point": point, "metric": measured.title, "value": measured.value, "direction": measured.direction
            }  # fmt: skip
            write_text(kept, json.dumps(result))
        found.append(json.loads(kept.read_text()))
        context.advance(index + 1, len(points))
    best = min(found, key=lambda each: each["value"] if each["direction"] == "lower" else -each["value"])
    write_text(context.output / SEARCH, json.dumps({"points": found, "chosen": best["point"]}, indent=1))


@torch.inference_mode()
def _images(tokenizer: Tokenizer, ids: Tensor) -> NDArray[Any]:
    """uint8 images of ids [B, L]."""
    return np.concatenate(
        [to_bytes(tokenizer.decode(part)).cpu().numpy() for part in torch.split(ids, INFERENCE_BATCH)]
    )


def chosen_sampling(stage: stages.SampleImages, store: Store) -> Sampling:
    """The stage's sampling settings, those that were searched for put in."""
    if stage.search is None:
        return stage.sampling
    chosen = json.loads((store.get(stage.search.key) / SEARCH).read_text())["chosen"]
    return sampling_at(stage.sampling, chosen, "sampling.search.grid")


def draw_tokens(stage: stages.SampleImages, store: Store, context: StageContext) -> None:
    """Draw tokens, the classes in turn, each batch into a file of its own."""
    data = models.open_data(stage.generator.tokens.tokenizer.data.resolved)
    generator = models.load_generator(stage.generator, store, context.device)
    sampling = chosen_sampling(stage, store)
    labels = _sample_labels(stage)
    for number, path in enumerate(_drawn(stage, context)):
        context.check_stop()
        start = number * sampling.batch_size
        if distributed.is_mine(number) and not path.exists():
            batch = torch.from_numpy(labels[start : start + sampling.batch_size])
            ids = draw_ids(generator, sampling, data.spec.none_label, batch, None, (sampling.seed << 32) + start)
            write_array(path, ids.cpu().numpy().astype(np.int32))
        # Decoding the images is cheap beside drawing their tokens; it is counted as a tenth.
        context.advance(min(start + sampling.batch_size, sampling.samples), round(1.1 * sampling.samples))


def decode_samples(stage: stages.SampleImages, store: Store, context: StageContext) -> None:
    """Put the drawn tokens together and decode them."""
    tokenizer = models.load_tokenizer(stage.generator.tokens.tokenizer, store, context.device)
    drawn = np.concatenate([np.load(path) for path in _drawn(stage, context)])
    np.save(context.output / "tokens.npy", drawn)
    np.save(context.output / "labels.npy", _sample_labels(stage))
    _decode(tokenizer, drawn, context, stage.sampling.samples, stage.sampling.samples)


def _sample_labels(stage: stages.SampleImages) -> NDArray[Any]:
    spec = models.open_data(stage.generator.tokens.tokenizer.data.resolved).spec
    labels: NDArray[Any] = np.arange(stage.sampling.samples, dtype=np.int64) % max(1, len(spec.class_names))
    return labels


def _drawn(stage: stages.SampleImages, context: StageContext) -> list[Path]:
    """The files of the batches of drawn tokens."""
    folder = context.work / "drawn"
    folder.mkdir(exist_ok=True)
    return [folder / f"{start}.npy" for start in range(0, stage.sampling.samples, stage.sampling.batch_size)]


def measure(stage: stages.Measure, store: Store, context: StageContext) -> None:
    """Compute one metric."""
    data = models.open_data(stage.tokens.tokenizer.data.resolved)
    metric: Metric = stage.metric.component.load()(stage.metric.settings)
    tokens = store.get(stage.tokens.key).folder
    has = metric.needs

    def advance(done: int, total: int) -> None:
        context.check_stop()
        context.advance(done, total)

    generator = None
    draw = None
    if "generator" in has:
        generator = models.load_generator(stage.samples.generator, store, context.device)
        draw = partial(draw_ids, generator, chosen_sampling(stage.samples, store), data.spec.none_label)
    inputs = MetricInputs(
        data=data,
        layout=models.layout_of(stage.tokens.tokenizer),
        cache=store.cache,
        batch_size=INFERENCE_BATCH,
        device=context.device,
        sampling=_flat(key_values(stage.samples.sampling)),
        prefixes=stage.prefixes,
        advance=advance,
        reconstructions=_array(store, stage.reconstructions.key, "images.npy", "reconstructions" in has),
        samples=_array(store, stage.samples.key, "images.npy", "samples" in has),
        train_ids=read_tokens(tokens, "train", data.views) if "tokens" in has else None,
        test_ids=read_tokens(tokens, "test") if "tokens" in has else None,
        tokenizer=models.load_tokenizer(stage.tokens.tokenizer, store, context.device) if "tokenizer" in has else None,
        generator=generator,
        draw=draw,
        machine=machine(),
        costs=_training_costs(stage, store) if "costs" in has else None,
    )
    with torch.inference_mode():
        measurements = metric.measure(inputs)
    bad = [m.name for m in measurements if not np.isfinite(m.value)]
    if bad:
        raise StageError(f"metric {stage.metric.name!r}: {', '.join(bad)} is not a finite number")
    (context.output / "measurements.json").write_text(json.dumps([attrs.asdict(m) for m in measurements], indent=1))


def _training_costs(stage: stages.Measure, store: Store) -> dict[str, StageCost]:
    """What training took, by kind of stage; a tokenizer's includes those that it builds on."""
    trainings: list[stages.Stage] = [stage.samples.generator, stage.tokens.tokenizer]
    trainings += stage.tokens.tokenizer.inputs
    costs: dict[str, StageCost] = {}
    for each in trainings:
        if isinstance(each, stages.TrainTokenizer | stages.TrainGenerator):
            manifest = store.get(each.key).manifest
            before = costs.get(each.kind)
            costs[each.kind] = StageCost(
                seconds=manifest["seconds"] + (before.seconds if before else 0),
                flops=manifest["flops"] + (before.flops if before else 0),
                machine=manifest["machine"],
            )
    return costs


def missing(stage: stages.Imported, store: Store, context: StageContext) -> None:
    """An imported artifact that is needed is not there, or damaged."""
    raise StageError(f"the imported artifact {stage.key} is gone from {store.root}; import the checkpoint again")


_WORK: dict[type[stages.Stage], Callable[[Any, Store, StageContext], None]] = {
    stages.TrainTokenizer: train_tokenizer,
    stages.ImportedTokenizer: missing,
    stages.EncodeImages: encode_images,
    stages.Reconstruct: reconstruct,
    stages.TrainGenerator: train_generator,
    stages.TakePrior: take_prior,
    stages.ImportedGenerator: missing,
    stages.SearchSampling: search_sampling,
    stages.SampleImages: draw_tokens,
    stages.Measure: measure,
}
_SHARED = (stages.TrainTokenizer, stages.TrainGenerator, stages.EncodeImages, stages.SampleImages)
"""Stages that all processes of a distributed run take part in."""


_AFTERWARDS: dict[type[stages.Stage], Callable[[Any, Store, StageContext], None]] = {
    stages.SampleImages: decode_samples,
}
"""What the leader does once all processes have done their part."""


def perform(stage: stages.Stage, store: Store, context: StageContext) -> None:
    """Write the files of a stage's artifact into `context.output`; its inputs are in the store."""
    shared = isinstance(stage, _SHARED)
    if shared and distributed.is_leader():
        distributed.announce(Task(stage, store.root, context.work, context.output))
    try:
        _WORK[type(stage)](stage, store, context)
    finally:
        if shared:
            distributed.wait()
    if distributed.is_leader() and type(stage) in _AFTERWARDS:
        _AFTERWARDS[type(stage)](stage, store, context)


@frozen
class Task:
    """A stage that the leader asks the other processes to take part in."""

    stage: stages.Stage
    store: Path
    work: Path
    output: Path


def join(task: Task, stop_requested: Callable[[], bool]) -> None:
    """Take part in the leader's stage. What fails here fails there too, and the leader reports it."""
    context = StageContext(work=task.work, output=task.output, stop_requested=stop_requested)
    with contextlib.suppress(PrologueBenchError):
        perform(task.stage, Store(task.store), context)


@torch.inference_mode()
def _decode(tokenizer: Tokenizer, ids: NDArray[Any] | Shards, context: StageContext, total: int, done: int) -> None:
    """Write images.npy, the images of ids [N, L], without holding all of them in memory."""
    images: NDArray[Any] | None = None
    for start, batch in _batches(ids, context, 0, len(ids)):
        decoded = to_bytes(tokenizer.decode(batch.long())).cpu().numpy()
        if images is None:
            shape = (len(ids), *decoded.shape[1:])
            images = np.lib.format.open_memmap(context.output / "images.npy", "w+", np.uint8, shape)
        images[start : start + len(batch)] = decoded
        context.advance(min(total, done + start + len(batch)), max(total, done + len(ids)))
    context.advance(total, total)


def _batches(array: ImageArray | Shards, context: StageContext, start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
    """The first index of each batch and the batch on the device; leaves between two when the user asks to stop."""
    with torch.inference_mode():
        for first in range(start, stop, INFERENCE_BATCH):
            context.check_stop()
            batch = np.array(array[first : min(first + INFERENCE_BATCH, stop)])
            yield first, torch.from_numpy(batch).to(context.device)


def _array(store: Store, key: str, name: str, wanted: bool) -> NDArray[Any] | None:
    if not wanted:
        return None
    array: NDArray[Any] = np.load(store.get(key) / name, mmap_mode="r")
    return array


def _flat(values: dict[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Nested settings with dotted names."""
    flat: dict[str, str | int | float | bool | None] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": item for inner, item in _flat(value).items()})
        else:
            flat[name] = value
    return flat
