"""The stages of the pipeline, each a pure function of its settings and of the stages before it.

A stage is a frozen value that can be sent to another process. Its key is the hash of what it reads:
its own settings, the declared versions of the components, the data's fingerprint, and the keys of
its inputs. What it does is in `work`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from attrs import Attribute, asdict, field, frozen

from prologue_bench.config.experiments import Resolved
from prologue_bench.config.search import tried
from prologue_bench.config.settings import (
    GeneratorTraining,
    Sampling,
    TokenizerTraining,
    key_values,
)
from prologue_bench.contracts import stage_kinds
from prologue_bench.contracts.components import Component
from prologue_bench.contracts.data import DataSource
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.settings import unread
from prologue_bench.texts.settings import flat_values

KEY_LENGTH = 20
IMAGES = "images.npy"
"""The file, in the artifacts of reconstructions and samples, of their images."""
MEASUREMENTS = "measurements.json"
"""The file of what one metric says."""
SEARCH = "search.json"
"""The file, in the artifact of a search, of what was tried and what was chosen."""


@frozen(kw_only=True, slots=False)
class Stage(ABC):
    """A step of the pipeline.

    `version` is raised when the same inputs would give another artifact.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def title(self) -> str:
        """As results, displays and messages name it."""
        return self.kind

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
        return self.key_now()

    def key_now(self) -> str:
        """The key as the files that the stage reads are now.

        Differs from `key` if a file has changed since.
        """
        parts = {
            "kind": self.kind,
            "version": self.version,
            "reads": self.reads(),
            "inputs": [stage.key for stage in self.inputs],
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def component_key(resolved: Resolved) -> dict[str, Any]:
    """What a component adds to a key.

    That is its name, declared version and settings, and the checksum of a plugin in one file.
    """
    resolved = resolved.kept_as
    return {**_declared(resolved), "settings": key_values(resolved.settings)}


def _declared(resolved: Resolved) -> dict[str, Any]:
    """Which component it is, with its declared version and the checksum of a plugin in one file."""
    source = {"source": resolved.component.source} if resolved.component.source else {}
    return {"name": resolved.name, "version": resolved.component.version, **source}


@frozen(kw_only=True, slots=False)
class DataRef:
    """A data source with its fingerprint at planning time."""

    resolved: Resolved
    fingerprint: str
    held_out: int = 0
    """Training images that no training sees; a search of sampling settings validates on them."""

    def key(self) -> dict[str, Any]:
        """What the data adds to a key; not where it was found."""
        # The version stands for how files become pixels and views; the fingerprint is of the
        # content.
        held_out = {"held_out": self.held_out} if self.held_out else {}
        return {**_declared(self.resolved), "fingerprint": self.fingerprint, **held_out}


@frozen(kw_only=True, slots=False)
class TrainTokenizer(Stage):
    """tokenizer.safetensors (moving average), curves.jsonl, inside.jsonl.

    With a prior, prior.safetensors too.
    """

    kind = stage_kinds.TRAIN_TOKENIZER
    version = 3
    data: DataRef
    tokenizer: Resolved
    training: TokenizerTraining
    prior: Resolved | None
    """None where the tokenizer asks for no prior, whose settings then don't count."""
    seed: int
    losses: tuple[Resolved, ...] = ()
    """Losses of the reconstruction beyond those of `training`."""
    losses_learn: bool = True
    """Whether any of the losses has parameters of its own."""
    reconstructs: bool = True
    """Whether the reconstruction is trained, so that its losses count."""
    foundation: TokenizerStage | None = None
    """The tokenizer that this one builds on."""
    images: ImageSpec | None = None
    """Of a frozen tokenizer, the images that it is made for: all of the data that its weights
    depend on."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.foundation,) if self.foundation else ()

    def reads(self) -> dict[str, Any]:
        tokenizer = component_key(self.tokenizer)
        if self.images is not None:
            return {"tokenizer": tokenizer, "images": asdict(self.images)}
        # Components are hashed resolved, with their versions, and only where they are used.
        left_out = ["prior", "losses", "foundation_imported"]
        if self.prior is None:
            left_out += ["prior_optimisation", "prior_labels"]
        if self.prior is None or not self.training.prior_labels:
            left_out.append("label_dropout")
        if not self.losses or not self.losses_learn:
            left_out.append("loss_optimisation")
        if not self.reconstructs:
            left_out += ["l1_weight", "l2_weight"]
        training = key_values(unread(self.training, *left_out))
        reads = {
            "data": self.data.key(),
            "tokenizer": tokenizer,
            "training": training,
            "prior": component_key(self.prior) if self.prior else None,
            "seed": self.seed,
        }
        if self.losses:
            reads["losses"] = [component_key(loss) for loss in self.losses]
        return reads


class Imported(Stage):
    """An artifact that no training here made; its key was given when it was imported."""

    imported: str

    def key_now(self) -> str:
        return self.imported

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return ()

    def reads(self) -> dict[str, Any]:
        return {}


@frozen(kw_only=True, slots=False)
class ImportedTokenizer(Imported):
    """As `TrainTokenizer`, without curves."""

    kind = stage_kinds.IMPORTED_TOKENIZER
    data: DataRef
    tokenizer: Resolved
    imported: str


TokenizerStage = TrainTokenizer | ImportedTokenizer


@frozen(kw_only=True, slots=False)
class EncodeImages(Stage):
    """Ids [N * views, L] of training images and [N, L] of test images; see `pipeline.tokens`."""

    kind = stage_kinds.ENCODE
    version = 2
    tokenizer: TokenizerStage
    train: bool = True
    """Whether the training images are encoded too: not those of a frozen tokenizer of which only
    reconstructions are measured, as they would take most of the time."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokenizer,)

    def reads(self) -> dict[str, Any]:
        # A tokenizer trained here has its data in its own key.
        trained = isinstance(self.tokenizer, TrainTokenizer) and self.tokenizer.images is None
        reads = {} if trained else {"data": self.tokenizer.data.key()}
        return reads if self.train else {**reads, "splits": ["test"]}

    def count(self, data: DataSource) -> int:
        """How many images are encoded."""
        train = len(data.labels("train")) * data.views if self.train else 0
        return train + len(data.labels("test"))


@frozen(kw_only=True, slots=False)
class Reconstruct(Stage):
    """images.npy: uint8 [N, C, H, W] reconstructions of the test split, in order."""

    kind = stage_kinds.RECONSTRUCT
    version = 2
    tokens: EncodeImages
    continuous: bool = False
    """Whether the tokenizer has no ids, and images are reconstructed without."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        tokenizer = self.tokens.tokenizer
        return (tokenizer,) if self.continuous else (tokenizer, self.tokens)

    def reads(self) -> dict[str, Any]:
        return {"data": self.tokens.tokenizer.data.key()} if self.continuous else {}


@frozen(kw_only=True, slots=False)
class TrainGenerator(Stage):
    """generator.safetensors (the moving average), curves.jsonl."""

    kind = stage_kinds.TRAIN_GENERATOR
    version = 3
    tokens: EncodeImages
    generator: Resolved
    training: GeneratorTraining
    seed: int

    @property
    def from_prior(self) -> bool:
        """Whether it starts from the weights of the tokenizer's joint prior."""
        return self.training.start == "joint-prior"

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokens, *((self.tokens.tokenizer,) if self.from_prior else ()))

    def reads(self) -> dict[str, Any]:
        training = key_values(self.training)
        return {
            "generator": component_key(self.generator),
            "training": training,
            "seed": self.seed,
        }


