"""The stages of the pipeline, each a pure function of its settings and of the stages before it.

A stage is a frozen value that can be sent to another process. Its key is the hash of what it reads: its own settings,
the declared versions of the components, the data's fingerprint, and the keys of its inputs. What it does is in `work`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from attrs import field, frozen

from prologue_bench.spec.ablation import Resolved
from prologue_bench.spec.settings import GeneratorTraining, Sampling, TokenizerTraining, key_values

KEY_LENGTH = 20


@frozen(kw_only=True, slots=False)
class Stage(ABC):
    """A step of the pipeline. `version` is raised when the same inputs would give another artifact."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def inputs(self) -> tuple[Stage, ...]:
        """The stages whose artifacts this one reads."""

    @abstractmethod
    def reads(self) -> dict[str, Any]:
        """What else the artifact depends on, as plain values."""

    @cached_property
    def key(self) -> str:
        """The stage's name in the store."""
        parts = {
            "kind": self.kind,
            "version": self.version,
            "reads": self.reads(),
            "inputs": [stage.key for stage in self.inputs],
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def component_key(resolved: Resolved) -> dict[str, Any]:
    """What a component adds to a key: name, declared version and settings."""
    return {
        "name": resolved.name,
        "version": resolved.component.version,
        "settings": key_values(resolved.settings),
    }


@frozen(kw_only=True, slots=False)
class DataRef:
    """A data source with its fingerprint at planning time."""

    resolved: Resolved
    fingerprint: str

    def key(self) -> dict[str, Any]:
        """What the data adds to a key; not where it was found."""
        return {"name": self.resolved.name, "fingerprint": self.fingerprint}


@frozen(kw_only=True, slots=False)
class TrainTokenizer(Stage):
    """tokenizer.safetensors (the moving average), curves.jsonl; with a prior, prior.safetensors too."""

    kind = "train-tokenizer"
    data: DataRef
    tokenizer: Resolved
    training: TokenizerTraining
    prior: Resolved | None
    """None where the tokenizer asks for no prior, whose settings then don't count."""
    seed: int

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return ()

    def reads(self) -> dict[str, Any]:
        training = key_values(self.training)
        # The prior is hashed resolved, with its defaults, and only where there is one.
        training.pop("prior", None)
        if self.prior is None:
            training.pop("prior_optimisation", None)
        return {
            "data": self.data.key(),
            "tokenizer": component_key(self.tokenizer),
            "training": training,
            "prior": component_key(self.prior) if self.prior else None,
            "seed": self.seed,
        }


@frozen(kw_only=True, slots=False)
class EncodeImages(Stage):
    """train.npy and test.npy: int32 ids [N, L] of the data set's splits."""

    kind = "encode"
    tokenizer: TrainTokenizer

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokenizer,)

    def reads(self) -> dict[str, Any]:
        return {}


@frozen(kw_only=True, slots=False)
class Reconstruct(Stage):
    """images.npy: uint8 [N, C, H, W] reconstructions of the test split, in order."""

    kind = "reconstruct"
    tokens: EncodeImages

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokens.tokenizer, self.tokens)

    def reads(self) -> dict[str, Any]:
        return {}


@frozen(kw_only=True, slots=False)
class TrainGenerator(Stage):
    """generator.safetensors (the moving average), curves.jsonl."""

    kind = "train-generator"
    tokens: EncodeImages
    generator: Resolved
    training: GeneratorTraining
    seed: int

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokens,)

    def reads(self) -> dict[str, Any]:
        return {
            "generator": component_key(self.generator),
            "training": key_values(self.training),
            "seed": self.seed,
        }


@frozen(kw_only=True, slots=False)
class SampleImages(Stage):
    """images.npy: uint8 [n, C, H, W]; tokens.npy: int32 [n, L]; labels.npy: int64 [n]."""

    kind = "sample"
    generator: TrainGenerator
    sampling: Sampling

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.generator.tokens.tokenizer, self.generator)

    def reads(self) -> dict[str, Any]:
        return {"sampling": key_values(self.sampling)}


@frozen(kw_only=True, slots=False)
class Measure(Stage):
    """measurements.json: what one metric says of one variant."""

    kind = "measure"
    metric: Resolved
    samples: SampleImages
    reconstructions: Reconstruct
    prefixes: tuple[int, ...] = field(default=())
    """Lengths of the variants' leading segments, for metrics that compare equally many first tokens."""
    needs: tuple[str, ...]

    @property
    def tokens(self) -> EncodeImages:
        """The encoded data set."""
        return self.reconstructions.tokens

    @property
    def inputs(self) -> tuple[Stage, ...]:
        artifacts: dict[str, Stage] = {
            "reconstructions": self.reconstructions,
            "samples": self.samples,
            "tokens": self.tokens,
            "generator": self.samples.generator,
            "tokenizer": self.tokens.tokenizer,
        }
        return tuple(stage for name, stage in artifacts.items() if name in self.needs)

    def reads(self) -> dict[str, Any]:
        return {
            "metric": component_key(self.metric),
            "data": self.tokens.tokenizer.data.key(),
            "prefixes": list(self.prefixes) if "prefixes" in self.needs else [],
        }
