"""Weights that are not all that training changed end the training."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from prologue_bench.errors import StageError
from prologue_bench.pipeline.restoring import check_restored
from prologue_bench.pipeline.steps.training import _generator_answers
from prologue_bench.storage.store import Store
from prologue_plugins.generators.ar import Ar
from prologue_plugins.tokenizers.prologue import Prologue
from tests.conftest import SMOKE, run_tiny


@pytest.mark.parametrize("of", ["tokenizer", "prior"])
def test_what_is_lost_of_a_training_fails_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    cls, name = (Prologue, "losses") if of == "tokenizer" else (Ar, "token_losses")
    learn = getattr(cls, name)

    def counting(self: torch.nn.Module, *arguments: object, **named: object) -> object:
        self.seen = getattr(self, "seen", 0) + int(self.training)
        return learn(self, *arguments, **named)

    monkeypatch.setattr(cls, name, counting)
    if of == "tokenizer":
        decode = Prologue.decode
        monkeypatch.setattr(
            Prologue, "decode", lambda self, ids: decode(self, ids) + 0.1 * getattr(self, "seen", 0)
        )
    else:
        nll = Ar.nll

        def shifted(self: Ar, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
            more = 0.1 * getattr(self, "seen", 0)
            return {name: each + more for name, each in nll(self, ids, labels).items()}

        monkeypatch.setattr(Ar, "nll", shifted)
    who, what = (
        ("tokenizer 'prologue'", "reconstructions")
        if of == "tokenizer"
        else (
            "generator 'ar'",
            "likelihoods",
        )
    )
    text = SMOKE.replace("[0, 2]", "[2]").replace("tokenizer.prologue_tokens: 0}", "}")
    text = text.replace("baseline: {}\n", "")
    with pytest.raises(Exception):  # noqa: B017, PT011 - the stage has the reason
        run_tiny(tmp_path, text=text)
    (log,) = [
        path.read_text()
        for path in (tmp_path / "store").rglob("log.txt")
        if "ended by StageError" in path.read_text()
    ]
    assert f"{who}: its saved weights are not all that training changed" in log
    assert f"they give other {what}; seen differs; keep it in a parameter, or by" in log
    assert not [each for each in Store(tmp_path / "store").manifests() if "train" in each["kind"]]


class _Scaled(torch.nn.Module):
    def __init__(self, noisy: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.dropout = torch.nn.Dropout(0.5)
        self.noisy = noisy

    def forward(self) -> Tensor:
        noise = torch.rand(3) if self.noisy else torch.zeros(3)
        return self.dropout(self.weight * self.scale + noise)


def test_only_what_is_lost_is_told_and_random_streams_stay() -> None:
    model = _Scaled().train()
    state = torch.get_rng_state()
    check_restored(model, _Scaled, lambda each: {"values": each()}, "it")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    model.scale.fill_(2.0)
    with pytest.raises(StageError, match="they give other values; scale differs; keep it in a"):
        check_restored(model, _Scaled, lambda each: {"values": each()}, "it")
    noisy = _Scaled(noisy=True)
    noisy.scale.fill_(2.0)
    check_restored(noisy, _Scaled, lambda each: {"values": each()}, "it")


def test_a_model_that_gives_no_answer_is_left_to_what_reads_its_weights() -> None:
    def broken(each: _Scaled) -> dict[str, Tensor]:
        raise RuntimeError("not for so few images")

    check_restored(_Scaled(), _Scaled, broken, "it")
    grown = _Scaled()
    grown.register_buffer("seen", torch.zeros(2))
    with pytest.raises(StageError, match=r"^it: its trained weights do not fit a new instance \("):
        check_restored(grown, _Scaled, lambda each: {"values": each()}, "it")


class _Silent:
    """A generator without a likelihood, whose losses are zero."""

    has_likelihood = False

    def draws(self, *arguments: object) -> dict[str, Tensor]:
        return {}

    def losses(self, ids: Tensor, labels: Tensor) -> Tensor:
        ids += 1
        return torch.zeros(len(ids))


def test_ids_in_a_read_only_file_are_copied_and_warn_of_nothing() -> None:
    ids, labels = np.zeros((2, 3), np.int64), np.zeros(2, np.int64)
    ids.flags.writeable = False
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _generator_answers(SimpleNamespace(device="cpu"), ids, labels, _Silent())  # type: ignore[arg-type]
    finally:
        torch.set_warn_always(False)
    assert not ids.any()
