"""What files of this project hold, field by field: results.json, baselines, exports and benchmarks.

A field without a default has been there since the first version of the format. One with a default
came later, or is left out where there is nothing to say; what it then stands for is the default. A
format gets another number only when files of the old one can no longer be read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from attrs import field, frozen

from prologue_bench.results.checking import Between, Filled

RESULTS_SCHEMA = 1
EXPORT_FORMAT = 1

Name = Annotated[str, Filled()]
Count = Annotated[int, Between(0, 2**53)]
Whole = Annotated[int, Between(1, 2**53)]
Seed = Annotated[int, Between(0, 2**64 - 1)]
Number = float
"""Finite, as everything that is read."""
Positive = Annotated[float, Between(1e-12)]
NotNegative = Annotated[float, Between(0)]
Seconds = Annotated[float, Between(0, 1e12)]
Side = Annotated[int, Between(1, 2**15)]
"""Pixels of an image's height or width."""
Channels = Annotated[int, Between(1, 64)]
Scalar = str | int | float | bool | None
Settings = Mapping[str, Any]
"""Of whatever component: checked when the component is made from them."""


@frozen(kw_only=True)
class ProtocolRecord:
    """How a number was measured."""

    name: str
    details: Mapping[str, Scalar]
    published: bool = False
    note: str = ""
    counterpart: str | None = None
    """None in results of versions that did not yet compare protocols with published ones."""


@frozen(kw_only=True)
class MeasurementRecord:
    """One number of one run. `value` is null where measuring gave no number."""

    name: Name
    title: str
    value: Number | None
    unit: str
    direction: Literal["lower", "higher", "neutral"]
    count: Count
    protocol: ProtocolRecord
    detail: bool
    half_width: NotNegative | None = None
    positions: tuple[Number, ...] = ()
    positions_of: str = ""
    warning: str = ""
    against: Mapping[str, str] = field(factory=dict)
    artifact: str = ""


@frozen(kw_only=True)
class StageNumbers:
    """One stage of a run, of which only what was counted is asked."""

    stage: Name
    flops: NotNegative | None = None
    """None where it is not known."""


@frozen(kw_only=True)
class StageRecord(StageNumbers):
    """One stage of a run, and the key of its artifact."""

    key: Name
    seconds: Seconds | None
    finished: str | None
    machine: str | None
    git: str | None


@frozen(kw_only=True)
class SearchPoint:
    """What one point of the sampling settings came to."""

    point: Mapping[str, Any]
    metric: str
    value: Number


@frozen(kw_only=True)
class SearchRecord:
    """A search of the sampling settings."""

    points: tuple[SearchPoint, ...]
    chosen: Mapping[str, Any]


@frozen(kw_only=True)
class Origin:
    """From which earlier results a run was taken."""

    results: str
    created: str


@frozen(kw_only=True)
class RunNumbers:
    """The numbers of one variant with one training seed and one sampling seed."""

    variant: str
    seed: Seed
    sampling_seed: Seed = 0
    measurements: tuple[MeasurementRecord, ...]
    stages: tuple[StageNumbers, ...] = ()
    curves: Mapping[str, Mapping[str, tuple[Number | None, ...]]] = field(factory=dict)
    search: SearchRecord | None = None


@frozen(kw_only=True)
class RunRecord(RunNumbers):
    """One run with all that is known of it."""

    failures: Mapping[str, str]
    left_out: Mapping[str, str] = field(factory=dict)
    unfinished: bool = False
    stages: tuple[StageRecord, ...]
    curves: Mapping[str, Mapping[str, tuple[Number | None, ...]]]
    reused: Origin | None = None


@frozen(kw_only=True)
class SegmentRecord:
    """A run of tokens of one kind."""

    name: str
    length: Whole
    vocabulary: Whole
    grid: tuple[Whole, Whole] | None = None


@frozen(kw_only=True)
class ComponentSettings:
    """A component by name; its settings stand beside it."""

    use: Name


@frozen(kw_only=True)
class VariantSettings:
    """All settings of a variant, by section."""

    tokenizer: ComponentSettings
    tokenizer_training: Settings
    generator: ComponentSettings
    generator_training: Settings
    sampling: Settings


@frozen(kw_only=True)
class VariantName:
    """A variant, of which nothing but its name is asked."""

    name: Name


@frozen(kw_only=True)
class VariantRecord(VariantName):
    """A variant with its tokens and settings.

    `source` is the label of one of the results' sources.
    """

    values: Mapping[str, Any]
    layout: tuple[SegmentRecord, ...]
    """Empty of a tokenizer without ids."""
    settings: VariantSettings
    source: str | None = None


