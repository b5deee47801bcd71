"""Every tensor of a golden folder computed anew, and compared.

A golden folder holds config.json, encoder, decoder and AR weights, and io.safetensors with inputs
and outputs of the paper's implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from prologue_bench.config.settings import Guidance, Sampling
from prologue_bench.contracts import ImageSpec, Tokenizer
from prologue_bench.errors import UserError, shortened
from prologue_bench.sampling.decoding import sample_ids
from prologue_bench.storage.weights import at_most, check_shapes, made
from prologue_plugins.generators.ar import Ar
from prologue_plugins.layers.golden import Comparison, compare
from prologue_plugins.layers.vit import to_patches
from prologue_plugins.official.config import OfficialConfig
from prologue_plugins.official.files import read_shapes, read_tensors
from prologue_plugins.official.names import Part, load_official, official_shapes
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.prologue_post import ProloguePost
from prologue_plugins.tokenizers.vq_2d import VqTokenizer

INPUTS = ("images", "labels")
GUIDANCES: Mapping[str, Mapping[str, Guidance]] = {
    "greedy_tokens": {},
    "greedy_tokens_cosine_cfg": {"all": Guidance(schedule="cosine", scale=10.0, power=1.5)},
    "greedy_tokens_split_cfg": {
        "prologue": Guidance(schedule="constant", scale=0.7),
        "visual": Guidance(schedule="cosine", scale=3.75, power=0.2),
    },
}


def check_folder(folder: Path) -> list[Comparison]:
    """Compare every output in the folder's io.safetensors.

    Raises UserError when the folder cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    config = OfficialConfig.read(folder / "config.json")
    golden = read_tensors(folder / "io.safetensors")
    for name in INPUTS:
        if name not in golden:
            raise UserError(f"{folder / 'io.safetensors'}: input {name!r} is missing")
    labels = config.images.labels
    _check_inputs(golden, config.images, folder / "io.safetensors")
    files: dict[Part, Path] = {
        "encoder": folder / "encoder.safetensors",
        "decoder": folder / "decoder.safetensors",
    }
    tokenizer = _loaded(config, "the tokenizer", config.tokenizer, files)
    generator = _loaded(
        config,
        "the generator",
        lambda: config.generator(tokenizer),
        {"ar": folder / "ar.safetensors"},
    )
    tied = None
    if "ar_tied_logits" in golden:
        files = {"ar": folder / "ar_tied.safetensors"}
        tied = _loaded(
            config, "the tied generator", lambda: config.generator(tokenizer, tied=True), files
        )
    try:
        computed = dict(_tokenizer_outputs(tokenizer, golden["images"]))
        computed |= dict(
            _generator_outputs(tokenizer, generator, golden["images"], golden["labels"], labels - 1)
        )
        if tied is not None:
            with torch.inference_mode():
                ids = tokenizer.encode(golden["images"])
                computed["ar_tied_logits"] = tied.logits(ids, golden["labels"])
    except (
        RuntimeError,
        IndexError,
        ValueError,
        ArithmeticError,
    ) as error:  # of weights without sense
        raise UserError(
            f"{folder}: its models cannot be computed: {shortened(str(error), 160)}"
        ) from error
    return [
        compare(name, golden[name], computed.get(name))
        for name in sorted(golden)
        if name not in INPUTS
    ]


def _check_inputs(golden: Mapping[str, Tensor], spec: ImageSpec, path: Path) -> None:
    images, labels = (golden[name] for name in INPUTS)
    expected = list(spec.shape)
    if (
        not images.is_floating_point()
        or images.ndim != 4
        or list(images.shape[1:]) != expected
        or not len(images)
    ):
        raise UserError(
            f"{path}: images: found {images.dtype} {list(images.shape)}, "
            f"expected floats [B, *{expected}]"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path}: labels: found {labels.dtype} {list(labels.shape)}, "
            f"expected int64 [{len(images)}]"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= spec.labels:
        raise UserError(
            f"{path}: labels: found {int(labels.min())} to {int(labels.max())}, "
            f"expected 0 to {spec.labels - 1}"
        )


M = TypeVar("M", Tokenizer, Ar)


