"""What the stages do. Imported when a stage runs, because it needs torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.errors import StageError
from prologue_bench.images import to_bytes, to_float
from prologue_bench.interfaces import (
    Metric,
    MetricInputs,
    Tokenizer,
)
from prologue_bench.pipeline import models, stages
from prologue_bench.pipeline.context import StageContext
from prologue_bench.pipeline.store import Store
from prologue_bench.sampling.decoding import sample_ids
from prologue_bench.spec.settings import key_values
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.models import GeneratorModel, TokenizerModel
from prologue_bench.training.runner import TrainingJob, train

INFERENCE_BATCH = 125


def train_tokenizer(stage: stages.TrainTokenizer, store: Store, context: StageContext) -> None:
    """Train a tokenizer, with its joint prior where it asks for one."""
    data = models.open_data(stage.data.resolved)
    torch.manual_seed(stage.seed)
    tokenizer = models.build_tokenizer(stage.tokenizer, data.spec)
    parts = {"autoencoder": (list(tokenizer.parameters()), stage.training.autoencoder)}
    prior = None
    if stage.prior is not None:
        prior = models.build_generator(stage.prior, tokenizer.layout, data.spec.labels)
        parts["prior"] = (list(prior.parameters()), stage.training.prior_optimisation)
    averaged = train(
        TrainingJob(
            model=TokenizerModel(tokenizer, prior, stage.training, data.spec.none_label),
            data=ArrayDataset({"images": data.images("train")}),
            training=stage.training,
            parts=parts,
            seed=stage.seed,
            context=context,
        )
    )
    models.save_weights(averaged.tokenizer, context.output / "tokenizer.safetensors")
    if averaged.prior is not None:
        models.save_weights(averaged.prior, context.output / "prior.safetensors")


def train_generator(stage: stages.TrainGenerator, store: Store, context: StageContext) -> None:
    """Train a generator on the cached tokens."""
    data = models.open_data(stage.tokens.tokenizer.data.resolved)
    ids = np.load(store.get(stage.tokens.key) / "train.npy", mmap_mode="r")
    layout = models.layout_of(stage.tokens.tokenizer)
    torch.manual_seed(stage.seed)
    generator = models.build_generator(stage.generator, layout, data.spec.labels)
    averaged = train(
        TrainingJob(
            model=GeneratorModel(generator, stage.training, data.spec.none_label),
            data=ArrayDataset({"ids": ids, "labels": data.labels("train")}),
            training=stage.training,
            parts={"generator": (list(generator.parameters()), stage.training.optimisation)},
            seed=stage.seed,
            context=context,
        )
    )
    models.save_weights(averaged.generator, context.output / "generator.safetensors")


def encode_images(stage: stages.EncodeImages, store: Store, context: StageContext) -> None:
    """Encode both splits."""
    data = models.open_data(stage.tokenizer.data.resolved)
    tokenizer = models.load_tokenizer(stage.tokenizer, store, context.device)
    splits = {"train": data.images("train"), "test": data.images("test")}
    total = sum(map(len, splits.values()))
    done = 0
    for name, images in splits.items():
        parts = []
        for batch in _batches(images, context):
            ids = tokenizer.encode(to_float(batch))
            tokenizer.layout.check(ids)
            parts.append(ids.cpu().numpy().astype(np.int32))
            done += len(batch)
            context.advance(done, total)
        np.save(context.output / f"{name}.npy", np.concatenate(parts))


def reconstruct(stage: stages.Reconstruct, store: Store, context: StageContext) -> None:
    """Decode the tokens of the test split."""
    tokenizer = models.load_tokenizer(stage.tokens.tokenizer, store, context.device)
    ids = np.load(store.get(stage.tokens.key) / "test.npy")
    np.save(context.output / "images.npy", _decode(tokenizer, ids, context, len(ids), 0))


def sample_images(stage: stages.SampleImages, store: Store, context: StageContext) -> None:
    """Draw tokens, the classes in turn, and decode them."""
    tokenizer = models.load_tokenizer(stage.generator.tokens.tokenizer, store, context.device)
    generator = models.load_generator(stage.generator, store, context.device)
    data = models.open_data(stage.generator.tokens.tokenizer.data.resolved)
    sampling = stage.sampling
    classes = max(1, len(data.spec.class_names))
    labels = np.arange(sampling.samples, dtype=np.int64) % classes
    parts = []
    for start in range(0, sampling.samples, sampling.batch_size):
        context.check_stop()
        batch = torch.from_numpy(labels[start : start + sampling.batch_size]).to(context.device)
        rng = torch.Generator(context.device).manual_seed((sampling.seed << 32) + start)
        parts.append(sample_ids(generator, batch, sampling, rng).cpu().numpy().astype(np.int32))
        # Decoding the images is cheap beside drawing their tokens; it is counted as a tenth.
        context.advance(min(start + sampling.batch_size, sampling.samples), round(1.1 * sampling.samples))
    ids = np.concatenate(parts)
    np.save(context.output / "tokens.npy", ids)
    np.save(context.output / "labels.npy", labels)
    np.save(context.output / "images.npy", _decode(tokenizer, ids, context, sampling.samples, sampling.samples))


def measure(stage: stages.Measure, store: Store, context: StageContext) -> None:
    """Compute one metric."""
    data = models.open_data(stage.tokens.tokenizer.data.resolved)
    metric: Metric = stage.metric.component.load()(stage.metric.settings)
    tokens = store.get(stage.tokens.key)
    has = metric.needs

    def advance(done: int, total: int) -> None:
        context.check_stop()
        context.advance(done, total)

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
        train_ids=np.load(tokens / "train.npy").astype(np.int64) if "tokens" in has else None,
        test_ids=np.load(tokens / "test.npy").astype(np.int64) if "tokens" in has else None,
        tokenizer=models.load_tokenizer(stage.tokens.tokenizer, store, context.device) if "tokenizer" in has else None,
        generator=models.load_generator(stage.samples.generator, store, context.device) if "generator" in has else None,
    )
    with torch.inference_mode():
        measurements = metric.measure(inputs)
    bad = [m.name for m in measurements if not np.isfinite(m.value)]
    if bad:
        raise StageError(f"metric {stage.metric.name!r}: {', '.join(bad)} is not a finite number")
    (context.output / "measurements.json").write_text(json.dumps([attrs.asdict(m) for m in measurements], indent=1))


_WORK: dict[type[stages.Stage], Callable[[Any, Store, StageContext], None]] = {
    stages.TrainTokenizer: train_tokenizer,
    stages.EncodeImages: encode_images,
    stages.Reconstruct: reconstruct,
    stages.TrainGenerator: train_generator,
    stages.SampleImages: sample_images,
    stages.Measure: measure,
}


def perform(stage: stages.Stage, store: Store, context: StageContext) -> None:
    """Write the files of a stage's artifact into `context.output`; its inputs are in the store."""
    _WORK[type(stage)](stage, store, context)


@torch.inference_mode()
def _decode(tokenizer: Tokenizer, ids: NDArray[Any], context: StageContext, total: int, done: int) -> NDArray[Any]:
    parts = []
    for batch in _batches(ids, context):
        parts.append(to_bytes(tokenizer.decode(batch.long())).cpu().numpy())
    context.advance(total, total)
    return np.concatenate(parts)


def _batches(array: NDArray[Any], context: StageContext) -> Iterator[Tensor]:
    """Batches on the device, leaving between two of them when the user asks to stop."""
    with torch.inference_mode():
        for start in range(0, len(array), INFERENCE_BATCH):
            context.check_stop()
            yield torch.from_numpy(np.array(array[start : start + INFERENCE_BATCH])).to(context.device)


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
            flat.update({f"{name}.{inner}": item for inner, item in value.items()})
        else:
            flat[name] = value
    return flat
