"""What this project's files hold, field by field: results.json, baselines, exports and benchmarks.

These classes are the format. Files are checked against them (`results.checking`) and written from
them (`results.plain`), their fields in the order in which they stand here.

A field without a default has been there since the first version of the format. One with a default
came later, or has nothing to say in some files: then it stands for the default. `omitted` is for
what is not even written then. A format gets another number only when files of the old one can no
longer be read as they are; what else differs in older files, `results.migration` puts right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from attrs import field, frozen

from prologue_bench.contracts import stage_kinds
from prologue_bench.results.checking import Between, Filled, Others
from prologue_bench.stats.looks import MOST_SEEDS

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
Direction = Literal["lower", "higher", "neutral"]
Scalar = str | int | float | bool | None
Settings = Mapping[str, Any]
"""Of whatever component: checked when the component is made from them."""
Columns = Mapping[str, tuple[Number | None, ...]]
"""Of a training's curves, such as "step" and "loss_ce"; None where a step has no such number."""
Curves = Mapping[str, Columns]
"""By stage."""
OMITTED = "omitted"
"""Under which the metadata of a field say that its default is not written."""


def omitted(default: Any = None) -> Any:
    """A field that is left out of the file where it has its default, or is empty."""
    return field(default=default, metadata={OMITTED: True})


@frozen(kw_only=True)
class ProtocolRecord:
    """How a number was measured; the fields are those of `contracts.Procedure`."""

    name: str
    details: Mapping[str, Scalar]
    published: bool = False
    note: str = ""
    counterpart: str = ""


@frozen(kw_only=True)
class MeasurementRecord:
    """One number of one run. `value` is None where measuring gave none, for a `reason`.

    `artifact` is the key of the stage that measured it; empty in older results. The other fields
    are those of `contracts.Measurement`.
    """

    name: Name
    title: str
    value: Number | None
    unit: str
    direction: Direction
    count: Count
    protocol: ProtocolRecord
    detail: bool
    half_width: NotNegative | None = None
    positions: tuple[Number, ...] = ()
    positions_of: str = ""
    warning: str = ""
    against: Mapping[str, str] = field(factory=dict)
    artifact: str = ""
    reason: str = omitted("")


@frozen(kw_only=True)
class StageNumbers:
    """One stage of a run, of which only what was counted is asked."""

    stage: Name
    flops: NotNegative | None = None
    """None where it is not known."""


MEASURE = f"{stage_kinds.MEASURE} "
"""Begins the names of stages that measure, before that of the metric."""


@frozen(kw_only=True)
class StageRecord(StageNumbers):
    """One stage of a run, and the key of its artifact."""

    stage: Name
    key: Name
    finished: str | None
    machine: str | None
    seconds: Seconds | None
    flops: NotNegative | None = None
    git: str | None


@frozen(kw_only=True)
class SearchPoint:
    """What one point of the sampling settings came to."""

    point: Settings
    metric: str
    value: Number
    direction: Direction | None = omitted()


@frozen(kw_only=True)
class SearchRecord:
    """A search of the sampling settings."""

    points: tuple[SearchPoint, ...]
    chosen: Settings


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
    curves: Curves = field(factory=dict)
    search: SearchRecord | None = None

    @property
    def place(self) -> tuple[str, int, int]:
        """Variant, training seed and sampling seed, of which results hold one run."""
        return self.variant, self.seed, self.sampling_seed

    @property
    def seeds_text(self) -> str:
        """Its seeds as messages name them; the sampling seed where it is not the first."""
        sampling = f", sampling seed {self.sampling_seed}" if self.sampling_seed else ""
        return f"seed {self.seed}{sampling}"


@frozen(kw_only=True)
class RunRecord(RunNumbers):
    """One run with all that is known of it."""

    variant: str
    seed: Seed
    sampling_seed: Seed = 0
    failures: Mapping[str, str]
    left_out: Mapping[str, str] = field(factory=dict)
    unfinished: bool = False
    measurements: tuple[MeasurementRecord, ...]
    stages: tuple[StageRecord, ...]
    curves: Curves
    inside: Columns = omitted({})
    """What was seen inside the tokenizer's training, by the names in `results.inside`."""
    search: SearchRecord | None = None
    reused: Origin | None = omitted()


@frozen(kw_only=True)
class SegmentRecord:
    """A run of tokens of one kind."""

    name: str
    length: Whole
    vocabulary: Whole
    grid: tuple[Whole, Whole] | None = None


@frozen(kw_only=True)
class ComponentSettings:
    """A component by name; in files its settings stand beside it."""

    use: Name
    settings: Annotated[Settings, Others()] = field(factory=dict)


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
    """A variant, of which nothing but its name and its tokens are asked."""

    name: Name
    layout: tuple[SegmentRecord, ...] = ()
    """Empty of a tokenizer without ids."""