@frozen(kw_only=True, slots=False)
class TakePrior(Stage):
    """generator.safetensors: the joint prior of a tokenizer's training, as the generator."""

    kind = stage_kinds.TAKE_PRIOR
    tokens: EncodeImages
    generator: Resolved

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokens.tokenizer,)

    def reads(self) -> dict[str, Any]:
        return {}


@frozen(kw_only=True, slots=False)
class ImportedGenerator(Imported):
    """As `TrainGenerator`, without curves."""

    kind = stage_kinds.IMPORTED_GENERATOR
    tokens: EncodeImages
    generator: Resolved
    imported: str


GeneratorStage = TrainGenerator | TakePrior | ImportedGenerator


@frozen(kw_only=True, slots=False)
class SearchSampling(Stage):
    """search.json: each point of the grid with its value, and the best."""

    kind = stage_kinds.SEARCH
    version = 3
    generator: GeneratorStage
    sampling: Sampling
    metric: Resolved

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.generator.tokens.tokenizer, self.generator)

    def reads(self) -> dict[str, Any]:
        assert self.sampling.search is not None
        search = key_values(unread(self.sampling.search, "metric"))  # hashed resolved
        points = sampling_points(self.sampling)
        for point in points:
            point.pop("samples", None)  # the search has a number of its own
        # The order of the grid's keys says nothing.
        points.sort(key=lambda point: json.dumps(point, sort_keys=True))
        data = self.generator.tokens.tokenizer.data.key()
        return {
            "search": search,
            "points": points,
            "metric": component_key(self.metric),
            "data": data,
        }