@frozen(kw_only=True)
class DataRecord:
    """The data that a run is of."""

    name: str
    settings: Settings = field(factory=dict)
    fingerprint: str
    train: Count
    test: Count
    shape: tuple[Channels, Side, Side]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    card: Mapping[str, Scalar]


@frozen(kw_only=True)
class ComponentRecord:
    """A component in use."""

    kind: str
    name: str
    version: int
    origin: str


@frozen(kw_only=True)
class HardwareRecord:
    """Where a run was made."""

    machine: str
    processor: str
    system: str


@frozen(kw_only=True)
class SourceRecord:
    """What is known of one of several runs of an ablation that results hold."""

    label: str
    name: str
    title: str
    profile: str
    baseline: str | None
    seeds: Annotated[tuple[Seed, ...], Filled()]
    created: str
    data: DataRecord
    components: tuple[ComponentRecord, ...] = ()
    software: Mapping[str, Scalar]
    hardware: HardwareRecord


@frozen(kw_only=True)
class ReferenceRow:
    """One published result; a value for each column of its card."""

    title: str
    values: tuple[Scalar, ...]


@frozen(kw_only=True)
class ReferenceRecord:
    """Published results beside which these are shown."""

    name: str
    summary: str
    source: str
    protocol: str
    columns: tuple[str, ...]
    rows: Mapping[str, ReferenceRow]


@frozen(kw_only=True)
class Speed:
    """One benchmark: a ratio to the calibration kernel, and the spread of that."""

    ratio: Positive
    spread: NotNegative


@frozen(kw_only=True)
class Numbers:
    """What `compare` and `regress` ask of results; a baseline is this, with its benchmarks."""

    schema: int
    name: Name
    title: str
    baseline: str | None
    seeds: Annotated[tuple[Seed, ...], Filled()]
    sampling_seeds: tuple[Seed, ...] = ()
    varied: tuple[str, ...]
    created: str
    variants: Annotated[tuple[VariantName, ...], Filled()]
    runs: Annotated[tuple[RunNumbers, ...], Filled()]
    software: Mapping[str, Scalar] = field(factory=dict)
    benchmarks: Mapping[str, Speed] = field(factory=dict)
    note: str = ""


@frozen(kw_only=True)
class Results(Numbers):
    """results.json.

    Where it has `sources`, those tell what else the fields of SourceRecord tell.
    """

    description: str
    variants: Annotated[tuple[VariantRecord, ...], Filled()]
    runs: Annotated[tuple[RunRecord, ...], Filled()]
    references: tuple[ReferenceRecord, ...] = ()
    remarks: tuple[str, ...] = ()
    sources: Annotated[tuple[SourceRecord, ...], Filled()] | None = None


@frozen(kw_only=True)
class OwnSource:
    """What results without `sources` tell of their one run."""

    profile: str
    data: DataRecord
    components: tuple[ComponentRecord, ...] = ()
    software: Mapping[str, Scalar]
    hardware: HardwareRecord


@frozen(kw_only=True)
class Versions:
    """Of the components that an export is made of."""

    tokenizer: int
    generator: int


@frozen(kw_only=True)
class ImagesRecord:
    """What an export draws."""

    channels: Channels
    height: Side
    width: Side
    class_names: tuple[str, ...]


@frozen(kw_only=True)
class AblationRecord:
    """The ablation that an export is from."""

    name: str
    title: str
    created: str


@frozen(kw_only=True)
class Checksums:
    """SHA-256 of the weights of an export."""

    tokenizer: str
    generator: str


@frozen(kw_only=True)
class Export:
    """config.json of an export."""

    format: int
    variant: str
    training_seed: Seed
    profile: str
    tokenizer: ComponentSettings
    generator: ComponentSettings
    sampling: Settings
    versions: Versions
    images: ImagesRecord
    ablation: AblationRecord
    data: DataRecord
    measurements: tuple[MeasurementRecord, ...]
    stages: tuple[StageRecord, ...]
    software: Mapping[str, Scalar]
    weights: Checksums | None = None
    """None in exports of versions that did not write it."""


@frozen(kw_only=True)
class BenchmarkTimes:
    """What pytest-benchmark tells of the rounds of one benchmark, in seconds."""

    min: Positive
    median: Positive
    iqr: NotNegative


@frozen(kw_only=True)
class BenchmarkExtra:
    """What benchmarks/conftest.py adds."""

    calibration_seconds: Positive


@frozen(kw_only=True)
class Benchmark:
    """One benchmark."""

    name: Name
    stats: BenchmarkTimes
    extra_info: BenchmarkExtra


@frozen(kw_only=True)
class BenchmarkFile:
    """The JSON that pytest-benchmark writes."""

    benchmarks: tuple[Benchmark, ...]