@frozen(kw_only=True)
class VariantRecord(VariantName):
    """A variant with its tokens and settings.

    `source` is the label of one of the results' sources.
    """

    name: Name
    values: Settings
    layout: tuple[SegmentRecord, ...]
    parameters: Mapping[str, Count] = omitted({})
    """Of the "tokenizer" and the "generator"; nothing in results of versions that did not count."""
    settings: VariantSettings
    source: str | None = omitted()


@frozen(kw_only=True)
class DataName:
    """The data that a run is of, of which nothing but what tells them from others is asked."""

    name: str
    fingerprint: str


@frozen(kw_only=True)
class DataRecord(DataName):
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
class SourceName:
    """The data of one of several runs of an ablation that results hold."""

    label: str
    data: DataName


@frozen(kw_only=True)
class SourceRecord(SourceName):
    """What is known of one of several runs of an ablation that results hold.

    The label is empty where results hold one.
    """

    label: str
    name: str
    title: str
    profile: str
    baseline: str | None
    seeds: Annotated[tuple[Seed, ...], Filled()]
    created: str
    data: DataRecord
    components: tuple[ComponentRecord, ...] = ()
    overrides: tuple[str, ...] = omitted(())
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
class LookRecord:
    """A look at the differences of a metric: at so many training seeds, and who was undecided.

    `level` is the error of one difference's interval, None before the first pairs.
    """

    seeds: Whole
    level: Annotated[float, Between(0, 1)] | None
    undecided: tuple[str, ...]


@frozen(kw_only=True)
class AddedSeeds:
    """How training seeds were added until a metric was decided: `run --until-decided`.

    The first look was at `first` pairs of seeds, and none would have been at more than `most`.
    `margin` is the share of the baseline within which a difference counts as none. `source` is the
    label of one of the results' sources.
    """

    metric: Name
    source: str = omitted("")
    first: Annotated[int, Between(2, MOST_SEEDS)]
    most: Annotated[int, Between(2, MOST_SEEDS)]
    margin: NotNegative
    looks: tuple[LookRecord, ...]


@frozen(kw_only=True)
class RemoteRecord:
    """A store elsewhere that has artifacts of the runs."""

    url: Name
    artifacts: Mapping[str, str]
    """By key, the SHA-256 of what each holds; see `storage.artifacts.contents_of`."""


@frozen(kw_only=True)
class ExtractRecord:
    """That results are an extract of a report's: fewer measurements, and no curves.

    `of` is the SHA-256 of the results.json that it was made from, `contents` that of the extract
    itself; see `results.integrity.contents_of`.
    """

    of: str
    contents: str


@frozen(kw_only=True)
class Speed:
    """One benchmark: a ratio to the calibration kernel, and the spread of that."""

    ratio: Positive
    spread: NotNegative


@frozen(kw_only=True)
class Numbers:
    """What `compare` and `regress` ask of results and of baselines.

    `equivalence_margin` is the share of the baseline within which a difference counts as none;
    None in results of versions that stated it only where seeds were added. `primary` is the
    measurement that decides which variant wins, `leaderboard` those that are shown beside it; see
    `reporting.headline` for what stands in where they are empty, as in earlier results.
    """

    schema: int = RESULTS_SCHEMA
    name: Name
    title: str
    profile: str | None = omitted()
    baseline: str | None
    seeds: Annotated[tuple[Seed, ...], Filled()]
    sampling_seeds: tuple[Seed, ...] = ()
    varied: tuple[str, ...]
    created: str
    data: DataName | None = omitted()
    variants: Annotated[tuple[VariantName, ...], Filled()]
    runs: Annotated[tuple[RunNumbers, ...], Filled()]
    software: Mapping[str, Scalar] = omitted({})
    sources: Annotated[tuple[SourceName, ...], Filled()] | None = omitted()
    added_seeds: tuple[AddedSeeds, ...] = omitted(())
    equivalence_margin: NotNegative | None = omitted()
    primary: str = omitted("")
    leaderboard: tuple[str, ...] = omitted(())
    benchmarks: Mapping[str, Speed] = omitted({})
    note: str = omitted("")
    artifacts: Mapping[str, str] | None = omitted()
    """As in `Baseline`; None in results, which are told from a baseline by it."""


