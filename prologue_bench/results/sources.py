"""Where the variants of results come from.

That is the one run that wrote them, or each of several that were put together.
"""

from __future__ import annotations

from attrs import evolve

from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.results.schema import Numbers, Results, SourceRecord, VariantRecord


def source_of(results: Results, variant: str) -> SourceRecord:
    """What is known of the run that a variant is of."""
    label = find_variant(results, variant).source or ""
    return next(source for source in results.origins if source.label == label)


def variants_of(results: Results, source: SourceRecord) -> list[VariantRecord]:
    """The variants of one run."""
    return [each for each in results.variants if (each.source or "") == source.label]


def find_variant(results: Results, variant: str) -> VariantRecord:
    """The record of a variant. Raises UserError for an unknown one."""
    variants = {each.name: each for each in results.variants}
    if variant not in variants:
        raise UserError(
            f"these results have no variant {shortened(variant)!r}; "
            f"{nearest(variant, list(variants))}"
        )
    return variants[variant]


def with_baseline(results: Results, variant: str) -> Results:
    """The results with differences from another variant, and a remark that says so.

    Raises UserError where there is none of that name.
    """
    find_variant(results, variant)
    if variant == results.baseline:
        return results
    before = results.baseline or "none"
    remark = f"Compared with {variant}; the baseline of the ablation is {before}."
    return evolve(results, baseline=variant, remarks=(*results.remarks, remark))


def one_data_set(results: Results) -> bool:
    """Whether all variants are of the same images."""
    return len({source.data.fingerprint for source in results.origins}) == 1


def training_seeds(results: Results) -> list[int]:
    """The training seeds of the run with the most: no mean is over more."""
    return max((list(source.seeds) for source in results.origins), key=len)


def own_name(results: Results, variant: str) -> str:
    """The name of a variant in the run that it is of."""
    return variant.removeprefix(f"{source_of(results, variant).label}: ")


def other_data(one: Numbers, other: Numbers) -> str:
    """A sentence where two results are of other images; empty where they are not, or it is unknown.

    By fingerprint: names may be equal, as of two folders of images.
    """
    mine, theirs = _data_of(one), _data_of(other)
    if not mine or not theirs or mine.keys() == theirs.keys():
        return ""
    sides = (
        " and ".join(f"{name}, fingerprint {fingerprint}" for fingerprint, name in each.items())
        for each in (mine, theirs)
    )
    return f"The data differ: {' against '.join(sides)}."


def _data_of(results: Numbers) -> dict[str, str]:
    """The names of the data by fingerprint; none in results that do not say."""
    data = [results.data, *(each.data for each in results.sources or ())]
    return {each.fingerprint: each.name for each in data if each is not None}
