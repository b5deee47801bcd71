"""What a tokenizer decodes is images, or the run says in one line what it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from prologue_bench.contracts import ImageSpec
from prologue_bench.contracts.tokenizer import ContinuousTokenizer
from prologue_bench.errors import StageError
from prologue_bench.pipeline.steps.coding import Decoder

IMAGES = ImageSpec(1, 4, 4, ("a", "b"))
STAGE: Any = SimpleNamespace(
    tokenizer=SimpleNamespace(component=SimpleNamespace(called=lambda kind: f"{kind} 'own'"))
)


def decoder(made: object, continuous: bool = False) -> Decoder:
    """Of a tokenizer that makes this of whatever it is given."""
    tokenizer: Any = SimpleNamespace(decode=lambda ids: made)
    if continuous:

        class Continuous(ContinuousTokenizer):
            def reconstruct(self, images: Tensor) -> Tensor:
                return made  # type: ignore[return-value]

        tokenizer = Continuous.__new__(Continuous)
    return Decoder(STAGE, tokenizer, IMAGES, torch.device("cpu"))


WRONG: list[tuple[object, str]] = [
    (None, "gave None (NoneType), expected floats [3, 1, 4, 4]"),
    (torch.zeros(3, 1, 4, 5), "gave torch.float32 [3, 1, 4, 5], expected floats [3, 1, 4, 4]"),
    (torch.zeros(3, 1, 4, 4).byte(), "gave torch.uint8 [3, 1, 4, 4], expected floats"),
    (torch.full((3, 1, 4, 4), torch.nan), "gave values that are not finite numbers"),
    (
        torch.linspace(0, 255, 48).reshape(3, 1, 4, 4),
        "gave values from 0 to 255, expected about -1 to 1",
    ),
]


@pytest.mark.parametrize(("made", "text"), WRONG)
def test_what_is_no_image_is_told_with_the_method_that_made_it(made: object, text: str) -> None:
    with pytest.raises(StageError) as raised:
        decoder(made).decode(torch.zeros(3, 2))
    assert str(raised.value).startswith(f"tokenizer 'own': `decode` {text}")
    with pytest.raises(StageError) as raised:
        decoder(made, continuous=True).reconstruct(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    assert str(raised.value).startswith(f"tokenizer 'own': `reconstruct` {text}")


def test_what_overshoots_a_little_or_makes_no_sense_is_clamped() -> None:
    found = decoder(torch.full((3, 1, 4, 4), 1.4)).decode(torch.zeros(3, 2))
    assert (found == 255).all()
    both = decoder(torch.linspace(-90, 80, 48).reshape(3, 1, 4, 4)).decode(torch.zeros(3, 2))
    assert (both.min(), both.max()) == (0, 255)
