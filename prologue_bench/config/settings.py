"""The settings of training, sampling and evaluation that the framework itself reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import field, frozen, validators

from prologue_bench.config.structure import Choice
from prologue_bench.contracts.external import FILE, Identity, as_read, files_within
from prologue_bench.contracts.settings import HOW_NOT_WHAT, default_of, unread
from prologue_bench.numbers import LARGEST_INTEGER

_positive: Any = validators.gt(0)
_not_negative: Any = validators.ge(0)


def _fraction(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name!r} must be from 0 to 1: {value}")


def _betas(instance: object, attribute: attrs.Attribute[Any], value: tuple[float, float]) -> None:
    if not all(0 <= beta < 1 for beta in value):
        raise ValueError(f"{attribute.name!r} must be from 0 to below 1: {list(value)}")


LARGEST_BATCH = 10**6
"""Nothing holds the activations of more images at a time."""
MOST_SAMPLES = 10**8
MOST_SCALE = 1e4
"""Logits that are multiplied by it are still finite numbers of float32."""
HALF_LIVES = (0.05, 1e12)
"""Outside, the share that a moving average gives to a step is 0 or 1 in float64."""


@frozen(kw_only=True)
class Optimisation:
    """AdamW with warm-up, flat stretch and linear fall to `final_fraction` of the learning rate."""

    learning_rate: float = field(default=1e-4, validator=_positive)
    final_fraction: float = field(default=0.1, validator=_fraction)
    warmup_steps: int = field(default=0, validator=_not_negative)
    flat_steps: int = field(default=0, validator=_not_negative)
    betas: tuple[float, float] = field(default=(0.9, 0.99), validator=_betas)
    weight_decay: float = field(default=0.0, validator=_not_negative)
    clip_norm: float = field(default=0.0, validator=_not_negative)
    """Largest gradient norm; 0 switches clipping off."""


@frozen(kw_only=True)
class Training:
    """What both trainings have in common."""

    steps: int = field(default=1000, validator=_positive)
    batch_size: int = field(default=64, validator=[_positive, validators.le(LARGEST_BATCH)])
    ema_half_life_steps: float = field(
        default=1000.0, validator=[validators.ge(HALF_LIVES[0]), validators.le(HALF_LIVES[1])]
    )
    """Steps after which a weight's share in the moving average has halved."""
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool | Literal["auto"] = "auto"
    """Use torch.compile where a compiler is found; "auto": where it pays for itself."""
    checkpoint_steps: int = field(default=500, validator=_positive, metadata=HOW_NOT_WHAT)
    accumulate: int = field(
        default=1, validator=[_positive, validators.le(LARGEST_BATCH)], metadata=HOW_NOT_WHAT
    )
    """Parts that a batch is cut into, so that a large one fits into memory."""
    workers: int = field(
        default=0, validator=[_not_negative, validators.le(1024)], metadata=HOW_NOT_WHAT
    )
    """Processes that read images, for data that is decoded when it is asked for."""
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = field(
        default=(), metadata=HOW_NOT_WHAT
    )
    """Where learning curves go while the training runs, besides the report; the extra `trackers`
    installs them."""
    tracking_folder: str = field(default="runs", metadata=HOW_NOT_WHAT)
    """Folder in which each run has its own for the trackers."""
    imported: str = ""
    """Name of an imported checkpoint that takes the place of this training; see `prologue-bench
    import-checkpoint`."""


@frozen(kw_only=True)
class TokenizerTraining(Training):
    """Stage 1: the tokenizer, jointly with a throw-away prior where the tokenizer asks for one."""

    l1_weight: float = field(default=1.0, validator=_not_negative)
    l2_weight: float = field(default=0.0, validator=_not_negative)
    autoencoder: Optimisation = Optimisation(betas=(0.0, 0.99))
    prior: Choice | None = None
    """The generator that serves as the joint prior; by default the one that declares it."""
    prior_optimisation: Optimisation = Optimisation(betas=(0.9, 0.99), weight_decay=0.03)
    prior_labels: bool = False
    """Give the joint prior the images' labels, so that it can serve as the generator
    (`generator_training.joint`)."""
    label_dropout: float = field(default=0.1, validator=_fraction)
    """Share of images whose label is replaced by "none", where the prior gets labels."""
    losses: tuple[Choice, ...] = ()
    """Losses of the reconstruction beyond L1 and L2, such as `lpips` and `patchgan`."""
    loss_optimisation: Optimisation = Optimisation(betas=(0.0, 0.99), weight_decay=1e-4)
    """For losses that learn themselves, such as a discriminator."""
    inspect_steps: int = field(default=50, validator=_not_negative, metadata=HOW_NOT_WHAT)
    """Steps between two looks inside the training, at least; 0 takes none. See
    `training.inside`."""
    foundation_imported: str = ""
    """Name of an imported tokenizer for a tokenizer that builds on another; empty trains that one
    first."""