@frozen(kw_only=True, slots=False)
class SampleImages(Stage):
    """images.npy: uint8 [n, C, H, W]; tokens.npy: int32 [n, L]; labels.npy: int64 [n]."""

    kind = stage_kinds.SAMPLE
    version = 3
    generator: GeneratorStage
    sampling: Sampling
    search: SearchSampling | None = None
    """Where some of the sampling settings are searched for."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        own = (self.generator.tokens.tokenizer, self.generator)
        return (*own, self.search) if self.search else own

    def reads(self) -> dict[str, Any]:
        return {"sampling": sampling_points(self.sampling)}


@frozen(kw_only=True, slots=False)
class Measure(Stage):
    """measurements.json: what one metric says of one variant."""

    kind = stage_kinds.MEASURE
    metric: Resolved
    samples: SampleImages
    reconstructions: Reconstruct
    prefixes: tuple[int, ...] = field(default=())
    """Lengths of the variants' leading segments, for metrics that compare equally many first
    tokens."""
    needs: tuple[str, ...]
    layout: TokenLayout

    @property
    def title(self) -> str:
        return f"{self.kind} {self.metric.name}"

    @property
    def tokens(self) -> EncodeImages:
        """The encoded data set."""
        return self.reconstructions.tokens

    @property
    def inputs(self) -> tuple[Stage, ...]:
        tokenizer, generator = self.tokens.tokenizer, self.samples.generator
        search = (self.samples.search,) if self.samples.search else ()
        trainings = (*tokenizer.inputs, tokenizer, generator)
        artifacts: dict[str, tuple[Stage, ...]] = {
            "reconstructions": (self.reconstructions,),
            "samples": (self.samples,),
            "tokens": (self.tokens,),
            "test_tokens": (self.tokens,),
            "generator": (generator,),
            "likelihood": (generator,),
            "attention": (generator,),
            "draw": (generator, *search),
            "tokenizer": (tokenizer,),
            "costs": tuple(
                each for each in trainings if isinstance(each, TrainTokenizer | TrainGenerator)
            ),
        }
        read = [
            stage for need, needed in artifacts.items() if need in self.needs for stage in needed
        ]
        return tuple({stage.key: stage for stage in read}.values())

    def sampling(self) -> dict[str, Any]:
        """The sampling settings that the metric is told of, by dotted name.

        All with samples, those but number and seed where it draws its own, and none where it does
        neither.
        """
        told = sampling_told(self.samples.sampling)
        if "samples" in self.needs:
            return told
        return (
            {name: told[name] for name in told if name not in ("samples", "seed")}
            if "draw" in self.needs
            else {}
        )

    def reads(self) -> dict[str, Any]:
        return {
            "metric": component_key(self.metric),
            "data": self.tokens.tokenizer.data.key(),
            "layout": asdict(self.layout, filter=_is_read),
            "sampling": self.sampling(),
            "prefixes": list(self.prefixes) if "prefixes" in self.needs else [],
        }


def _is_read(attribute: Attribute[Any], value: Any) -> bool:
    """Whether a field of a layout is in keys: a new one only where it is not at its default."""
    return attribute.name != "codebooks" or value != attribute.default


@frozen(kw_only=True, slots=False)
class PictureReconstructions(Stage):
    """originals.png and reconstructions.png: the same test images for every variant."""

    kind = stage_kinds.PICTURE_RECONSTRUCTIONS
    reconstructions: Reconstruct

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.reconstructions,)

    def reads(self) -> dict[str, Any]:
        return {"data": self.reconstructions.tokens.tokenizer.data.key()}


@frozen(kw_only=True, slots=False)
class PictureSamples(Stage):
    """samples.png; where tokens are shared, prefixes.png too: each row shares its first tokens."""

    kind = stage_kinds.PICTURE_SAMPLES
    samples: SampleImages
    shared: int
    """How many first tokens the images of a row share; 0 where there is no such picture."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.samples, *(self.samples.inputs if self.shared else ()))

    def reads(self) -> dict[str, Any]:
        return {"shared": self.shared}


