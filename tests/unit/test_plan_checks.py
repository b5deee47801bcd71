"""What cannot work is said in plans; what does not apply to a variant is left out with a note."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from prologue_bench.config.ablation import Ablation
from prologue_bench.conformance import checks_of
from prologue_bench.conformance.checks import Broken
from prologue_bench.contracts import PlannedInputs
from prologue_bench.errors import DoesNotApply, UserError
from prologue_bench.pipeline.collect import components
from prologue_bench.pipeline.imported import add_imported, tokenizer_fits
from prologue_bench.pipeline.models import (
    build_tokenizer,
)
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.reporting.sections import failed_runs
from prologue_bench.results.left_out import notes_on
from prologue_bench.storage import files
from prologue_bench.storage.store import Store
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.metrics.attention import Attention
from prologue_plugins.metrics.settings import AttentionSettings
from tests.documents import results_of
from tests.factories.image_files import image_folder

Load = Callable[..., Ablation]
ONE = ("vary={}", "baseline=", "tokenizer.prologue_tokens=2")

PLUGIN = """
import torch

from prologue_bench.contracts import (
    AutoregressiveGenerator, Component, Generator, Measurement, Metric, Procedure,
    ReconstructionLoss, hookimpl
)
from prologue_bench.errors import UserError
from prologue_plugins.generators.ar import Ar


@hookimpl
def prologue_generators():
    return [
        Component(
            name="gru", target=f"{__name__}:Gru", summary="x",
            settings="prologue_plugins.generators.settings:ArSettings",
        ),
        Component(name="no-way", target=f"{__name__}:NoWay", summary="x"),
        Component(name="plain", target=f"{__name__}:Plain", summary="x"),
    ]


@hookimpl
def prologue_metrics():
    return [
        Component(name="bad-need", target=f"{__name__}:BadNeed", summary="x"),
        Component(name="bad-check", target=f"{__name__}:BadCheck", summary="x"),
        Component(name="even", target=f"{__name__}:Even", summary="x"),
    ]


@hookimpl
def prologue_losses():
    return [Component(name="bad-loss", target=f"{__name__}:BadLoss", summary="x")]


class Gru(Ar):
    attention = Generator.attention


class Plain(AutoregressiveGenerator):
    def __init__(self, settings, layout, labels):
        super().__init__()
        self.layout = layout
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def losses(self, ids, labels):
        return self.weight.expand(len(ids))

    def start(self, labels):
        return labels

    def decode_step(self, state, chosen):
        raise NotImplementedError


class NoWay(Ar):
    def __init__(self, settings, layout, labels):
        raise ValueError("3 heads do not divide 32")


class Base(Metric):
    needs = ("tokens",)

    def __init__(self, settings):
        pass

    def measure(self, inputs):
        protocol = Procedure(name="even", details={"images": "test split"})
        return [
            Measurement(
                name="even", title="even", value=1.0, unit="", direction="higher", count=1,
                protocol=protocol,
            )
        ]


class BadNeed(Base):
    needs = ("recons",)


class BadCheck(Base):
    def check(self, planned):
        raise KeyError("oops")


class Even(Base):
    def check(self, planned):
        if planned.samples % 2:
            raise UserError(f"even: found {planned.samples} samples, expected an even number")


class BadLoss(ReconstructionLoss):
    def __init__(self, settings, images):
        raise ValueError("no such weights")

    def forward(self, reconstruction, images, step):
        return {}