@frozen(kw_only=True)
class Results(Numbers):
    """results.json.

    Those of one run of an ablation say themselves what a SourceRecord says: they have `profile`,
    `data`, `components`, `software` and `hardware`. Those that were put together have `sources` in
    their place. Ask `origins`, which is the same for both.
    """

    schema: int = RESULTS_SCHEMA
    name: Name
    title: str
    description: str
    profile: str | None = omitted()
    baseline: str | None
    seeds: Annotated[tuple[Seed, ...], Filled()]
    sampling_seeds: tuple[Seed, ...] = ()
    varied: tuple[str, ...]
    created: str
    data: DataRecord | None = omitted()
    variants: Annotated[tuple[VariantRecord, ...], Filled()]
    runs: Annotated[tuple[RunRecord, ...], Filled()]
    components: tuple[ComponentRecord, ...] = omitted(())
    references: tuple[ReferenceRecord, ...] = ()
    software: Mapping[str, Scalar] = omitted({})
    hardware: HardwareRecord | None = omitted()
    remarks: tuple[str, ...] = omitted(())
    """What authors say of the whole report, such as what no longer holds."""
    sources: Annotated[tuple[SourceRecord, ...], Filled()] | None = omitted()
    added_seeds: tuple[AddedSeeds, ...] = omitted(())
    equivalence_margin: NotNegative | None = omitted()
    primary: str = omitted("")
    leaderboard: tuple[str, ...] = omitted(())
    overrides: tuple[str, ...] = omitted(())
    """What --set put over the ablation's file, such as "data=shapes"."""
    remotes: tuple[RemoteRecord, ...] = omitted(())
    """Where `sample`, `demo` and `export` find artifacts that the user's store lacks."""
    files: Mapping[str, str] | None = omitted()
    """SHA-256 of the report's other files, by name. None in reports that list none."""
    extract: ExtractRecord | None = omitted()
    """None in a report."""
    nulls: Mapping[str, str] = omitted({})
    """By place, what stood where the file has null, since JSON has no such number."""
    others: Annotated[Settings, Others()] = field(factory=dict)
    """What authors and later versions add: it is kept as it was found."""
    benchmarks: Mapping[str, Speed] = omitted({})
    note: str = omitted("")

    @property
    def origins(self) -> tuple[SourceRecord, ...]:
        """What is known of each run of an ablation that the results hold."""
        if self.sources is not None:
            return self.sources
        assert self.profile is not None, "documents are checked on reading"
        assert self.data is not None
        assert self.hardware is not None
        return (
            SourceRecord(
                label="",
                name=self.name,
                title=self.title,
                profile=self.profile,
                baseline=self.baseline,
                seeds=self.seeds,
                created=self.created,
                data=self.data,
                components=self.components,
                overrides=self.overrides,
                software=self.software,
                hardware=self.hardware,
            ),
        )


@frozen(kw_only=True)
class BaselineRun:
    """The numbers of one run in a baseline."""

    variant: str
    seed: Seed
    sampling_seed: Seed
    measurements: tuple[MeasurementRecord, ...]


@frozen(kw_only=True)
class Baseline:
    """A baseline as it is written. It is read as Numbers, which ask less of it."""

    schema: int
    name: Name
    title: str
    profile: str | None = omitted()
    baseline: str | None
    seeds: tuple[Seed, ...]
    sampling_seeds: tuple[Seed, ...]
    varied: tuple[str, ...]
    variants: tuple[VariantRecord, ...]
    sources: tuple[SourceRecord, ...] | None = omitted()
    data: DataRecord | None = omitted()
    software: Mapping[str, Scalar] = omitted({})
    hardware: HardwareRecord | None = omitted()
    created: str
    added_seeds: tuple[AddedSeeds, ...] = omitted(())
    equivalence_margin: NotNegative | None = omitted()
    primary: str = omitted("")
    leaderboard: tuple[str, ...] = omitted(())
    runs: tuple[BaselineRun, ...]
    artifacts: Mapping[str, str]
    """Keys by variant, seeds and stage."""
    benchmarks: Mapping[str, Speed]
    note: str


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
class Precisions:
    """In which precision models were trained, and compute."""

    tokenizer: Literal["float32", "bfloat16"] = "float32"
    generator: Literal["float32", "bfloat16"] = "float32"


@frozen(kw_only=True)
class RunSettings:
    """All that the models of a run, and samples from them, are made from but the weights."""

    variant: str
    training_seed: Seed
    profile: str
    tokenizer: ComponentSettings
    generator: ComponentSettings
    sampling: Settings
    precisions: Precisions = Precisions()


@frozen(kw_only=True)
class Export(RunSettings):
    """config.json of an export."""

    format: int = EXPORT_FORMAT
    variant: str
    training_seed: Seed
    profile: str
    tokenizer: ComponentSettings
    generator: ComponentSettings
    sampling: Settings
    precisions: Precisions = omitted(Precisions())
    """Float32 in exports of versions that did not write them."""
    versions: Versions
    components: tuple[ComponentRecord, ...] = omitted(())
    """Tokenizer and generator, with where they come from. Empty in exports of versions that did not
    write them."""
    images: ImagesRecord
    ablation: AblationRecord
    data: DataRecord
    measurements: tuple[MeasurementRecord, ...]
    stages: tuple[StageRecord, ...]
    software: Mapping[str, Scalar]
    weights: Checksums | None = omitted()
    """None in exports of versions that did not write it."""
    files: Mapping[str, str] | None = omitted()
    """SHA-256 of the other files, by name. None in exports of versions that listed none."""


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
