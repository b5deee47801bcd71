"""`encode` that is random, or that depends on the batch, ends a run."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prologue_bench.errors import StageError
from prologue_bench.pipeline.repeating import check_repeats
from prologue_bench.storage.store import Store
from prologue_plugins.tokenizers.prologue import Prologue
from tests.conftest import SMOKE, run_tiny
from tests.factories.models import images, prologue

encode = Prologue.encode


def _random(self: Prologue, given: Tensor) -> Tensor:
    ids = encode(self, given)
    return torch.where(torch.rand(ids.shape) < 0.3, 0, ids)


def _centred(self: Prologue, given: Tensor) -> Tensor:
    """As `encode`, of what is left of images without their mean over the batch."""
    return encode(self, given - given.mean(dim=0, keepdim=True))


@pytest.mark.parametrize(
    ("encoding", "finished", "told"),
    [
        (_random, set(), "gives other ids of the same images the second time ("),
        (_centred, {"train-tokenizer"}, "gives an image other ids where it stands alone ("),
    ],
)
def test_an_encoding_that_does_not_repeat_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: object, finished: set[str], told: str
) -> None:
    """Random ones before anything is trained, and those that look at the batch thereafter."""
    monkeypatch.setattr(Prologue, "encode", encoding)
    text = SMOKE.replace("[0, 2]", "[2]").replace("tokenizer.prologue_tokens: 0}", "}")
    with pytest.raises(Exception):  # noqa: B017, PT011 - the stage has the reason
        run_tiny(tmp_path, text=text.replace("baseline: {}\n", ""))
    logs = [path.read_text() for path in (tmp_path / "store").rglob("log.txt")]
    assert any(f"tokenizer 'prologue': `encode` {told}" in log for log in logs)
    assert {each["kind"] for each in Store(tmp_path / "store").manifests()} == finished


def test_what_repeats_passes_and_leaves_random_streams_and_modes() -> None:
    tokenizer = prologue().train()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_repeats(tokenizer, images(), "it", nullcontext())
    assert torch.equal(torch.rand(2), expected)
    assert tokenizer.training


def test_an_encoding_that_fails_is_left_to_what_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Prologue, given: Tensor) -> Tensor:
        raise ValueError("not yet")

    monkeypatch.setattr(Prologue, "encode", failing)
    check_repeats(prologue(), images(), "it", nullcontext())
    monkeypatch.setattr(Prologue, "encode", _random)
    with pytest.raises(StageError, match="expected nothing random in evaluation mode"):
        check_repeats(prologue(), images(), "it", nullcontext())
