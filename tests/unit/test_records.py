"""Records that say the same twice say it alike, and what is written is what is read."""

from __future__ import annotations

from typing import Any, get_type_hints

import attrs
import pytest

from prologue_bench.contracts import describe_subset
from prologue_bench.results.images import _images
from prologue_bench.results.schema import Baseline, Numbers, Results, RunNumbers, RunRecord


def default_of(field: attrs.Attribute[Any]) -> Any:
    default = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("general", "special", "narrower"),
    [
        (Numbers, Results, {"data", "variants", "runs", "sources"}),
        # What is written of a baseline is not empty because results are not.
        (Numbers, Baseline, {"data", "variants", "runs", "sources", "seeds", "artifacts"}),
        (RunNumbers, RunRecord, {"stages"}),
    ],
)
def test_fields_that_are_written_again_for_their_order_agree(
    general: type[Any], special: type[Any], narrower: set[str]
) -> None:
    ours, theirs = (get_type_hints(each, include_extras=True) for each in (general, special))
    fields = attrs.fields_dict(special)
    differing = set()
    for each in attrs.fields(general):
        other = fields[each.name]
        if ours[each.name] != theirs[each.name]:
            differing.add(each.name)
        if attrs.NOTHING not in (each.default, other.default):
            assert default_of(each) == default_of(other), each.name
            assert each.metadata == other.metadata, each.name
    assert differing == narrower


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("some", "whole"), [(90, 90), (12, 90)])
def test_what_is_said_of_a_subset_is_read_again(split: str, some: int, whole: int) -> None:
    assert _images(describe_subset(f"{split} split", some, whole)) == (split, some, whole)