@frozen(kw_only=True)
class GeneratorTraining(Training):
    """Stage 2: the class-conditional generator on cached tokens."""

    optimisation: Optimisation = Optimisation(
        learning_rate=4e-4,
        betas=(0.9, 0.96),
        weight_decay=0.03,
        clip_norm=1.0,
        final_fraction=0.025,
    )
    label_dropout: float = field(default=0.1, validator=_fraction)
    """Share of images whose label is replaced by "none"."""
    joint: bool = False
    """Take the tokenizer's joint prior as the generator, and train none ("OneStage")."""
    start: Literal["new", "joint-prior"] = "new"
    """Initial weights: new ones, or those of the joint prior at the end of the tokenizer's training
    (its moving average), which must be of the generator's kind and size."""


@frozen(kw_only=True)
class Guidance:
    """Classifier-free guidance (Ho and Salimans 2022).

    Logits are s * conditional + (1 - s) * unconditional. The scale s follows the progress t, from 0
    to 1, through a segment or through all tokens: constant: scale; linear: start + (scale - start)
    * t^power; cosine: start + (scale - start) * (1 - cos(pi * t^power)) / 2.
    """

    schedule: Literal["constant", "linear", "cosine"] = "constant"
    scale: float = field(default=1.0, validator=[_not_negative, validators.le(MOST_SCALE)])
    start: float = field(default=1.0, validator=[_not_negative, validators.le(MOST_SCALE)])
    power: float = field(default=1.0, validator=_positive)

    def as_read(self) -> Guidance:
        """A constant scale has neither start nor power."""
        return unread(self, "start", "power") if self.schedule == "constant" else self

    def at(self, progress: float) -> float:
        """The scale at a progress from 0 to 1."""
        if self.schedule == "constant":
            return self.scale
        done: float = progress**self.power
        if self.schedule == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.scale - self.start) * done


ALL_TOKENS = "all"
"""Stands in `guidance` for one schedule over all tokens."""


def _guidance(
    instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, Guidance]
) -> None:
    if ALL_TOKENS in value and len(value) > 1:
        raise ValueError(
            f"'guidance' must have either {ALL_TOKENS!r} or segments: {', '.join(value)}"
        )


COLDEST = 1e-30
"""Logits divided by smaller temperatures are not finite in float32."""


def _temperature(
    instance: object, attribute: attrs.Attribute[Any], value: float | Mapping[str, float]
) -> None:
    for number in [value] if isinstance(value, float) else value.values():
        if number <= 0:
            raise ValueError(f"'temperature' must be > 0: {number}")
        if number < COLDEST:
            raise ValueError(f"'temperature' must be at least {COLDEST:g}: {number}")


MOST_POINTS = 1000
"""Each combination is a set of samples that is drawn and measured."""
UNSEARCHED = ("samples", "seed", "batch_size", "search")
"""Settings of sampling that are the same for all: how many are drawn, and from which noise."""


def _grid(
    instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, tuple[Any, ...]]
) -> None:
    if not value or not all(value.values()):
        raise ValueError("'grid' must have at least one setting with at least one value")
    if fixed := sorted(name for name in value if name.partition(".")[0] in UNSEARCHED):
        raise ValueError(f"'grid' must have none of {', '.join(UNSEARCHED)}: {', '.join(fixed)}")
    if (points := math.prod(map(len, value.values()))) > MOST_POINTS:
        raise ValueError(f"'grid' must have at most {MOST_POINTS} combinations: {points}")


