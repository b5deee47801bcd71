"""The nearest code is the nearest in bfloat16 too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from prologue_bench.contracts import ImageSpec, Tokenizer
from prologue_plugins.layers.quantizers import Codebook, OneHotQuantizer, VectorQuantizer
from prologue_plugins.layers.settings import StraightThrough, TransformerSettings
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.prologue_post import ProloguePost
from prologue_plugins.tokenizers.settings import (
    ProloguePostSettings,
    PrologueSettings,
    Vq1dSettings,
    Vq2dSettings,
)
from prologue_plugins.tokenizers.vq_1d import Vq1d
from prologue_plugins.tokenizers.vq_2d import Vq2d

IMAGES = ImageSpec(channels=3, height=16, width=24, class_names=("a", "b", "c"))
SIZE = TransformerSettings(width=32, layers=2, heads=2)
SIZES: dict[str, Any] = {"patch_size": 4, "encoder": SIZE, "decoder": SIZE}
CODES = {**SIZES, "visual_codebook": 4096}
PROLOGUE = {**CODES, "prologue_codebook": 4096, "prologue_tokens": 8}


def library(name: str, **settings: Any) -> Callable[[], Tokenizer]:
    def make() -> Tokenizer:
        pytest.importorskip("vector_quantize_pytorch")
        from prologue_plugins.vq import settings as known
        from prologue_plugins.vq import tokenizers

        chosen = getattr(known, f"{name}Settings")(**SIZES, **settings)
        made: Tokenizer = getattr(tokenizers, f"{name}Tokenizer")(chosen, IMAGES)
        return made

    return make


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "vq-1d": lambda: Vq1d(Vq1dSettings(**CODES, tokens=20), IMAGES),
    "vq-2d": lambda: Vq2d(Vq2dSettings(**CODES), IMAGES),
    "vq-2d, CE on visual": lambda: Vq2d(Vq2dSettings(**CODES, visual_ce_weight=1.0), IMAGES),
    "prologue": lambda: Prologue(PrologueSettings(**PROLOGUE), IMAGES),
    "prologue, plain": lambda: Prologue(
        PrologueSettings(**PROLOGUE, straight_through="vq"), IMAGES
    ),
    "prologue, shared": lambda: Prologue(
        PrologueSettings(**PROLOGUE, shared_codebook=True), IMAGES
    ),
    "prologue-post": lambda: ProloguePost(
        ProloguePostSettings(**PROLOGUE, prologue_encoder=SIZE), IMAGES
    ),
    "fsq": library("Fsq", levels=(16, 16, 16)),
    "lfq": library("Lfq", bits=12),
    "residual-vq": library("ResidualVq", codes=4096, code_width=8, levels=3),
    "simvq": library("SimVq", codes=4096, code_width=8),
}


def half() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def made(name: str) -> tuple[Tokenizer, Tensor]:
    """A tokenizer whose codes crowd around its latents, and images."""
    torch.manual_seed(0)
    tokenizer = TOKENIZERS[name]()
    return tokenizer, torch.rand(16, 3, 16, 24) * 2 - 1


@pytest.mark.parametrize("name", TOKENIZERS)
def test_training_takes_the_codes_that_encode_takes_under_autocast(name: str) -> None:
    tokenizer, images = made(name)
    with half():
        ids = tokenizer.train().losses(images).ids
        with torch.inference_mode():
            encoded = tokenizer.eval().encode(images)
    assert torch.equal(ids, encoded)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_same_features_have_the_same_codes_with_autocast_and_without(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoders run in float32 here, so that nothing but the quantizers can differ."""
    tokenizer, images = made(name)
    for encoder in ("encoder", "prologue_encoder"):
        if hasattr(tokenizer, encoder):
            exact = torch.autocast("cpu", enabled=False)(getattr(tokenizer, encoder).forward)
            monkeypatch.setattr(getattr(tokenizer, encoder), "forward", exact)
    expected = tokenizer.encode(images)
    with half():
        assert torch.equal(tokenizer.encode(images), expected)
        assert torch.equal(tokenizer.losses(images).ids, expected)


QUANTIZERS = {
    "codebook": lambda codebook, features: codebook.nearest(features),
    "vector quantizer": lambda codebook, features: _quantizer(codebook)(features).ids,
    "softmax": lambda codebook, features: _one_hot(codebook, "softmax")(features).ids,
    "vq": lambda codebook, features: _one_hot(codebook, "vq")(features).ids,
}


def _quantizer(codebook: Codebook) -> VectorQuantizer:
    quantizer = VectorQuantizer(width=1, codes=1, code_width=1, commitment=0.25)
    quantizer.codebook = codebook
    return quantizer


def _one_hot(codebook: Codebook, straight_through: StraightThrough) -> OneHotQuantizer:
    return OneHotQuantizer(codebook, temperature=0.1, straight_through=straight_through)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_nearest_of_16384_codes_is_the_nearest_in_float64(quantizer: str) -> None:
    torch.manual_seed(0)
    codebook = Codebook(width=32, codes=16384, code_width=14)
    features = torch.randn(8, 64, 32)
    exact = (codebook.latents(features).double() @ codebook.codes().double().T).topk(2, dim=-1)
    with half():
        ids = QUANTIZERS[quantizer](codebook, features)
    differ = ids != exact.indices[..., 0]
    # Float32 itself cannot tell codes apart that are this close.
    assert (exact.values[..., 0] - exact.values[..., 1])[differ].lt(1e-6).all()


def test_the_one_hots_of_a_prior_are_hard_in_bfloat16() -> None:
    tokenizer, images = made("prologue")
    with half():
        out = tokenizer.losses(images)
    one_hot = out.relaxed["prologue"]
    assert one_hot.dtype == torch.float32
    hard = torch.nn.functional.one_hot(out.ids[:, :8], 4096).float()
    assert torch.allclose(one_hot, hard, atol=1e-5)
