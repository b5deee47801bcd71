"""What an ablation comes to: one experiment per variant, training seed and sampling seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from prologue_bench.config.settings import GeneratorTraining, Sampling, TokenizerTraining
from prologue_bench.contracts.components import Component


@frozen
class Resolved:
    """A component with its checked settings."""

    component: Component
    settings: Any
    same: Resolved | None = None
    """Another component that is the same with these settings, where the settings' `same_as` names
    one."""

    @property
    def name(self) -> str:
        """The component's name."""
        return self.component.name

    @property
    def kept_as(self) -> Resolved:
        """Component and settings under which artifacts are kept, so that the same is made once."""
        return self.same or self


@frozen(kw_only=True)
class Variant:
    """One column of the comparison: its name and the settings in which it differs."""

    name: str
    values: Mapping[str, Any]
    named: frozenset[str] = frozenset()
    """The settings that stand under `variants:`; the others stand under `vary:`."""

    def place_of(self, key: str) -> str:
        """Where in the file a setting of this variant stands."""
        return f"variants.{self.name}.{key}" if key in self.named else f"vary.{key}"


@frozen(kw_only=True)
class Experiment:
    """One variant with one training seed and one sampling seed, fully resolved.

    The sampling settings are searched for, where that is asked, once for all sampling seeds, with
    `sampling.seed`.
    """

    variant: Variant
    seed: int
    sampling_seed: int
    data: Resolved
    tokenizer: Resolved
    tokenizer_training: TokenizerTraining
    prior: Resolved | None
    """None where none is named and no installed generator is the default."""
    generator: Resolved
    generator_training: GeneratorTraining
    sampling: Sampling
    metrics: tuple[Resolved, ...]
    losses: tuple[Resolved, ...] = ()
    foundation: Resolved | None = None
    search_metric: Resolved | None = None

    @property
    def name(self) -> str:
        """Variant and seed, for displays and logs."""
        return f"{self.variant.name} seed {self.seed}"