def _loaded(
    config: OfficialConfig, what: str, build: Callable[[], M], files: Mapping[Part, Path]
) -> M:
    """The model with the weights of these files.

    It is made only where its shapes are those of the files.
    """
    labels = config.images.labels
    found = {part: read_shapes(path) for part, path in files.items()}
    with at_most(4 * sum(map(len, found.values())) + 1000, str(config.path)):
        with torch.device("meta"):
            expected = official_shapes(made(f"{config.path}: {what}", build), labels)
        for part, path in files.items():
            check_shapes(expected[part], found[part], str(path))
        model = made(f"{config.path}: {what}", build)
    tensors = {part: read_tensors(path) for part, path in files.items()}
    try:
        load_official(model, tensors, labels)
    except UserError as error:
        raise UserError(f"{config.path.parent}: {error}") from None
    return model


def _tokenizer_outputs(tokenizer: Tokenizer, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    assert isinstance(tokenizer, VqTokenizer)
    with torch.no_grad():
        ids = tokenizer.encode(images)
        decoded = tokenizer.decode(ids)
        segments = tokenizer.layout.split(ids)
        yield "encode_idx", ids
        yield "patches", to_patches(images, tokenizer.patch_size)
        yield "images_hat", decoded
        yield "patches_hat", to_patches(decoded, tokenizer.patch_size)
        yield "visual_indices", segments["visual"]
        yield "visual_quant", tokenizer.quantizer.codebook.look_up(segments["visual"])
        visual = (
            tokenizer.features(images)[0]
            if isinstance(tokenizer, Prologue)
            else tokenizer.visual_features(images)
        )
        yield "visual_quant_loss", tokenizer.quantizer(visual).loss
        if isinstance(tokenizer, Prologue) and tokenizer.prologue_quantizer is not None:
            yield "prologue_indices", segments["prologue"]
            yield (
                "prologue_quant",
                tokenizer.prologue_quantizer.codebook.look_up(segments["prologue"]),
            )


def _generator_outputs(
    tokenizer: Tokenizer, generator: Ar, images: Tensor, labels: Tensor, none_label: int
) -> Iterator[tuple[str, Tensor]]:
    out = tokenizer.losses(images)
    losses = generator.token_losses(out.ids, labels, out.relaxed)
    yield "ar_input_ids", _sequence(generator, out.ids)
    yield "ar_logits", generator.logits(out.ids, labels, out.relaxed).detach()
    yield "ar_ce", losses.detach()
    yield "ar_loss", losses.mean().detach()
    if "prologue" in out.relaxed:
        yield "prologue_one_hot", out.relaxed["prologue"].detach()
        dropped = {"visual": torch.ones(len(images), dtype=torch.bool)}
        yield (
            "ar_logits_visual_dropped",
            generator.logits(out.ids, labels, out.relaxed, dropped).detach(),
        )
        yield from _gradients(tokenizer, losses.mean())
    for name, guidance in GUIDANCES.items():
        if all(segment in (*tokenizer.layout.names, "all") for segment in guidance):
            sampling = Sampling(top_k=1, guidance=guidance)
            ids = sample_ids(generator, labels, sampling, torch.Generator(), none_label)
            yield name, _sequence(generator, ids)


def _gradients(tokenizer: Tokenizer, loss: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Gradients of the cross-entropy in the encoder that makes the prologue."""
    assert isinstance(tokenizer, Prologue)
    assert tokenizer.prologue_quantizer is not None
    encoder = (
        tokenizer.prologue_encoder if isinstance(tokenizer, ProloguePost) else tokenizer.encoder
    )
    assert encoder.queries is not None
    torch.autograd.backward(loss)
    weights = {
        "grad_encoder_input_layer_weight": encoder.project.weight,
        "grad_learnable_query": encoder.queries,
        "grad_prologue_codebook": tokenizer.prologue_quantizer.codebook.weight,
        "grad_visual_codebook": tokenizer.quantizer.codebook.weight,
    }
    for name, weight in weights.items():
        yield name, torch.zeros_like(weight) if weight.grad is None else weight.grad


def _sequence(generator: Ar, ids: Tensor) -> Tensor:
    """Ids [B, L] in the autoregressive vocabulary, separators put in: [B, T]."""
    return generator.vocabulary.sequence(ids)