"""


@pytest.fixture(scope="module")
def plugin_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "odd_for_planning.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def plugin(plugin_file: Path) -> str:
    return f"plugins=[{plugin_file}]"


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["metrics=[kid]"],
            r"metrics\[0\]: kid: found 24 images, expected at least subset_size 1000",
        ),
        (
            ["metrics=[{use: kid, subset_size: 60}]", "sampling.samples=99", "data.test_images=59"],
            "kid: found 59",
        ),
        (
            ["metrics=[rate, {use: gfid, few_samples: error}]"],
            r"metrics\[1\]: gfid: found 24 images for 1280",
        ),
        (
            ["metrics=[{use: gfid, few_samples: error}]", "sampling.samples=1300"],
            "gfid: the test images: found 64 images for 1280 features",
        ),
        (["metrics=[{use: rfid, few_samples: error}]"], "rfid: found 64 images for 1280 features"),
        (["metrics=[gfid]", "sampling.samples=1"], "gfid: found 1 images, all with the same"),
        (["metrics=[{use: rfid, images: 1}]"], "rfid: found 1 images, all with the same"),
        (
            ["metrics=[{use: gfid, extrapolate: true}]"],
            "gfid: found 24 images, expected many more than 1280",
        ),
        (["metrics=[{use: gfid, layer: '2048'}]"], "layer: efficientnet-lite0 has no layer '2048'"),
        (
            ["metrics=[{use: precision-recall, neighbours: 24}]"],
            "precision-recall: found 24 images, expected more",
        ),
        (
            ["metrics=[{use: density-coverage, images: 5}]"],
            "density-coverage: found 5 images, expected more than",
        ),
        (["metrics=[precision-recall]", "sampling.samples=3"], "precision-recall: found 3 images"),
        (
            ["metrics=[ssim]", "data.size=8", "tokenizer.patch_size=4"],
            "ssim: found images of 8 x 8 pixels, expected",
        ),
        (
            ["metrics=[{use: probe, train_images: 1}]"],
            "probe: train_images: found one class among 1 images",
        ),
        (
            ["metrics=[{use: probe, selection_images: 2, inverse_regularisation: [0.1, 1.0]}]"],
            "probe: selection_images: found 2 images to learn from and 0 to choose",
        ),
        (["metrics=[{use: lpips, weights: nowhere.pth}]", "data.size=28"], "weights.*nowhere.pth"),
        (
            ["metrics=[lpips]", "data.size=14"],
            "metric 'lpips': found images of 14 x 14 pixels, expected at least 16",
        ),
        (
            ["tokenizer_training.losses=[{use: lpips}]"],
            r"tokenizer_training.losses\[0\]: loss 'lpips': found images",
        ),
        (
            ["tokenizer_training.losses=[{use: patchgan}]"],
            r"tokenizer_training.losses\[0\]: loss 'patchgan': layers: found 3 of stride 2",
        ),
        (["sampling.samples=0"], "samples: must be > 0"),
        (["sampling.temperature=1.0e-45"], "temperature: must be at least 1e-30"),
        (
            [
                (
                    "sampling.search={metric: kid, samples: 50, validation_images: 40, grid: "
                    "{temperature: [0.9, 1.0]}}"
                )
            ],
            "sampling.search.metric: kid: found 40 images, expected at least subset_size 1000",
        ),
        (
            [
                "sampling.search={metric: {use: gfid, few_samples: error}, samples: 1290, "
                "validation_images: 90, grid: {temperature: [0.9, 1.0]}}",
                "data.train_images=200",
            ],
            "sampling.search.metric: gfid: the test images: found 90 images for 1280 features",
        ),
        (
            ["tokenizer_training.accumulate=5"],
            "tokenizer_training: batch_size: found 32, expected a multiple",
        ),
        (
            ["generator_training.accumulate=5"],
            "generator_training: batch_size: found 32, expected a multiple",
        ),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_trained(
    load: Load, store: Store, values: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_plan(load(*ONE, *values), Workspace(store))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("--set", str(store.root.parent / "tiny.yaml")))
    assert not (store.root / "work").exists()


@pytest.mark.parametrize(
    "values",
    [
        ["metrics=[{use: kid, subset_size: 24}]"],
        ["metrics=[gfid, rfid]"],  # the smoke profile shrinks
        [
            "metrics=[{use: gfid, few_samples: error}]",
            "sampling.samples=1281",
            "data.test_images=1281",
        ],
        ["metrics=[{use: precision-recall, neighbours: 23}]"],
        ["metrics=[ssim]"],
        ["metrics=[probe, layout, attention, cost, speed, elbo, codebook, psnr]"],
        ["tokenizer_training.losses=[{use: patchgan, layers: 1}]"],
        ["tokenizer_training.batch_size=1000", "sampling.batch_size=5000"],
    ],
)
def test_what_works_at_the_edge_is_planned(load: Load, store: Store, values: list[str]) -> None:
    plan = make_plan(load(*ONE, *values), Workspace(store))
    assert plan.notes == ()


def test_a_variant_that_cannot_work_is_named(load: Load, store: Store) -> None:
    values = (
        "vary={sampling.samples: [1000, 10]}",
        "baseline=",
        "metrics=[{use: kid, subset_size: 20}]",
    )
    with pytest.raises(
        UserError, match=r"variant 'samples=1000': metrics\[0\]: kid: found 64 images"
    ):
        make_plan(load(*values, "metrics=[{use: kid, subset_size: 70}]"), Workspace(store))
    with pytest.raises(
        UserError, match=r"variant 'samples=10': metrics\[0\]: kid: found 10 images"
    ):
        make_plan(load(*values), Workspace(store))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mean": np.zeros(3)}, "found mean; mu and sigma missing, and so is arr_0"),
        ({"mu": np.zeros(3)}, "found mu; sigma missing, and so is arr_0"),
        ({"mu": np.zeros(7), "sigma": np.eye(7)}, "found mu of 7 features, expected 1280"),
        ({"mu": np.zeros(1280), "sigma": np.eye(7)}, r"mu has shape \(1280,\) and sigma \(7, 7\)"),
        ({"mu": np.full(1280, np.nan), "sigma": np.eye(1280)}, "mu or sigma hold NaN or infinity"),
        (
            {"arr_0": np.zeros((2000, 28, 28, 3), np.uint8)},
            r"found arr_0 of uint8 \[2000, 28, 28, 3\], expected uint8",
        ),
        ({"arr_0": np.zeros((2000, 14, 14, 3), np.float32)}, "found arr_0 of float32"),
        ({"arr_0": np.zeros((1, 14, 14, 3), np.uint8)}, "found 1 images, all with the same"),
    ],
)
def test_a_reference_that_cannot_be_used_is_found_when_planning(
    load: Load, store: Store, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = npz(tmp_path / "reference.npz", **arrays)
    with pytest.raises(UserError, match=message):
        make_plan(load(*ONE, f"metrics=[{{use: gfid, reference: {path}}}]"), Workspace(store))


def test_a_broken_reference_is_found_and_a_whole_one_taken(
    load: Load, store: Store, tmp_path: Path
) -> None:
    path = npz(tmp_path / "reference.npz", arr_0=np.zeros((40, 14, 14, 3), np.uint8))
    plan = load(*ONE, f"metrics=[{{use: gfid, reference: {path}}}]")
    make_plan(plan, Workspace(store))
    moments = npz(tmp_path / "moments.npz", mu=np.zeros(1280), sigma=np.eye(1280))
    make_plan(load(*ONE, f"metrics=[{{use: gfid, reference: {moments}}}]"), Workspace(store))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be read as"):
        make_plan(load(*ONE, f"metrics=[{{use: gfid, reference: {path}}}]"), Workspace(store))
    path.write_bytes(b"not a zip")
    with pytest.raises(UserError, match="cannot be read as"):
        make_plan(load(*ONE, f"metrics=[{{use: gfid, reference: {path}}}]"), Workspace(store))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["metrics=[lpips]"],
            "metric 'lpips': its weights .* cannot be fetched .* name the file in its setting",
        ),
        (
            ["tokenizer_training.losses=[{use: lpips}]"],
            "loss 'lpips': its weights .* cannot be fetched",
        ),
        (
            ["tokenizer_training.losses=[{use: convnext-logits}]"],
            "loss 'convnext-logits': its weights .* cannot be",
        ),
        (["metrics=[inception-score]"], "inception-v3-compat: its weights .* cannot be fetched"),
        (
            ["metrics=[{use: gfid, extractor: inception-v3-compat}]"],
            "inception-v3-compat: its weights",
        ),
    ],
)
def test_weights_that_are_nowhere_are_missed_when_planning(
    load: Load,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-weights"))
    monkeypatch.delenv("INCEPTION_WEIGHTS", raising=False)
    # Nobody answers at this port of this machine.
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    files.fetch_problem.cache_clear()
    with pytest.raises(UserError, match=message):
        make_plan(load(*ONE, "data.size=28", *values), Workspace(store))
    files.fetch_problem.cache_clear()
    assert not (tmp_path / "no-weights").exists()


def test_weights_of_another_network_are_refused_when_planning(
    load: Load, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    torch.save({"fc.bias": torch.zeros(3)}, path)
    for use in ("lpips", "gfid, extractor: inception-v3-compat"):
        with pytest.raises(UserError, match=f"{path} does not hold torch"):
            make_plan(
                load(*ONE, "data.size=28", f"metrics=[{{use: {use}, weights: {path}}}]"),
                Workspace(store),
            )
    path.write_bytes(b"no weights at all")
    for use in ("lpips", "gfid, extractor: inception-v3-compat"):
        with pytest.raises(UserError, match=str(path)):
            make_plan(
                load(*ONE, "data.size=28", f"metrics=[{{use: {use}, weights: {path}}}]"),
                Workspace(store),
            )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            ["tokenizer={use: vq-2d}", "metrics=[probe, psnr]"],
            "probe: does not apply: no variant's tokens begin with",
        ),
        (
            ["tokenizer={use: vq-2d}", "metrics=[layout, psnr]"],
            "layout: does not apply: no variant's tokens begin with",
        ),
        (
            ["generator={use: gru}", "metrics=[attention, psnr]"],
            "attention: does not apply: generator 'gru' of odd_for_planning.py does not show",
        ),
        (
            ["generator={use: plain}", "metrics=[rate, psnr]"],
            "rate: does not apply: generator 'plain' of odd_for_planning.py has no likelihood",
        ),
        (
            ["generator={use: plain}", "metrics=[elbo, psnr]"],
            "elbo: does not apply: generator 'plain' of odd_for_planning.py has no likelihood",
        ),
    ],
)
def test_a_metric_that_does_not_apply_is_left_out_with_a_note(
    load: Load, store: Store, plugin: str, values: list[str], reason: str
) -> None:
    values = ["vary={}", "baseline=", *values]
    plan = make_plan(
        load(plugin, *values, *([] if "vq-2d" in values[2] else ["tokenizer.prologue_tokens=2"])),
        Workspace(store),
    )
    assert [line.startswith(reason) for line in plan.notes] == [True]
    assert [stage.stage.kind for stage in plan.stages].count("measure") == 1


def test_notes_name_the_variants_that_they_hold_for() -> None:
    found = [("probe", "a", "x"), ("probe", "b", "x"), ("probe", "a", "x"), ("attention", "b", "y")]
    assert notes_on(found, 2) == [
        "probe: does not apply to any variant: x",
        "attention: does not apply to variant b: y",
    ]
    assert notes_on(found, 3)[0] == "probe: does not apply to variants a, b: x"


def test_the_same_metric_with_other_settings_stays(load: Load, store: Store, plugin: str) -> None:
    values = (
        "vary={generator.use: [ar, gru]}",
        "baseline=",
        "tokenizer.prologue_tokens=2",
        "metrics=[attention, rate]",
    )
    plan = make_plan(load(plugin, *values), Workspace(store))
    assert plan.notes == (
        "attention: does not apply to variant use=gru: generator 'gru' of odd_for_planning.py does "
        "not show its attention",
    )
    assert [len(pipeline.measures) for pipeline in plan.pipelines] == [2, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["metrics=[bad-need]"],
            "metric 'bad-need' of odd_for_planning.py needs 'recons', expected some of: recons",
        ),
        (["metrics=[bad-check]"], r"metrics\[0\]: cannot be checked: KeyError: 'oops'"),
        (
            ["metrics=[even]", "sampling.samples=3"],
            r"metrics\[0\]: even: found 3 samples, expected an even number",
        ),
        (
            ["generator={use: no-way}"],
            (
                "generator: generator 'no-way' of odd_for_planning.py cannot be made: ValueError: "
                "3 heads do not divide"
            ),
        ),
        (
            ["tokenizer_training.prior={use: no-way}"],
            "prior: generator 'no-way' of odd_for_planning.py cannot be made",
        ),
        (
            ["tokenizer_training.prior={use: plain}"],
            (
                "prior: generator 'plain' of odd_for_planning.py cannot be a tokenizer's prior: it "
                "is no prologue_bench.contracts.JointPrior"
            ),
        ),
        (
            ["tokenizer_training.losses=[{use: bad-loss}]"],
            "loss 'bad-loss' of odd_for_planning.py cannot be made: ValueError: no such weights",
        ),
    ],
)
def test_what_a_plugin_says_or_breaks_is_one_line_too(
    load: Load, store: Store, plugin: str, values: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_plan(load(plugin, *ONE, *values), Workspace(store))
    assert "\n" not in str(caught.value)


def test_a_generator_that_no_metric_looks_at_is_not_made(
    load: Load, store: Store, plugin: str
) -> None:
    plan = make_plan(
        load(plugin, *ONE, "generator={use: no-way}", "metrics=[psnr]"), Workspace(store)
    )
    assert {planned.stage.kind for planned in plan.stages} == {
        "train-tokenizer",
        "encode",
        "reconstruct",
        "measure",
        "picture-reconstructions",
    }


def test_a_class_with_one_image_and_a_split_without_labels(
    load: Load, store: Store, tmp_path: Path
) -> None:
    root = image_folder(tmp_path / "images", {"a": (16, 8), "b": (16, 8), "c": (1, 0)})
    values = [f"data={{use: image-folder, size: 28, root: {root}}}", "metrics=[probe, gfid]", *ONE]
    assert make_plan(load(*values), Workspace(store)).notes == ()


def test_where_nothing_applies_no_generator_is_trained(load: Load, store: Store) -> None:
    plan = make_plan(
        load("tokenizer={use: vq-2d}", "metrics=[layout]", "vary={}", "baseline="), Workspace(store)
    )
    assert {planned.stage.kind for planned in plan.stages} == {
        "train-tokenizer",
        "encode",
        "reconstruct",
        "picture-reconstructions",
    }
    assert len(plan.notes) == 1


def test_an_imported_model_that_is_damaged_is_found_when_planning(load: Load, store: Store) -> None:
    images = Workspace(store).open_data(load(*ONE).experiments[0].data).spec
    values = ("tokenizer={use: vq-2d}", "vary={}", "baseline=", "metrics=[psnr]")
    resolved = load(*values).experiments[0].tokenizer
    tokenizer = build_tokenizer(resolved, images)
    artifact = add_imported(
        store, "tokenizer", "mine", resolved, tokenizer_fits(images), tokenizer, {}
    )
    ablation = load(*values, "tokenizer_training.imported=mine")
    assert make_plan(ablation, Workspace(Store(store.root))).missing
    (artifact / "tokenizer.safetensors").write_bytes(b"cut off")
    with pytest.raises(
        UserError, match=r"the imported tokenizer .* is damaged; import the checkpoint again"
    ):
        make_plan(ablation, Workspace(Store(store.root)))


def test_a_foundation_that_does_not_fit_is_found_when_planning(load: Load, store: Store) -> None:
    ablation = load(
        "tokenizer={use: prologue-post, prologue_tokens: 2}",
        "vary={}",
        "baseline=",
        "metrics=[psnr]",
    )
    assert make_plan(ablation, Workspace(store)).missing
    (experiment,) = ablation.experiments
    assert experiment.foundation is not None
    narrow = attrs.evolve(experiment.foundation.settings.encoder, width=16)
    settings = attrs.evolve(experiment.foundation.settings, encoder=narrow)
    other = attrs.evolve(
        experiment, foundation=attrs.evolve(experiment.foundation, settings=settings)
    )
    with pytest.raises(
        UserError,
        match=r"tokenizer: it builds on 'vq-2d', whose 'encoder.* expected the same shape",
    ):
        make_plan(attrs.evolve(ablation, experiments=(other,)), Workspace(store))


def test_all_failed_stages_of_a_run_are_listed() -> None:
    runs = [
        {
            "variant": "a",
            "seed": 0,
            "failures": {"measure gfid": "too few", "measure kid": "too few", "measure x": "NaN"},
        },
        {"variant": "a", "seed": 1, "failures": {}},
        {
            "variant": "b",
            "seed": 0,
            "sampling_seed": 2,
            "failures": {"train-tokenizer": "loss is nan", "encode": "loss is nan"},
        },
    ]
    assert [
        (each.variant, each.seeds, each.stage, each.reason)
        for each in failed_runs(results_of({"runs": [{**run, "measurements": []} for run in runs]}))
    ] == [
        ("a", "seed 0", "measure gfid, measure kid", "too few"),
        ("a", "seed 0", "measure x", "NaN"),
        ("b", "seed 0, sampling seed 2", "train-tokenizer, encode", "loss is nan"),
    ]


def test_check_plugin_calls_check(plugin_file: Path) -> None:
    registry = Registry.load()
    registry.add_file(plugin_file, "test")

    def planning(name: str) -> None:
        next(
            each for each in checks_of("metric", name, registry=registry) if each.name == "planning"
        ).run()

    planning("even")
    with pytest.raises(Broken, match="KeyError"):
        planning("bad-check")
    for name in ("probe", "kid", "gfid", "ssim", "attention", "layout", "precision-recall", "cost"):
        planning(name)


def test_checks_read_no_images(load: Load, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def images(*_: object) -> None:
        raise AssertionError("a plan reads no images")

    monkeypatch.setattr(Shapes, "images", images)
    metrics = (
        "[rfid, gfid, rate, codebook, probe, layout, elbo, attention, cost, speed, psnr, ssim, "
        "precision-recall]"
    )
    assert make_plan(load(f"metrics={metrics}"), Workspace(store)).missing


def test_a_planned_input_has_what_checks_ask_for(load: Load, store: Store) -> None:
    workspace = Workspace(store)
    plan = make_plan(load(*ONE), workspace)
    pipeline = plan.pipelines[0]
    experiment = pipeline.experiment
    data = workspace.open_data(experiment.data)
    planned = PlannedInputs(
        data=data,
        layout=pipeline.layout,
        prefixes=(2,),
        samples=24,
        tokenizer=workspace.tokenizer_on_meta(experiment.tokenizer, experiment.data),
        generator=workspace.generator_on_meta(
            experiment.generator, pipeline.layout, data.spec.labels
        ),
    )
    Attention(AttentionSettings()).check(planned)
    with pytest.raises(DoesNotApply, match="found 6 tokens"):
        Attention(AttentionSettings()).check(attrs.evolve(planned, prefixes=(6,)))


def test_ablations_with_the_same_first_tokens_share_what_compares_them(
    load: Load, store: Store
) -> None:
    workspace = Workspace(store)

    def probes(*values: str) -> set[str]:
        plan = make_plan(load(*values, "metrics=[probe]"), workspace)
        return {each.stage.key for each in plan.stages if each.stage.kind == "measure"}

    several = probes("vary.tokenizer.prologue_tokens=[0, 2, 4]")
    fewer = "vary.tokenizer.prologue_tokens=[0, 2]"
    assert probes(fewer, "first_tokens=[2, 4]") < several
    assert not probes(fewer) & several
    with pytest.raises(UserError, match=r"first_tokens: found 0, expected numbers from 1 on"):
        probes("first_tokens=[0]")


def test_components_in_use_are_those_of_the_prior_and_of_the_search_too(
    load: Load, store: Store, registry: Registry
) -> None:
    settings = (
        "vary={}",
        "baseline=",
        "tokenizer.prologue_tokens=2",
        "tokenizer_training.prior=ar",
        "generator=rar",
        "sampling.search={samples: 40, validation_images: 40, grid: {top_k: [4, 2]}}",
        "sampling.search.metric={use: kid, subset_size: 10}",
    )
    found = components(make_plan(load(*settings), Workspace(store)), registry)
    named = {(each.kind, each.name) for each in found}
    assert {("generator", "ar"), ("generator", "rar"), ("metric", "kid")} <= named
