"""Token layouts and the vocabulary that generators make of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prologue_bench.contracts import Protocol, Segment, TokenLayout
from prologue_plugins.generators.ar import Vocabulary
from tests.factories.models import random_ids

layouts = st.builds(
    lambda sizes, separator: TokenLayout(
        tuple(Segment(f"s{i}", length, vocabulary) for i, (length, vocabulary) in enumerate(sizes)),
        separator,
    ),
    st.lists(st.tuples(st.integers(1, 5), st.integers(2, 9)), min_size=1, max_size=4),
    st.booleans(),
)


@given(layouts)
def test_split_and_join_are_inverse(layout: TokenLayout) -> None:
    ids = random_ids(layout)
    assert torch.equal(layout.join(layout.split(ids)), ids)
    layout.check(ids)


@given(layouts)
def test_the_vocabulary_keeps_segments_apart_and_positions_in_order(layout: TokenLayout) -> None:
    vocabulary = Vocabulary(layout)
    ids = random_ids(layout)
    sequence = vocabulary.sequence(ids)
    several = len(layout.segments) > 1
    assert sequence.shape[1] == layout.length + (len(layout.segments) - 1) * (
        several and layout.separator
    )
    for name, part in layout.split(ids).items():
        assert torch.equal(sequence[:, vocabulary.spans[name]] - vocabulary.first_id[name], part)
    rows = [set(range(*vocabulary.rows(name).indices(vocabulary.size))) for name in layout.names]
    assert sum(map(len, rows)) == len(set().union(*rows)) == vocabulary.size - several


def test_the_paper_s_vocabulary_is_visual_then_prologue_then_separator() -> None:
    vocabulary = Vocabulary(TokenLayout((Segment("prologue", 2, 8), Segment("visual", 3, 16))))
    sequence = vocabulary.sequence(torch.tensor([[1, 2, 3, 4, 5]]))
    assert sequence.tolist() == [[16 + 1, 16 + 2, 24, 3, 4, 5]]


def test_ids_outside_their_segment_are_found() -> None:
    layout = TokenLayout((Segment("a", 1, 4), Segment("b", 1, 2)))
    with pytest.raises(ValueError, match="segment 'b' has ids from 2 to 2, expected 0 to 1"):
        layout.check(torch.tensor([[3, 2]]))
    with pytest.raises(ValueError, match=r"expected \[B, 2\]"):
        layout.check(torch.tensor([[1]]))


def test_layouts_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="share a name"):
        TokenLayout((Segment("a", 1, 2), Segment("a", 1, 2)))
    with pytest.raises(ValueError, match="does not hold"):
        Segment("a", 5, 2, grid=(2, 2))


def test_protocols_name_the_fields_in_which_they_differ() -> None:
    one = Protocol(name="fid", details={"resize": 64, "samples": 10})
    other = Protocol(name="fid", details={"resize": 64, "samples": 20}, note="notes do not count")
    assert one.differences(other) == ["samples"]
    assert (
        one.differences(Protocol(name="fid", details={"resize": 64, "samples": 10}, note="x")) == []
    )
