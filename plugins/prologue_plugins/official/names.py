"""The names of weights in the paper's checkpoints, for those of the models here.

A checkpoint's part ("encoder", "decoder", "ar") is one safetensors file. An attention layer's
query, key and value are one matrix here and two there; buffers that only training used are there
and not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from prologue_bench.contracts import Generator, Tokenizer, TokenLayout
from prologue_bench.errors import UserError
from prologue_bench.storage.weights import Shapes, check_shapes

Part = Literal["encoder", "decoder", "ar"]

_MODULES: dict[str, tuple[Part, str]] = {
    "encoder.": ("encoder", "enc."),
    "prologue_encoder.": ("encoder", "semantic_enc."),
    "quantizer.codebook.": ("encoder", "quantizer."),
    "prologue_quantizer.codebook.": ("encoder", "semantic_quantizer."),
    "decoder.": ("decoder", "dec."),
}
_INSIDE = [
    (r"^transformer\.condition\.project\.", r"cond_proj.0."),
    (r"^transformer\.condition\.norm\.", r"cond_proj.1."),
    (r"^transformer\.blocks\.(\d+)\.attention_scale\.affine\.", r"layers.\1.adaln_1.affine."),
    (r"^transformer\.blocks\.(\d+)\.attention_gate\.", r"layers.\1.gate1."),
    (r"^transformer\.blocks\.(\d+)\.attention\.query_norm\.", r"layers.\1.attn1.q_norm."),
    (r"^transformer\.blocks\.(\d+)\.attention\.key_norm\.", r"layers.\1.attn1.k_norm."),
    (r"^transformer\.blocks\.(\d+)\.attention\.qkv\.", r"layers.\1.attn1.to_q+to_kv."),
    (r"^transformer\.blocks\.(\d+)\.attention\.out\.", r"layers.\1.attn1.proj."),
    (r"^transformer\.blocks\.(\d+)\.ffn_scale\.affine\.", r"layers.\1.adaln_mlp.affine."),
    (r"^transformer\.blocks\.(\d+)\.ffn_gate\.", r"layers.\1.gate_mlp."),
    (r"^transformer\.blocks\.(\d+)\.ffn\.", r"layers.\1.ffn."),
    (r"^head\.scale\.affine\.", r"out_norm.affine."),
    (r"^head\.linear\.", r"out."),
    (r"^queries$", r"learnable_query"),
    (r"^project\.(weight|bias)$", r"input_layer.\1"),
]
_CODEBOOK = [(r"^project\.", r"proj_in."), (r"^weight$", r"embedding.weight")]
_AR = [(r"^label_embedding\.", r"bos_emb."), (r"^embedding\.", r"semantic_emb.")]


def official_names(model: nn.Module) -> dict[str, tuple[Part, tuple[str, ...]]]:
    """For each weight of a tokenizer or generator, its part and its name or names.

    Several are joined along the first axis.
    """
    tied = _is_tied(model)
    return {
        name: _official(name, isinstance(model, Generator))
        for name in model.state_dict()
        if not (tied and name == "head.linear.weight")
    }


def _official(name: str, generator: bool) -> tuple[Part, tuple[str, ...]]:
    if generator:
        renamed = _rename(name, _AR)
        return "ar", (renamed,) if renamed != name else _split("ar_model." + _rename(name, _INSIDE))
    for start, (part, there) in _MODULES.items():
        if name.startswith(start):
            rules = _CODEBOOK if "codebook" in start else _INSIDE
            return part, _split(there + _rename(name.removeprefix(start), rules))
    raise UserError(f"weight {name!r} has no counterpart in the paper's checkpoints")


def _rename(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, there in rules:
        renamed, count = re.subn(pattern, there, name)
        if count:
            return renamed
    return name


def _split(name: str) -> tuple[str, ...]:
    if "to_q+to_kv" not in name:
        return (name,)
    return name.replace("to_q+to_kv", "to_q"), name.replace("to_q+to_kv", "to_kv")


def official_shapes(model: Tokenizer | Generator, labels: int) -> dict[Part, Shapes]:
    """Every tensor that a checkpoint of this model has, by part, buffers included."""
    shapes: dict[Part, Shapes] = {}
    state = model.state_dict()
    for name, (part, names) in official_names(model).items():
        rows, *rest = state[name].shape
        # Query rows are a third of the joined matrix, key and value rows the other two.
        sizes = [rows] if len(names) == 1 else [rows // 3, rows - rows // 3]
        for there, size in zip(names, sizes, strict=True):
            shapes.setdefault(part, {})[there] = (size, *rest)
    if isinstance(model, Generator):
        shapes["ar"]["uncond_ar_labels"] = (1, labels)
    else:
        shapes["encoder"] |= _training_masks(model.layout)
    return shapes


def _training_masks(layout: TokenLayout) -> Shapes:
    there = {"visual": "quantizer", "prologue": "semantic_quantizer"}
    return {
        f"{there[segment.name]}.pos_select_mask": (segment.length, segment.vocabulary)
        for segment in layout.segments
    }


def load_official(
    model: Tokenizer | Generator, parts: Mapping[Part, Mapping[str, Tensor]], labels: int
) -> None:
    """Put a checkpoint's weights into a model.

    Raises UserError when names or shapes do not fit, naming the first.
    """
    for part, shapes in official_shapes(model, labels).items():
        check_shapes(
            shapes, {name: tuple(value.shape) for name, value in parts[part].items()}, part
        )
    own = model.state_dict()
    loaded = {
        name: torch.cat([parts[part][there].to(own[name].dtype) for there in names])
        for name, (part, names) in official_names(model).items()
    }
    for name, value in loaded.items():
        part, (there, *_) = official_names(model)[name]
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{part}: {there} holds NaN or infinity, expected finite numbers")
    model.load_state_dict(loaded, strict=not _is_tied(model))


def _is_tied(model: nn.Module) -> bool:
    head, embedding = getattr(model, "head", None), getattr(model, "embedding", None)
    return head is not None and embedding is not None and head.linear.weight is embedding.weight
