"""A tensor with several names is written once, and comes back under all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import nn

from prologue_bench.errors import UserError
from prologue_bench.storage.weights import built_for, load_state, load_weights, save_weights


class Tied(nn.Module):
    """A language model's usual tie, and two buffers that are views of one table."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5)
        self.head.weight = self.embedding.weight
        table = torch.randn(4, 2)
        self.register_buffer("cosines", table[:, 0])
        self.register_buffer("sines", table[:, 1])


class Untied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_tied_weights_are_written_once_and_load_right(path: Path) -> None:
    model = Tied()
    save_weights(model, path)
    assert load_file(path).keys() == {"embedding.weight", "head.bias", "cosines", "sines"}
    for other in (load_weights(Tied(), path), built_for(path, "it", Tied)):
        assert same(other, model)
        assert other.head.weight is other.embedding.weight
    assert load_state(path).keys() == model.state_dict().keys()


def test_the_file_is_as_safetensors_itself_writes_and_reads_models(path: Path) -> None:
    model, other = Tied(), Tied()
    del model.cosines, model.sines, other.cosines, other.sines  # it takes no views
    save_weights(model, path)
    assert load_model(other, path) == (set(), [])
    assert same(other, model)


def test_weights_that_were_written_under_each_name_are_still_read(path: Path) -> None:
    model = Tied()
    save_file({name: value.clone() for name, value in model.state_dict().items()}, path)
    assert same(load_weights(Tied(), path), model)
    assert same(built_for(path, "it", Tied), model)


def test_a_model_without_the_tie_gets_all_of_its_weights(path: Path) -> None:
    model = Tied()
    del model.cosines, model.sines
    save_weights(model, path)
    other = load_weights(Untied(), path)
    assert same(other, model)
    assert other.head.weight is not other.embedding.weight


@pytest.mark.parametrize(
    "metadata",
    [{}, {"head.weight": "nowhere"}, {"head.weight": "head.weight"}, {"head.weight": "head.bias"}],
)
def test_metadata_of_others_does_not_replace_a_weight(path: Path, metadata: dict[str, str]) -> None:
    state = {name: value.clone() for name, value in Untied().state_dict().items()}
    del state["head.weight"]
    save_file(state, path, metadata=metadata)
    with pytest.raises(UserError, match=r"head\.weight is (missing|F32 \[5\], expected)"):
        built_for(path, "it", Untied)


def test_weights_without_ties_are_as_before_byte_for_byte(path: Path, tmp_path: Path) -> None:
    model = Untied()
    save_weights(model, path)
    save_file(dict(model.state_dict()), tmp_path / "plain.safetensors")
    assert path.read_bytes() == (tmp_path / "plain.safetensors").read_bytes()
