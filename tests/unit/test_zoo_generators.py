"""Published generators: golden tensors, names of released files, and their contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from prologue_bench.config.presets import find_preset
from prologue_bench.config.structure import structure
from prologue_bench.contracts import Segment, TokenLayout
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.storage.giving import giving_weights
from prologue_plugins.zoo.generating import Cache, ZooGenerator
from prologue_plugins.zoo.golden import check_zoo_folder
from prologue_plugins.zoo.gpt import LlamaGenGpt
from prologue_plugins.zoo.rar import OfficialRar
from prologue_plugins.zoo.settings_generators import LlamaGenGptSettings, OfficialRarSettings

GOLDEN = Path(__file__).parent.parent / "golden_zoo"
PRESETS = {
    "llamagen_gpt": {
        "GPT-B": ["llamagen-gpt-b", "llamagen-gpt-b-384"],
        "GPT-L": ["llamagen-gpt-l", "llamagen-gpt-l-384"],
        "GPT-XL": ["llamagen-gpt-xl-384"],
        "GPT-XXL": ["llamagen-gpt-xxl-384"],
        "GPT-3B": ["llamagen-gpt-3b-384"],
    },
    "rar": {f"rar_{size}": [f"rar-{size}"] for size in ("b", "l", "xl", "xxl")},
}
TOKENS = TokenLayout((Segment("visual", 16, 64, (4, 4)),))
SETTINGS = LlamaGenGptSettings(block_size=16, vocab_size=64, num_classes=10)
MADE: list[ZooGenerator] = [
    LlamaGenGpt(LlamaGenGptSettings(n_head=4, n_kv_head=2, ffn_dim_multiplier=1.5), TOKENS, 11),
    OfficialRar(OfficialRarSettings(), TOKENS, 11),
]


@pytest.mark.parametrize("folder", sorted(PRESETS))
def test_every_golden_tensor_is_reproduced(folder: str) -> None:
    found = check_zoo_folder(GOLDEN / folder, 1e-4)
    assert not [each for each in found if not each.holds(1e-4)]
    assert {"ar_logits", "ar_ce", "greedy_tokens", "greedy_tokens_cfg"} <= {e.name for e in found}


@pytest.mark.parametrize(
    ("folder", "change"),
    [
        ("llamagen_gpt", lambda weights: weights["layers.1.attention.wo.weight"].neg_()),
        ("rar", lambda weights: weights["timesteps_embeddings"].neg_()),
    ],
)
def test_a_changed_weight_is_seen(
    tmp_path: Path, folder: str, change: Callable[[dict[str, Tensor]], object]
) -> None:
    copy = Path(shutil.copytree(GOLDEN / folder, tmp_path / "other name"))
    weights = load_file(copy / "weights.safetensors")
    change(weights)
    save_file(weights, copy / "weights.safetensors")
    assert any(not each.holds(1e-4) for each in check_zoo_folder(copy, 1e-4))


@pytest.mark.parametrize("folder", sorted(PRESETS))
def test_presets_have_the_names_and_shapes_of_released_files(
    folder: str, registry: Registry
) -> None:
    keys = json.loads((GOLDEN / folder / "keys.json").read_text())
    assert set(keys) == set(PRESETS[folder])
    for variant, names in PRESETS[folder].items():
        for name in names:
            preset = find_preset("generator", name, registry)
            assert preset is not None
            component = registry.find("generator", preset.use)
            settings = structure(component.load_settings(), preset.settings, name)
            found = {key: list(shape) for key, shape in component.load().shapes(settings).items()}
            assert found == keys[variant]


@pytest.mark.parametrize("generator", MADE, ids=lambda each: each.name)
@torch.no_grad()
def test_steps_give_the_logits_of_whole_sequences(generator: ZooGenerator) -> None:
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(1))
    ids, labels = torch.randint(64, (2, 16)), torch.tensor([3, 10])
    whole, state = generator.logits(ids, labels), Cache(labels)
    # The first three tokens are given at once, as where they are fixed.
    steps = [generator.decode_step(state, ids[:, :3])]
    steps += [generator.decode_step(state, ids[:, place : place + 1]) for place in range(3, 15)]
    assert torch.allclose(torch.cat(steps, dim=1), whole[:, 3:], atol=1e-4)
    assert torch.allclose(generator.nll(ids, labels)["visual"], generator.losses(ids, labels))


def test_other_tokens_and_classes_are_refused() -> None:
    other = TokenLayout((Segment("visual", 16, 65, (4, 4)),))
    with pytest.raises(UserError, match="found tokens 16 of 65, expected 16 of 64"):
        LlamaGenGpt(SETTINGS, other, 11)
    with pytest.raises(UserError, match="found 9 classes, expected 10"):
        LlamaGenGpt(SETTINGS, TOKENS, 10)
    with pytest.raises(UserError, match="found 12 tokens, expected those of a square"):
        LlamaGenGpt(LlamaGenGptSettings(), TokenLayout((Segment("visual", 12, 64),)), 11)
    two = TokenLayout((Segment("a", 3, 5), Segment("b", 4, 7)))
    with pytest.raises(UserError, match=r"found tokens 3 of 5 \+ 4 of 7, expected one segment"):
        OfficialRar(OfficialRarSettings(), two, 11)
    with pytest.raises(ValueError, match="'n_head' must split 'dim'"):
        LlamaGenGptSettings(dim=48, n_head=5)


def test_a_released_file_fits_by_names_and_shapes() -> None:
    made = LlamaGenGpt(SETTINGS, TOKENS, 11)
    state = {**made.state_dict(), "freqs_cis": torch.zeros(3)}
    held = LlamaGenGpt.holding(SETTINGS, state, "x")
    assert torch.equal(held.tok_embeddings.weight, made.tok_embeddings.weight)
    with giving_weights():
        later = LlamaGenGpt(SETTINGS, held.layout, 11)
    later.load_state_dict(held.state_dict())
    ids = torch.zeros(1, 16).long()
    assert torch.equal(later.losses(ids, ids[:, 0]), held.losses(ids, ids[:, 0]))
    del state["norm.weight"]
    with pytest.raises(UserError, match=r"x: does not fit: missing norm\.weight"):
        LlamaGenGpt.holding(SETTINGS, state, "x")