@frozen(kw_only=True)
class Search:
    """Equal effort for all: each variant's sampling settings are chosen from the same grid.

    They are chosen on training images that no variant's training sees, so neither trained nor
    tested on.
    """

    grid: Mapping[str, tuple[Any, ...]] = field(validator=_grid)
    """Settings of sampling, by dotted name, with the values to try; all combinations are."""
    metric: Choice | None = None
    """What decides: the first number of this metric of samples, by its better direction. By default
    the metric that declares it."""
    samples: int = field(default=2000, validator=[_positive, validators.le(MOST_SAMPLES)])
    """How many are drawn for each combination."""
    validation_images: int = field(default=5000, validator=_positive)
    """Training images, equally many of every class, that all variants' trainings leave out, and
    that stand in for the test images."""

    def points(self) -> list[dict[str, Any]]:
        """The combinations, in order."""
        return [
            dict(zip(self.grid, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]


@frozen(kw_only=True)
class Sampling:
    """How images are drawn from the generator, the classes in turn.

    The classes have equally many samples if `samples` is a multiple of the number of classes;
    otherwise the first classes have one more.

    `temperature` is one number, or one per segment; `default` is for the segments not named.
    """

    samples: int = field(default=1000, validator=[_positive, validators.le(MOST_SAMPLES)])
    temperature: float | Mapping[str, float] = field(default=1.0, validator=_temperature)
    top_k: int = field(default=0, validator=_not_negative)
    """Draw from the k likeliest tokens; 0 draws from all."""
    top_p: float = field(default=1.0, validator=[_positive, _fraction])
    """Draw from the likeliest tokens that hold this share of the probability."""
    guidance: Mapping[str, Guidance] = field(factory=dict, validator=_guidance)
    """One schedule per segment, by name (`default` for the segments not named), or one over `all`
    tokens."""
    seed: int = field(default=0, validator=[_not_negative, validators.le(LARGEST_INTEGER)])
    batch_size: int = field(default=250, validator=[_positive, validators.le(LARGEST_BATCH)])
    search: Search | None = None
    """Choose some of these settings for each variant anew."""

    def temperature_of(self, segment: str) -> float:
        """The temperature of one segment."""
        if isinstance(self.temperature, float):
            return self.temperature
        return self.temperature.get(segment, self.temperature.get("default", 1.0))

    def guidance_of(self, segment: str) -> Guidance:
        """The guidance of one segment, where there is none over all tokens."""
        return self.guidance.get(segment, self.guidance.get("default", Guidance()))

    def named_segments(self) -> set[str]:
        """The segments that temperature and guidance name."""
        names = set(self.guidance) | (
            set() if isinstance(self.temperature, float) else set(self.temperature)
        )
        return names - {"default", ALL_TOKENS}


def key_values(settings: Any) -> Any:
    """Settings as plain values for a stage's key.

    Left out are settings that only say how a stage is run, and settings at their default: so a new
    setting leaves old artifacts valid. Whoever changes a default raises the version of the
    component or stage (tests/unit/test_keys.py holds that). Files outside the project are always
    in, by what they hold, also where a default finds them (`contracts.external`).
    """
    if not attrs.has(type(settings)):
        return _plain(settings, key_values)
    settings = as_read(settings)
    values = {}
    for attribute in attrs.fields(type(settings)):
        if attribute.metadata.get("execution"):
            continue
        value = getattr(settings, attribute.name)
        identity: Identity | None = attribute.metadata.get(FILE)
        if identity is not None:
            if (held := identity(settings, value)) is not None:
                values[attribute.name] = held
        elif value != default_of(attribute):
            values[attribute.name] = key_values(value)
        elif inside := files_within(value):
            values[attribute.name] = inside
    return values


def plain_values(settings: Any) -> Any:
    """Settings as plain values that JSON and YAML can hold."""
    if attrs.has(type(settings)):
        return {
            f.name: plain_values(getattr(settings, f.name)) for f in attrs.fields(type(settings))
        }
    return _plain(settings, plain_values)


def _plain(value: Any, recurse: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): recurse(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [recurse(item) for item in value]
    return value