@frozen(kw_only=True, slots=False)
class PictureTokens(Stage):
    """tokens.png: samples in rows that share one token of one sample, which stands first."""

    kind = stage_kinds.PICTURE_TOKENS
    samples: SampleImages
    places: tuple[int, ...]
    """Of the shared tokens among the L, one for each row but the last."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return self.samples.inputs

    def reads(self) -> dict[str, Any]:
        points = sampling_points(self.samples.sampling)
        for point in points:
            for name in ("samples", "seed", "batch_size"):
                point.pop(name, None)
        return {"places": list(self.places), "sampling": points}


@frozen(kw_only=True, slots=False)
class PictureAttention(Stage):
    """attention.png: the generator's attention in each layer, averaged over test images.

    heatmaps.png: how strongly the tokens of the image's grid attend to each of the first ones and,
    where the tokenizer shows it, how strongly these read each patch.
    """

    kind = stage_kinds.PICTURE_ATTENTION
    tokens: EncodeImages
    generator: GeneratorStage
    first: int
    """How many first tokens have heat maps; 0 where there are none to compare."""

    @property
    def inputs(self) -> tuple[Stage, ...]:
        return (self.tokens, self.generator, *((self.tokens.tokenizer,) if self.first else ()))

    def reads(self) -> dict[str, Any]:
        return {"data": self.tokens.tokenizer.data.key(), "first": self.first}


PictureStage = PictureReconstructions | PictureSamples | PictureTokens | PictureAttention


def components_of(stage: Stage) -> tuple[tuple[str, Component], ...]:
    """The components whose code a stage runs, with their kinds; what it is about comes first."""
    if isinstance(stage, Measure):
        return (("metric", stage.metric.component), *components_of(stage.samples))
    if isinstance(stage, SearchSampling):
        return (("metric", stage.metric.component), *components_of(stage.generator))
    if isinstance(stage, PictureSamples | PictureTokens):
        return components_of(stage.samples)
    if isinstance(stage, PictureAttention):
        return components_of(stage.generator)
    if isinstance(stage, PictureReconstructions):
        return components_of(stage.reconstructions)
    if isinstance(stage, SampleImages):
        return components_of(stage.generator)
    if isinstance(stage, GeneratorStage):
        return (("generator", stage.generator.component), *components_of(stage.tokens.tokenizer))
    if isinstance(stage, EncodeImages):
        return components_of(stage.tokenizer)
    if isinstance(stage, Reconstruct):
        return components_of(stage.tokens)
    if isinstance(stage, TokenizerStage):
        losses = stage.losses if isinstance(stage, TrainTokenizer) else ()
        prior = stage.prior if isinstance(stage, TrainTokenizer) else None
        return (
            ("tokenizer", stage.tokenizer.component),
            *(("loss", loss.component) for loss in losses),
            *((("generator", prior.component),) if prior else ()),
            ("data", stage.data.resolved.component),
        )
    return ()


def sampling_points(sampling: Sampling) -> list[dict[str, Any]]:
    """Sampling settings as plain values for keys, once for each point of their search."""
    return [key_values(each) for each in tried(sampling)]


def sampling_told(sampling: Sampling) -> dict[str, Any]:
    """Sampling settings by dotted name for protocols, without the values that a search replaces.

    Protocols hold single values; a list, such as a search's values of a setting, is a text there.
    """
    values = {
        name: json.dumps(value) if isinstance(value, list) else value
        for name, value in flat_values(key_values(sampling)).items()
    }
    replaced = tuple(sampling.search.grid) if sampling.search else ()
    return {
        name: value
        for name, value in values.items()
        if not any(name == each or name.startswith(f"{each}.") for each in replaced)
    }
