"""What is one and the same is made once and counted once; what is not read is not in keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest
from safetensors.torch import load_file

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.settings import Guidance, key_values
from prologue_bench.contracts import Measurement, Metric, MetricInputs, Procedure
from prologue_bench.errors import StageError
from prologue_bench.pipeline.collect import collect
from prologue_bench.pipeline.executor import execute
from prologue_bench.pipeline.models import TOKENIZER_WEIGHTS
from prologue_bench.pipeline.planner import Plan, make_plan
from prologue_bench.pipeline.stages import TrainTokenizer
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.regression.check import noise
from prologue_bench.reporting.tables import render_markdown
from prologue_bench.results.frame import measured
from prologue_bench.runs.loading import load_run
from prologue_bench.stats.differences import summarise
from prologue_bench.storage.store import Store
from prologue_bench.training.curves import read_curves
from tests.conftest import Recorder
from tests.documents import results_of

Load = Callable[..., Ablation]
BASELINES = (
    "vary={}",
    "baseline=2d",
    "variants={2d: {tokenizer: vq-2d}, none: {tokenizer: {use: prologue, prologue_tokens: 0}}, "
    "post: {tokenizer: {use: prologue-post, prologue_tokens: 2}}}",
)


def keys(plan: Plan, kind: str) -> list[str]:
    return [planned.stage.key for planned in plan.stages if planned.stage.kind == kind]


def tokenizer_key(ablation: Ablation, store: Store) -> str:
    return make_plan(ablation, Workspace(store)).pipelines[-1].tokenizer.key


def test_no_prologue_the_2d_baseline_and_post_s_foundation_are_one_training(
    load: Load, store: Store
) -> None:
    plan = make_plan(load(*BASELINES), Workspace(store))
    flat, none, post = (pipeline.tokenizer for pipeline in plan.pipelines)
    assert isinstance(post, TrainTokenizer)
    assert post.foundation is not None
    assert flat.key == none.key == post.foundation.key
    assert len(keys(plan, "train-tokenizer")) == 2
    assert len(keys(plan, "train-generator")) == 2
    assert [pipeline.experiment.tokenizer.name for pipeline in plan.pipelines] == [
        "vq-2d",
        "prologue",
        "prologue-post",
    ]


@pytest.mark.parametrize("settings", [{}, {"visual_ce_weight": 1.0}])
def test_no_prologue_trains_to_the_2d_baseline_s_weights_and_losses(
    load: Load, tmp_path: Path, settings: Mapping[str, float]
) -> None:
    """Each trained as what it was asked to be, with the code of its own component."""
    own = "".join(f", {name}: {value}" for name, value in settings.items())
    ablation = load(
        "vary={}",
        "baseline=2d",
        "tokenizer_training.steps=5",
        f"variants={{2d: {{tokenizer: {{use: vq-2d{own}}}}}, "
        f"none: {{tokenizer: {{use: prologue, prologue_tokens: 0{own}}}}}}}",
    )
    trained = []
    for experiment in ablation.experiments:
        store = Store(tmp_path / experiment.tokenizer.name)
        alone = attrs.evolve(
            experiment, tokenizer=attrs.evolve(experiment.tokenizer, same=None), metrics=()
        )
        plan = make_plan(attrs.evolve(ablation, experiments=(alone,)), Workspace(store))
        training = next(
            planned for planned in plan.stages if planned.stage.kind == "train-tokenizer"
        )
        assert isinstance(training.stage, TrainTokenizer)
        assert training.stage.tokenizer.name == experiment.tokenizer.name
        assert (training.stage.prior is not None) == bool(settings)
        outcome = execute(
            attrs.evolve(plan, stages=(training,)), Workspace(store), Recorder(), lambda: False
        )
        assert outcome.failures == {}
        artifact = store.get(training.stage.key)
        curves = [
            {k: v for k, v in point.items() if k != "seconds"}
            for point in read_curves(artifact / "curves.jsonl")
        ]
        trained.append((load_file(artifact / TOKENIZER_WEIGHTS), curves))
    (one, its_losses), (other, other_losses) = trained
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)
    assert its_losses == other_losses


def test_what_was_asked_for_is_what_the_report_shows(
    load: Load, store: Store, recorder: Recorder
) -> None:
    ablation = load(*BASELINES, "metrics=[rate]")
    plan = make_plan(ablation, Workspace(store))
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    assert outcome.failures == {}
    results, _ = collect(plan, outcome, Workspace(store))
    assert [each.settings.tokenizer.use for each in results.variants] == [
        "vq-2d",
        "prologue",
        "prologue-post",
    ]
    run = load_run(results, store, Registry.load(), "none", 0)
    trained = load_file(store.get(plan.pipelines[1].tokenizer.key) / TOKENIZER_WEIGHTS)
    assert run.tokenizer.state_dict().keys() == trained.keys()


UNREAD = [
    ("vary={}", "tokenizer.prologue_tokens=0", "tokenizer.ce_weight=9.0"),
    ("vary={}", "tokenizer.prologue_tokens=0", "tokenizer_training.prior_labels=true"),
    ("vary={}", "tokenizer.prologue_tokens=0", "tokenizer.straight_through_temperature=0.7"),
    ("vary={}", "tokenizer.prologue_tokens=2", "tokenizer_training.label_dropout=0.4"),
    (
        "vary={}",
        "tokenizer.prologue_tokens=2",
        "tokenizer_training.loss_optimisation.learning_rate=0.5",
    ),
]


@pytest.mark.parametrize("values", UNREAD, ids=lambda values: values[-1])
def test_settings_that_nothing_reads_change_no_key(
    load: Load, store: Store, values: tuple[str, ...]
) -> None:
    *base, unread = values
    assert tokenizer_key(load(*base, "baseline="), store) == tokenizer_key(
        load(*base, unread, "baseline="), store
    )


@pytest.mark.parametrize(
    ("base", "read"),
    [
        ("tokenizer.prologue_tokens=2", "tokenizer.ce_weight=9.0"),
        ("tokenizer.prologue_tokens=2", "tokenizer.straight_through_temperature=0.7"),
        ("tokenizer.prologue_tokens=2", "tokenizer.prologue_codebook=9"),
        ("tokenizer_training.prior_labels=true", "tokenizer_training.label_dropout=0.4"),
        (
            "tokenizer_training.losses=[{use: patchgan, layers: 1}]",
            "tokenizer_training.loss_optimisation.learning_rate=0.5",
        ),
        ("tokenizer.prologue_tokens=2", "tokenizer_training.l1_weight=0.5"),
    ],
)
def test_settings_that_are_read_change_keys(load: Load, store: Store, base: str, read: str) -> None:
    assert tokenizer_key(load("vary={}", base, "baseline="), store) != tokenizer_key(
        load("vary={}", base, read, "baseline="), store
    )


def test_a_shared_codebook_has_no_size_of_its_own(load: Load, store: Store) -> None:
    base = ("vary={}", "baseline=", "tokenizer.prologue_tokens=2", "tokenizer.shared_codebook=true")
    assert tokenizer_key(load(*base), store) == tokenizer_key(
        load(*base, "tokenizer.prologue_codebook=9"), store
    )


def test_losses_of_the_reconstruction_are_not_read_where_it_is_not_trained(
    load: Load, store: Store
) -> None:
    """Post's own training; its foundation reads them."""
    plan = make_plan(
        load("vary={}", "baseline=", "tokenizer={use: prologue-post, prologue_tokens: 2}"),
        Workspace(store),
    )
    post = plan.pipelines[0].tokenizer
    assert isinstance(post, TrainTokenizer)
    other = attrs.evolve(post, training=attrs.evolve(post.training, l1_weight=0.5, l2_weight=0.5))
    assert other.reads() == post.reads()


