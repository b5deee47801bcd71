"""Whether two variants differ in nothing but their prologues.

What a recipe gains is no merit of a prologue: how images are cut and decoded, losses, learning
rates, steps, the generator and how it is sampled must be the same on both sides.
"""

from __future__ import annotations

import attrs

from prologue_bench.config.settings import GeneratorTraining, TokenizerTraining
from prologue_bench.contracts.settings import HOW_NOT_WHAT
from prologue_bench.results.schema import Settings, VariantSettings
from prologue_plugins.tokenizers.settings import PrologueSettings, Vq2dSettings


def _names(cls: type[attrs.AttrsInstance]) -> frozenset[str]:
    return frozenset(each.name for each in attrs.fields(cls))


OF_THE_PROLOGUE = (_names(PrologueSettings) - _names(Vq2dSettings)) | {
    "straight_through_temperature",
    "visual_ce_weight",
}
"""Settings of a tokenizer that say what its prologue is, and how tokens learn from the prior."""
OF_THE_PRIOR = frozenset({"prior", "prior_optimisation", "prior_labels", "label_dropout"})
"""Settings of a tokenizer's training that a tokenizer without a prior does not read."""
HOW_IT_RUNS = frozenset(
    each.name
    for cls in (TokenizerTraining, GeneratorTraining)
    for each in attrs.fields(cls)
    if each.metadata.keys() & HOW_NOT_WHAT.keys()
)
IMPORTED = frozenset({"imported", "foundation_imported"})
"""Names of weights; nobody knows here how they were trained."""


def differ_in_prologue_alone(one: VariantSettings, other: VariantSettings) -> bool:
    """Whether all else is equal: the visual tokenizer, both trainings, generator and sampling.

    The generator of one that is trained in one stage is its prior, and has no training of its own.
    """
    is_joint = any(each.generator_training.get("joint", False) for each in (one, other))
    return (
        _alike(one.tokenizer.settings, other.tokenizer.settings, OF_THE_PROLOGUE)
        and _alike(
            one.tokenizer_training,
            other.tokenizer_training,
            OF_THE_PRIOR | HOW_IT_RUNS | IMPORTED,
        )
        and one.generator == other.generator
        and (
            is_joint
            or _alike(one.generator_training, other.generator_training, HOW_IT_RUNS | IMPORTED)
        )
        and _alike(one.sampling, other.sampling)
    )


def _alike(one: Settings, other: Settings, apart_from: frozenset[str] = frozenset()) -> bool:
    """Whether all settings that both have are equal; what only one has belongs to its kind."""
    return all(one[name] == other[name] for name in (one.keys() & other.keys()) - apart_from)
