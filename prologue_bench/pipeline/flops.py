"""FLOPs of stages, counted on models without memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch.utils.flop_counter import FlopCounterMode

from prologue_bench.interfaces import ImageSpec, Tokenizer
from prologue_bench.pipeline import models, stages
from prologue_bench.sampling.decoding import guidance_scales, is_guided
from prologue_bench.spec.search import sampling_at
from prologue_bench.spec.settings import Sampling, Training
from prologue_bench.training.models import TokenizerModel


class FlopsBySize:
    """`counted_flops`, counted once for all stages of one size, since a plan may have thousands.

    Stages are of one size where their models have equally many parameters and their settings are equal but for the
    seed and for fractions, of which only whether they are zero or one matters: weights, rates, temperatures, guidance.
    """

    def __init__(self) -> None:
        self._flops: dict[str, float] = {}
        self._sizes: dict[str, str] = {}

    def of(self, stage: stages.Stage) -> float:
        """The count; 0 where it cannot be counted."""
        size = self._size(stage)
        if size not in self._flops:
            self._flops[size] = counted_flops(stage)
        return self._flops[size]

    def _size(self, stage: stages.Stage) -> str:
        if stage.key not in self._sizes:
            own = {name: _without_fractions(value) for name, value in stage.reads().items() if name != "seed"}
            before = [self._size(each) for each in stage.inputs]
            text = json.dumps([stage.kind, own, parameters(stage), before], sort_keys=True)
            self._sizes[stage.key] = hashlib.sha256(text.encode()).hexdigest()
        return self._sizes[stage.key]


def counted_flops(stage: stages.Stage) -> float:
    """As `stage_flops`; 0 where it cannot be counted."""
    try:
        return stage_flops(stage)
    except Exception:  # a model that cannot run on tensors without memory is not counted; it still runs
        return 0.0


def stage_flops(stage: stages.Stage) -> float:
    """FLOPs of a whole stage (matrix products and attention); 0 for metrics.

    One image is put forward through the models on tensors without memory, and the count multiplied. A training step
    counts three times its forward pass: the backward pass has a product for the inputs and one for the weights.
    """
    counted = _COUNTERS.get(type(stage))
    if counted is None:
        return 0.0
    with torch.device("meta"), torch.no_grad():
        return counted(stage)


def parameters(stage: stages.Stage) -> int:
    """Parameters of the models that a stage trains or takes over; 0 for the other stages."""
    with torch.device("meta"):
        if isinstance(stage, stages.TokenizerStage):
            return models.count_parameters(models.tokenizer_on_meta(stage.tokenizer, stage.data.resolved))
        if isinstance(stage, stages.GeneratorStage):
            images, tokenizer = _tokenizer(stage.tokens)
            return models.count_parameters(models.generator_on_meta(stage.generator, tokenizer.layout, images.labels))
    return 0


def _tokenizer_training(stage: stages.TrainTokenizer) -> float:
    images = models.open_data(stage.data.resolved).spec
    tokenizer = models.tokenizer_on_meta(stage.tokenizer, stage.data.resolved)
    if tokenizer.frozen:
        return 0.0
    prior = models.generator_on_meta(stage.prior, tokenizer.layout, images.labels) if stage.prior else None
    model = TokenizerModel(tokenizer, prior, attrs.evolve(stage.training, compile=False), images.none_label)
    return _training(stage.training, _count(lambda: model.losses(images=_image(images))))


def _generator_training(stage: stages.TrainGenerator) -> float:
    return _training(stage.training, _sequence(stage))


def _encoding(stage: stages.EncodeImages) -> float:
    images, tokenizer = _tokenizer(stage)
    data = models.data_of(stage.tokenizer)
    count = len(data.labels("train")) * data.views + len(data.labels("test"))
    return count * _count(lambda: tokenizer.encode(_image(images).float()))


def _reconstruction(stage: stages.Reconstruct) -> float:
    return len(models.open_data(stage.tokens.tokenizer.data.resolved).labels("test")) * _decoding(stage.tokens)


def _sampling(stage: stages.SampleImages) -> float:
    return stage.sampling.samples * _drawing(stage.generator, stage.sampling)


def _searching(stage: stages.SearchSampling) -> float:
    search = stage.sampling.search
    assert search is not None
    tried = [sampling_at(stage.sampling, point, "sampling.search.grid") for point in search.points()]
    return search.samples * sum(_drawing(stage.generator, sampling) for sampling in tried)


def _drawing(generator: stages.GeneratorStage, sampling: Sampling) -> float:
    """One image's tokens, and the image. With cached keys and values a pass costs about one over the whole sequence."""
    _, tokenizer = _tokenizer(generator.tokens)
    passes = 2 if is_guided(guidance_scales(tokenizer.layout, sampling)) else 1
    return passes * _sequence(generator) + _decoding(generator.tokens)


_COUNTERS: dict[type[stages.Stage], Callable[[Any], float]] = {
    stages.TrainTokenizer: _tokenizer_training,
    stages.TrainGenerator: _generator_training,
    stages.EncodeImages: _encoding,
    stages.Reconstruct: _reconstruction,
    stages.SampleImages: _sampling,
    stages.SearchSampling: _searching,
}


def _training(training: Training, forward: float) -> float:
    return 3 * forward * training.batch_size * training.steps


def _sequence(stage: stages.GeneratorStage) -> float:
    """The generator over one image's tokens."""
    images, tokenizer = _tokenizer(stage.tokens)
    generator = models.generator_on_meta(stage.generator, tokenizer.layout, images.labels)
    ids, label = torch.zeros(1, tokenizer.layout.length).long(), torch.zeros(1).long()
    return _count(lambda: generator.logits(ids, label))


def _decoding(tokens: stages.EncodeImages) -> float:
    """One image from its tokens."""
    _, tokenizer = _tokenizer(tokens)
    ids = torch.zeros(1, tokenizer.layout.length).long()
    return _count(lambda: tokenizer.decode(ids))


def _tokenizer(tokens: stages.EncodeImages) -> tuple[ImageSpec, Tokenizer]:
    stage = tokens.tokenizer
    return models.open_data(stage.data.resolved).spec, models.tokenizer_on_meta(stage.tokenizer, stage.data.resolved)


def _image(images: ImageSpec) -> torch.Tensor:
    return torch.zeros(1, images.channels, images.height, images.width).to(torch.uint8)


def _count(function: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops())


def _without_fractions(value: Any) -> Any:
    """Settings with each fraction other than zero and one replaced by one and the same text."""
    if isinstance(value, Mapping):
        return {name: _without_fractions(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_fractions(each) for each in value]
    return "fraction" if isinstance(value, float) and value not in (0, 1) else value