def test_a_loss_without_parameters_leaves_their_optimizer_out(
    load: Load, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    # There are no weights.
    monkeypatch.setattr("prologue_plugins.losses.perceptual.check_lpips", lambda *_: None)
    base = ("vary={}", "baseline=", "tokenizer_training.losses=[lpips]")
    other = "tokenizer_training.loss_optimisation.learning_rate=0.5"
    assert tokenizer_key(load(*base), store) == tokenizer_key(load(*base, other), store)


def test_a_constant_guidance_has_neither_start_nor_power() -> None:
    assert key_values(Guidance(scale=2.0, start=5.0, power=3.0)) == key_values(Guidance(scale=2.0))
    assert key_values(Guidance(schedule="linear", start=5.0)) != key_values(
        Guidance(schedule="linear")
    )


def test_a_setting_that_a_search_replaces_is_not_read(load: Load, store: Store) -> None:
    def sampled(*values: str) -> tuple[str, str]:
        samples = (
            make_plan(load("vary={}", "baseline=", *values), Workspace(store)).pipelines[0].samples
        )
        assert samples.search is not None
        return samples.search.key, samples.key

    grid = "sampling.search={validation_images: 8, grid: {temperature: [0.5, 1.0]}}"
    assert sampled(grid) == sampled(grid, "sampling.temperature=0.3")
    assert all(
        one != other
        for one, other in zip(sampled(grid), sampled(grid, "sampling.top_k=3"), strict=True)
    )
    # A schedule that the search sets makes settings count that the one in the file leaves unread.
    schedules = (
        "sampling.search={validation_images: 8, grid: {guidance.visual.schedule: [constant, "
        "linear]}}"
    )
    guidance = "sampling.guidance={visual: {scale: 2.0, start: %s}}"
    assert sampled(schedules, guidance % 1.0)[0] != sampled(schedules, guidance % 0.5)[0]


def measure_keys(plan: Plan) -> dict[str, str]:
    return {measure.metric.name: measure.key for measure in plan.pipelines[0].measures}


def test_sampling_is_in_the_key_of_those_metrics_alone_that_are_told_of_it(
    load: Load, store: Store
) -> None:
    metrics = (
        "vary={}",
        "baseline=",
        "tokenizer.prologue_tokens=2",
        "metrics=[rate, layout, speed, gfid, cost]",
    )

    def changed(*values: str, before: tuple[str, ...] = ()) -> set[str]:
        one, other = (
            measure_keys(make_plan(load(*metrics, *each), Workspace(store)))
            for each in (before, values)
        )
        return {name for name in one if one[name] != other[name]}

    assert changed("sampling.temperature=0.5") == {"layout", "speed", "gfid"}
    assert changed("sampling.seed=5") == changed("sampling.samples=36") == {"gfid"}
    grid = "sampling.search={validation_images: 8, grid: {temperature: [0.5, 1.0]}}"
    assert changed(grid.replace("0.5", "0.7"), before=(grid,)) == {"layout", "speed", "gfid"}


class Told(Metric):
    """Says what it is given."""

    needs = ()
    seen: list[MetricInputs]

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        type(self).seen.append(inputs)
        return [
            Measurement(
                name="told",
                title="told",
                value=1.0,
                unit="",
                direction="neutral",
                count=1,
                protocol=Procedure(name="told", details={"tokens": inputs.layout.length}),
            )
        ]


def test_a_metric_is_given_what_its_key_holds_and_no_more(
    load: Load, store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that asks for nothing gets the layout, which is in its key, and nothing else."""
    monkeypatch.setattr("prologue_plugins.metrics.codebook.Codebook", Told)
    monkeypatch.setattr(Told, "seen", [], raising=False)
    plan = make_plan(load("metrics=[codebook]", "sampling.temperature=0.5"), Workspace(store))
    assert execute(plan, Workspace(store), recorder, lambda: False).failures == {}
    assert len({pipeline.measures[0].key for pipeline in plan.pipelines}) == 2, "two layouts"
    for inputs in Told.seen:
        given = {f.name: getattr(inputs, f.name) for f in attrs.fields(MetricInputs)}
        held = {name for name, value in given.items() if name.startswith("_") and value is not None}
        assert held == set()
        assert given["sampling"] == {}
        for name in ("draw", "samples", "test_ids", "tokenizer", "generator", "prefixes"):
            with pytest.raises(StageError, match=f"reads {name}, but declares nothing"):
                getattr(inputs, name)


# Frozen tokenizers

FROZEN = (
    "vary={}",
    "data={use: shapes, size: 16, train_images: 96, test_images: 64}",
    "tokenizer.patch_size=8",
)


def frozen_and_trained(load: Load, *values: str) -> Ablation:
    return load(
        *FROZEN,
        "seeds=[0, 1, 2]",
        "metrics=[psnr, codebook]",
        "baseline=trained",
        "tokenizer_training.steps=3",
        "variants={frozen: {tokenizer: diffusers-vq}, other: {tokenizer: {use: diffusers-vq, "
        "random_seed: 1}}, trained: {tokenizer: {use: vq-2d, patch_size: 8}}}",
        *values,
    )


def test_a_frozen_tokenizer_is_keyed_by_itself_and_the_shape_of_its_images(
    load: Load, store: Store
) -> None:
    base = ("vary={}", "baseline=", "tokenizer=diffusers-vq", FROZEN[1])
    one = make_plan(load(*base, "seeds=[0, 1]"), Workspace(store))
    assert len(keys(one, "train-tokenizer")) == len(keys(one, "encode")) == 1
    training = "tokenizer_training={steps: 7, batch_size: 3, precision: bfloat16, l1_weight: 0.2}"
    trained_otherwise = make_plan(load(*base, training), Workspace(store))
    assert keys(trained_otherwise, "train-tokenizer") == keys(one, "train-tokenizer")
    more = make_plan(load(*base, "data.train_images=80"), Workspace(store))
    assert keys(more, "train-tokenizer") == keys(one, "train-tokenizer")
    assert keys(more, "encode") != keys(one, "encode")
    larger = make_plan(load(*base, "data.size=32"), Workspace(store))
    assert keys(larger, "train-tokenizer") != keys(one, "train-tokenizer")
    assert keys(
        make_plan(load(*base, "tokenizer.random_seed=3"), Workspace(store)), "train-tokenizer"
    ) != keys(one, "train-tokenizer")


def test_one_measurement_in_every_seed_has_no_spread_and_gives_no_verdict(
    load: Load, store: Store, recorder: Recorder
) -> None:
    plan = make_plan(frozen_and_trained(load), Workspace(store))
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    assert outcome.failures == {}
    results, _ = collect(plan, outcome, Workspace(store))
    rows = measured(results)
    cells = summarise(rows, "trained")
    frozen, trained = cells["frozen"]["psnr"], cells["trained"]["psnr"]
    assert (frozen.seeds, frozen.spread, frozen.same_everywhere) == (1, None, True)
    assert (trained.seeds, trained.same_everywhere) == (3, False)
    assert trained.spread
    # Against what was trained, the difference varies with the training: three seeds, paired.
    assert frozen.difference is not None
    assert (frozen.difference.basis, frozen.difference.count) == ("training seeds", 3)
    # Two frozen tokenizers differ by one number, whatever the number of seeds.
    alone = summarise(rows, "other")["frozen"]["psnr"]
    assert alone.difference is not None
    assert alone.difference.basis == "images"
    assert alone.verdict not in ("better", "worse")
    assert "(the same weights in every seed)" in render_markdown(results)
    psnr = [each for each in rows if (each.metric, each.variant) == ("psnr", "frozen")]
    assert noise(psnr, psnr)[1] == "interval over images", "a gate takes no spread of zero from it"


def test_a_measurement_that_sampling_seeds_share_counts_once(
    load: Load, store: Store, recorder: Recorder
) -> None:
    plan = make_plan(load("sampling_seeds=[0, 1, 2]", "metrics=[psnr]"), Workspace(store))
    outcome = execute(plan, Workspace(store), recorder, lambda: False)
    results, _ = collect(plan, outcome, Workspace(store))
    for cell in (row["psnr"] for row in summarise(measured(results), "prologue_tokens=0").values()):
        assert cell.sampling_spread is None
        assert cell.difference is None or cell.difference.basis == "images"
        assert cell.verdict not in ("better", "worse")


def test_results_that_do_not_say_what_was_measured_count_every_seed(load: Load) -> None:
    runs = [
        {
            "variant": name,
            "seed": seed,
            "sampling_seed": 0,
            "measurements": [
                {
                    "name": "m",
                    "title": "m",
                    "value": value + seed,
                    "unit": "",
                    "direction": "lower",
                    "count": 1,
                    "half_width": None,
                    "protocol": {"name": "p", "details": {}},
                }
            ],
        }
        for name, value in (("a", 1.0), ("b", 3.0))
        for seed in (0, 1)
    ]
    cell = summarise(measured(results_of({"runs": runs})), "a")["b"]["m"]
    assert (cell.seeds, cell.same_everywhere) == (2, False)
