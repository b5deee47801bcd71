"""Where the variants of results come from.

That is the one run that wrote them, or each of several that were put together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prologue_bench.errors import UserError, nearest, shortened


def remarks(results: Mapping[str, Any]) -> list[str]:
    """What authors say of a whole report, such as what no longer holds. Raises UserError."""
    found = results.get("remarks", [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise UserError(f"remarks of the results: found {found!r:.80}, expected a list of texts")
    return found


PROVENANCE = (
    "name",
    "title",
    "profile",
    "baseline",
    "seeds",
    "created",
    "data",
    "components",
    "software",
    "hardware",
)
"""What results say of the run that wrote them. Of several in one, each of `sources` says it, beside
its label."""


def sources(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is known of each run that results hold, under the keys of PROVENANCE and `label`."""
    found: Sequence[Mapping[str, Any]] | None = results.get("sources")
    if found is not None:
        return list(found)
    return [{"label": "", **{key: results[key] for key in PROVENANCE if key in results}}]


def source_of(results: Mapping[str, Any], variant: str) -> Mapping[str, Any]:
    """What is known of the run that a variant is of."""
    label = find_variant(results, variant).get("source", "")
    return next(source for source in sources(results) if source["label"] == label)


def find_variant(results: Mapping[str, Any], variant: str) -> Mapping[str, Any]:
    """The record of a variant. Raises UserError for an unknown one."""
    variants: dict[str, Mapping[str, Any]] = {each["name"]: each for each in results["variants"]}
    if variant not in variants:
        raise UserError(
            f"these results have no variant {shortened(variant)!r}; "
            f"{nearest(variant, list(variants))}"
        )
    return variants[variant]


def one_data_set(results: Mapping[str, Any]) -> bool:
    """Whether all variants are of the same images."""
    return len({source["data"]["fingerprint"] for source in sources(results)}) == 1


def most_seeds(results: Mapping[str, Any]) -> list[int]:
    """The training seeds of the run with the most: no mean is over more."""
    return max((list(source["seeds"]) for source in sources(results)), key=len)


def own_name(results: Mapping[str, Any], variant: str) -> str:
    """The name of a variant in the run that it is of."""
    return variant.removeprefix(f"{source_of(results, variant)['label']}: ")
