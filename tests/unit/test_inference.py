"""What only computes: drawing, encoding and features, in fewer passes and smaller parts."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prologue_bench import seeds
from prologue_bench.config.settings import GeneratorTraining, Sampling
from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_bench.pipeline import stages
from prologue_bench.pipeline.precision import as_trained
from prologue_bench.sampling import decoding
from prologue_bench.sampling.decoding import draw_ids, step_spans
from prologue_plugins.layers import inference
from prologue_plugins.layers.inference import FoldedBlock
from prologue_plugins.metrics.extractors.efficientnet_lite0 import EARLY_IMAGES, EfficientNetLite0
from prologue_plugins.metrics.pixels import images_at_once
from tests.factories.models import IMAGES, LAYOUTS, ar, images, prologue, random_ids, rar

LONG = TokenLayout((Segment("prologue", 15, 5), Segment("visual", 20, 6)))
"""Over more than two blocks of keys."""


def moved(layout: TokenLayout, kind: Any) -> Any:
    """A generator none of whose parts is without effect."""
    model = kind(layout).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=seeds.generator("moved", parameter.numel()))
    return model


@pytest.mark.parametrize("kind", [ar, rar])
@pytest.mark.parametrize("layout", [*LAYOUTS, LONG])
def test_folded_weights_give_the_logits_of_the_whole_sequence_again_and_again(
    layout: TokenLayout, kind: Any
) -> None:
    model, labels = moved(layout, kind), torch.arange(5) % 4
    with torch.inference_mode():
        state = model.start(labels)
        for seed in range(2):  # the second time in the memory of the first
            ids = random_ids(layout, 5, seed)
            whole, chosen = model.logits(ids, labels), None
            state = model.restart(state, labels)
            for segment, span in step_spans(model):
                logits = model.decode_step(state, chosen)[:, 0]
                place = model.vocabulary.spans[segment.name].start
                place += span.start - layout.span(segment.name).start
                expected = whole[:, place, model.vocabulary.rows(segment.name)]
                assert torch.allclose(logits, expected, atol=1e-4, rtol=1e-4)
                chosen = ids[:, span]


def test_a_draw_folds_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    fold = FoldedBlock.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        FoldedBlock, "of", classmethod(lambda cls, *given: made.append(1) or fold(cls, *given))
    )
    monkeypatch.setattr(decoding, "ROWS", 4)
    model = ar(LAYOUTS[1])
    draw_ids(model, Sampling(), 3, torch.arange(12) % 3, None, "samples", 0)
    assert len(made) == len(model.transformer.blocks)


@pytest.mark.parametrize("parts", [1, 5, 2048])
def test_what_is_only_computed_is_what_training_computes(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "ROWS", parts)
    model = prologue().eval()
    for parameter in model.encoder.parameters():
        nn.init.normal_(parameter, std=0.2, generator=seeds.generator("moved", parameter.numel()))
    expected = model.features(images(7))
    with torch.inference_mode():
        found = model.features(images(7))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_a_draw_s_keys_and_values_are_freed_at_once() -> None:
    """At large sizes they are gigabytes, and cycles are looked for only now and then."""
    generator = ar(LAYOUTS[0])
    gc.disable()
    try:
        state = generator.start(torch.zeros(2).long())
        generator.decode_step(state, None)
        generator.decode_step(state, torch.zeros(2, 1).long())
        decoder = weakref.ref(state.decoder)
        del state
        assert decoder() is None
    finally:
        gc.enable()


def test_sampling_under_autocast_is_near_float32() -> None:
    model, labels = moved(LAYOUTS[1], ar), torch.arange(4)
    with torch.inference_mode():
        plain = model.decode_step(model.start(labels), None)
        with torch.autocast("cpu", torch.bfloat16):
            state = model.start(labels)
            half = model.decode_step(state, None)
            model.decode_step(state, random_ids(LAYOUTS[1], 4)[:, :1])
    assert state.decoder.keys.dtype == torch.bfloat16
    assert half.dtype == torch.float32
    assert not torch.equal(half, plain)
    assert torch.allclose(half, plain, atol=0.1 * float(plain.abs().max()))


def test_features_are_those_of_plain_convolutions() -> None:
    torch.manual_seed(0)
    model = EfficientNetLite0().eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    x = torch.randn(EARLY_IMAGES + 3, 3, 32, 32).to(memory_format=torch.channels_last)

    def conv(layer: Any, x: torch.Tensor) -> torch.Tensor:
        padding = layer.kernel // 2 if layer.stride == 1 else 0
        if layer.stride > 1:
            x = F.pad(x, (*layer._padding(x.shape[-1]), *layer._padding(x.shape[-2])))
        return F.conv2d(
            x, layer.conv.weight, layer.conv.bias, layer.stride, padding, 1, layer.conv.groups
        )

    with torch.inference_mode():
        found = model(x)
        plain = F.relu6(conv(model.stem, x))
        for block in model.blocks:
            hidden = plain if block.expand is None else F.relu6(conv(block.expand, plain))
            out = conv(block.project, F.relu6(conv(block.depthwise, hidden)))
            plain = plain + out if block.residual else out
        plain = F.relu6(conv(model.head, plain)).mean(dim=(2, 3))
    assert float(plain.std()) > 0.01
    assert torch.allclose(found, plain, atol=1e-4)


def test_pixel_metrics_compare_as_many_images_as_memory_holds() -> None:
    small, large = images_at_once(IMAGES), images_at_once(ImageSpec(3, 256, 256))
    assert small * IMAGES.dimensions == pytest.approx(large * 3 * 256 * 256, rel=0.1)
    assert images_at_once(ImageSpec(3, 10_000, 10_000)) == 1


def trained_in(precision: Any) -> Any:
    return stages.TrainGenerator(
        tokens=SimpleNamespace(),  # type: ignore[arg-type]
        generator=SimpleNamespace(),  # type: ignore[arg-type]
        training=attrs.evolve(GeneratorTraining(), precision=precision),
        seed=0,
    )


@pytest.mark.parametrize(("precision", "expected"), [("float32", False), ("bfloat16", True)])
def test_a_model_draws_in_the_precision_of_its_training(precision: str, expected: bool) -> None:
    with as_trained(trained_in(precision), torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu") == expected
