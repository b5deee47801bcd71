"""The checks pass what keeps its contract, and name the contract that is broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.cli.app import cli
from prologue_bench.config.resolving import resolve_alone
from prologue_bench.conformance import Broken, Check, Skipped, checks_of
from prologue_bench.conformance.checks import made_up
from prologue_bench.contracts import (
    Component,
    Measurement,
    Metric,
    MetricInputs,
    Procedure,
    ReconstructionLoss,
    Split,
)
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.checks import is_of
from prologue_bench.registry import Registry
from prologue_bench.results.plain import record
from prologue_bench.results.ranges import better
from prologue_bench.results.schema import MeasurementRecord
from prologue_plugins import zoo
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.generators.rar import Rar
from prologue_plugins.metrics.codebook import Codebook
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.zoo.settings_maskgit import TiTokSettings

BUILT_IN = [
    *[("tokenizer", name) for name in Registry.load().entries["tokenizer"]],
    ("generator", "ar"),
    ("generator", "rar"),
    *[("generator", each.name) for each in zoo.prologue_generators()],
    *[
        ("metric", name)
        for name in (
            *("rate", "codebook", "cost", "psnr", "mse", "elbo", "probe"),
            *("factors", "attention", "token-bits", "coding-speed"),
        )
    ],
]


WITHOUT_PRIOR = {"prior-gradient"}
FROZEN = {
    *("losses", "precision", "relaxed", "gradient", "prior-gradient", "parameters", "resume"),
}
OF_IDS = {"ids", "determinism", "inspect", "decode"}
SKIPPED = {
    **dict.fromkeys(("diffusers-vq", *(each.name for each in zoo.prologue_tokenizers())), FROZEN),
    **dict.fromkeys(("vq-1d", "vq-2d", "fsq", "lfq", "simvq"), WITHOUT_PRIOR),
    **{each.name: {"inspect", "relaxed", "dropped"} for each in zoo.prologue_generators()},
    "residual-vq": WITHOUT_PRIOR | {"device"},
    "diffusers-kl": FROZEN | OF_IDS,
}
"""What says nothing of a component: frozen ones do not learn, and not all ask for a prior."""
SIDES = {"titok": 16, "bsq-vit": 16}
"""Those that take images of one size only, that of their learned positions."""


def skips(check: Check) -> bool:
    """Run the check; whether it found nothing to look at."""
    try:
        check.run()
    except Skipped:
        return True
    return False


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_built_in_components_keep_their_contracts(kind: Any, name: str, registry: Registry) -> None:
    checks = list(checks_of(kind, name, images=made_up(SIDES.get(name, 28)), registry=registry))
    skipped = SKIPPED.get(name, set())
    has_ids = kind == "tokenizer" and not skipped >= OF_IDS
    expected = skipped | ({"reconstruct"} if has_ids else set())
    assert {check.name for check in checks if skips(check)} == expected
    assert len(checks) >= 7


@pytest.mark.parametrize("name", [name for kind, name in BUILT_IN if kind == "metric"])
def test_validate_knows_where_the_numbers_of_metrics_are_better(
    name: str, registry: Registry
) -> None:
    checks = checks_of("metric", name, images=made_up(SIDES.get(name, 28)), registry=registry)
    (check,) = (each for each in checks if each.name == "protocols")
    for each in check.run.__self__.found:  # type: ignore[attr-defined]
        found = record(json.loads(json.dumps(attrs.asdict(each))), MeasurementRecord)
        assert better(found, ()) in (each.direction, None)
        assert is_of(each.name, registry.find("metric", name)), "it says how its numbers begin"


def broken_checks(kind: Any, cls: type[Any], settings: str = "", **values: Any) -> list[str]:
    """Which checks a class fails, registered under a name of its own."""
    registry = Registry.load()
    globals()[cls.__name__] = cls
    target = f"{__name__}:{cls.__name__}"
    options = {"settings": settings} if settings else {}
    registry.add(
        kind, Component(name="broken", target=target, summary="broken", **options), "a test"
    )
    failed = []
    for check in checks_of(kind, "broken", values, registry=registry):
        try:
            check.run()
        except Skipped:
            pass
        except Exception:
            failed.append(check.name)
    return failed


class Noisy(Prologue):
    def encode(self, images: Tensor) -> Tensor:
        ids = super().encode(images)
        return torch.where(torch.rand(ids.shape) < 0.5, ids, (ids + 1) % 16)


class Outside(Prologue):
    def encode(self, images: Tensor) -> Tensor:
        return super().encode(images) + 1000


class Leaning(Prologue):
    """Decodes each image a little by the others of its batch; they differ though untrained."""

    def decode(self, ids: Tensor) -> Tensor:
        images = super().decode(ids) + ids.float().mean(dim=1).reshape(-1, 1, 1, 1) / 1000
        return images - 0.1 * images.mean(dim=0, keepdim=True)


class Undeclared(Prologue):
    def losses(self, images: Tensor) -> Any:
        output = super().losses(images)
        output.relaxed = {}
        return output


class Unused(Prologue):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.idle = torch.nn.Linear(2, 2)


class Detached(Prologue):
    def losses(self, images: Tensor) -> Any:
        output = super().losses(images)
        output.relaxed = {name: one_hot.detach() for name, one_hot in output.relaxed.items()}
        return output


class Stray(Prologue):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.shift = torch.randn(1)

    def decode(self, ids: Tensor) -> Tensor:
        return super().decode(ids) + self.shift.expand(3).reshape(1, 3, 1, 1)


class Locked(Prologue):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hook: Callable[[Any], Any] = lambda x: x


class Rescaling(Prologue):
    def losses(self, images: Tensor) -> Any:
        return super().losses(images.mul_(0.5).add_(0.5))


class Clamping(Prologue):
    def encode(self, images: Tensor) -> Tensor:
        return super().encode(images.clamp_(-1, 1))


class OfBytes(Prologue):
    def decode(self, ids: Tensor) -> Tensor:
        return (super().decode(ids).clamp(-1, 1) + 1) * 127.5


class Rounding(Prologue):
    def decode(self, ids: Tensor) -> Tensor:
        return super().decode(ids.clamp_(0, 1))


class Replacing(Prologue):
    """Begins its codes at the first batch, in a parameter that no optimizer knows."""

    started = False

    def losses(self, images: Tensor) -> Any:
        if not self.started:
            weight = self.quantizer.codebook.weight
            self.quantizer.codebook.weight = torch.nn.Parameter(weight.detach() + 1)
            self.started = True
        return super().losses(images)


class Waking(Prologue):
    """Has codes that learn from the second step on."""

    steps = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.quantizer.codebook.weight.requires_grad_(False)

    def losses(self, images: Tensor) -> Any:
        self.steps += 1
        self.quantizer.codebook.weight.requires_grad_(self.steps > 1)
        return super().losses(images)


class Warming(Prologue):
    """Counts its steps where no checkpoint sees it."""

    steps = 0

    def losses(self, images: Tensor) -> Any:
        self.steps += 1
        output = super().losses(images)
        weight = min(1.0, self.steps / 10)
        losses = {name: weight * loss for name, loss in output.losses.items()}
        return attrs.evolve(output, losses=losses)


class Drifting(Prologue):
    """Reads, in a buffer that is not saved, what training counts."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_buffer("shift", torch.zeros(()), persistent=False)

    def losses(self, images: Tensor) -> Any:
        self.shift += 0.1
        return super().losses(images)

    def decode(self, ids: Tensor) -> Tensor:
        return super().decode(ids) + self.shift


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Drifting, "state"),
        (Warming, "resume"),
        (Replacing, "parameters"),
        (Waking, "parameters"),
        (Rescaling, "inputs"),
        (Clamping, "inputs"),
        (Rounding, "inputs"),
        (OfBytes, "decode"),
        (Noisy, "determinism"),
        (Leaning, "determinism"),
        (Outside, "ids"),
        (Undeclared, "relaxed"),
        (Unused, "gradient"),
        (Detached, "prior-gradient"),
        (Stray, "state"),
        (Stray, "device"),
        (Locked, "pickling"),
    ],
)
def test_a_broken_tokenizer_fails_the_check_of_its_contract(cls: type[Any], expected: str) -> None:
    settings = "prologue_plugins.tokenizers.settings:PrologueSettings"
    assert expected in broken_checks("tokenizer", cls, settings, prologue_tokens=2)


class Peeking(Rar):
    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        found = super().nll(ids, labels)
        return {
            name: cost + 0.01 * ids.float().mean(dim=1, keepdim=True)
            for name, cost in found.items()
        }


class Forgetful(Rar):
    def decode_step(self, state: Any, chosen: Tensor | None) -> Tensor:
        return super().decode_step(state, None if chosen is None else torch.zeros_like(chosen))


class Overlapping(Rar):
    """Keeps in itself what belongs into the state."""

    def start(self, labels: Tensor) -> Any:
        self.seen = super().start(labels)
        return self.seen

    def decode_step(self, state: Any, chosen: Tensor | None) -> Tensor:
        return super().decode_step(self.seen, chosen)


class Crowded(Rar):
    """Lets the other images of the batch into an image's logits."""

    def decode_step(self, state: Any, chosen: Tensor | None) -> Tensor:
        logits = super().decode_step(state, chosen)
        return logits + 3 * logits.mean(dim=0, keepdim=True)


class Backwards(Rar):
    """Has steps that go beyond a segment."""

    @property
    def steps(self) -> tuple[int, ...]:
        return (self.layout.length,)


class Hurrying(Rar):
    """Counts its steps where no checkpoint sees it."""

    steps = 0

    def losses(self, ids: Tensor, labels: Tensor, **drawn: Tensor) -> Tensor:
        self.steps += 1
        return super().losses(ids, labels, **drawn) * (1 + self.steps)


class Shifting(Rar):
    """Writes into its ids."""

    def losses(self, ids: Tensor, labels: Tensor, **drawn: Tensor) -> Tensor:
        return super().losses(ids.clamp_(0, 1), labels, **drawn)


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Shifting, "inputs"),
        (Hurrying, "resume"),
        (Peeking, "causality"),
        (Forgetful, "decoding"),
        (Overlapping, "states"),
        (Crowded, "sampling"),
        (Backwards, "nll"),
    ],
)
def test_a_broken_generator_fails_the_check_of_its_contract(cls: type[Any], expected: str) -> None:
    assert expected in broken_checks(
        "generator", cls, "prologue_plugins.generators.settings:RarSettings"
    )


class Rising(ReconstructionLoss):
    """Weighs more from step to step, by a count in a buffer or in an attribute."""

    learns = False

    def __init__(self, settings: object, images: object) -> None:
        super().__init__()
        self.count = self.counted()

    def counted(self) -> Tensor:
        return torch.zeros(())

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        weight = 1 + self.count
        if self.training:
            self.count = self.count + 1
        return {"distance": weight * (reconstruction - images).abs().mean()}


class Saved(Rising):
    def __init__(self, settings: object, images: object) -> None:
        super().__init__(settings, images)
        count = self.counted()
        del self.count
        self.register_buffer("count", count)


@pytest.mark.parametrize(("cls", "resumes"), [(Rising, False), (Saved, True)])
def test_what_a_loss_counts_must_be_in_its_checkpoint(cls: type[Any], resumes: bool) -> None:
    assert ("resume" in broken_checks("loss", cls)) is not resumes


@attrs.frozen
class ShadedSettings(ShapesSettings):
    shade: Literal["none", "dark"] = "none"
    limit: int | None = None
    workers: int = 1
    """Changes no image."""


class Shaded(Shapes):
    """Has settings that its fingerprint forgets."""

    settings: ShadedSettings

    def images(self, split: Split) -> NDArray[Any]:
        images = super().images(split)
        if self.settings.limit:
            images = np.where(np.arange(len(images))[:, None, None, None] < 3, images, 0)
        return images // 2 if self.settings.shade == "dark" else images


class Told(Shaded):
    """Its fingerprint has them all."""

    @property
    def fingerprint(self) -> str:
        own = self.settings
        return f"{super().fingerprint}-{own.shade}-{own.limit}"


class Named(Told):
    @property
    def fingerprint(self) -> str:
        return f"{Shapes.fingerprint.fget(self)}-{self.settings.shade}"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cls", "forgets"),
    [(Told, None), (Shaded, "shade = 'dark', which gives other train images"), (Named, "limit = ")],
)
def test_a_fingerprint_changes_with_each_setting_that_changes_images(
    cls: type[Any], forgets: str | None
) -> None:
    globals()[cls.__name__] = cls
    registry = Registry.load()
    component = Component(
        name="shaded",
        target=f"{__name__}:{cls.__name__}",
        settings=f"{__name__}:ShadedSettings",
        summary="",
    )
    registry.add("data", component, "a test")
    values = {"size": 8, "train_images": 16, "test_images": 8}
    checks = checks_of("data", "shaded", values, registry=registry)
    (check,) = (each for each in checks if each.name == "settings")
    if forgets is None:
        check.run()
    else:
        with pytest.raises(Broken, match=re.escape(forgets)):
            check.run()


class Twice(Codebook):
    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return 2 * super().measure(inputs)


class Chance(Metric):
    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        protocol = Procedure(name="chance", details={"none": True})
        return [
            Measurement(
                name="x",
                title="x",
                value=float(torch.rand(())),
                unit="",
                direction="lower",
                count=1,
                protocol=protocol,
            )
        ]


class Retold(Codebook):
    """Says something else of what was compared each time."""

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        found = super().measure(inputs)
        when = {"when": float(torch.rand(()))}
        return [
            attrs.evolve(
                each,
                protocol=attrs.evolve(each.protocol, details={**each.protocol.details, **when}),
            )
            for each in found
        ]


class Namesake(Chance):
    """Gives a number under the name of another metric."""

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        return [attrs.evolve(each, name="rate", value=1.0) for each in super().measure(inputs)]


class Greedy(Chance):
    needs = ("everything",)  # type: ignore[assignment]


class Grasping(Codebook):
    needs = ("reconstructions",)


def test_a_metric_that_reads_what_it_does_not_declare_is_told_what_to_add() -> None:
    registry = Registry.load()
    target = f"{__name__}:{Grasping.__name__}"
    registry.add("metric", Component(name="grasping", target=target, summary="x"), "a test")
    [check] = [
        each
        for each in checks_of("metric", "grasping", registry=registry)
        if each.name == "measurements"
    ]
    line = (
        "metric 'grasping' reads test_ids, but declares only reconstructions; "
        "add 'tokens' to its needs"
    )
    with pytest.raises(StageError, match=line):
        check.run()


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Twice, "measurements"),
        (Namesake, "measurements"),
        (Chance, "determinism"),
        (Retold, "determinism"),
        (Greedy, "needs"),
    ],
)
def test_a_broken_metric_fails_the_check_of_its_contract(cls: type[Any], expected: str) -> None:
    assert expected in broken_checks("metric", cls)


def test_the_command_says_which_contract_is_broken_and_how_to_see_it(tmp_path: Path) -> None:
    (tmp_path / "my_shifted_tokenizer.py").write_text(
        """
from prologue_bench.contracts import Component, hookimpl
from prologue_plugins.tokenizers.vq_2d import Vq2d


class Shifted(Vq2d):
    def encode(self, images):
        return super().encode(images).int()

    def decode(self, ids):
        raise RuntimeError("not written yet")


@hookimpl
def prologue_tokenizers():
    return [
        Component(
            name="shifted", target="my_shifted_tokenizer:Shifted",
            settings="prologue_plugins.tokenizers.settings:Vq2dSettings", summary="broken",
        )
    ]
"""
    )
    plugin = ["--plugin", str(tmp_path / "my_shifted_tokenizer.py")]
    shown = CliRunner().invoke(cli, ["check-plugin", "shifted", *plugin])
    assert shown.exit_code == 1
    assert "BROKEN   ids: `encode` gives int64 ids" in shown.output
    assert "found: `encode` gives torch.int32, expected torch.int64" in shown.output
    assert "it raised RuntimeError: not written yet" in shown.output
    assert "ok       gradient" in shown.output
    assert "breaks" in str(shown.exception)
    unknown = CliRunner().invoke(cli, ["check-plugin", "vq-3d"])
    assert "unknown component 'vq-3d'; did you mean 'vq-2d'" in str(unknown.exception)
    resized = CliRunner().invoke(cli, ["check-plugin", "psnr", "--image-size", "16"])
    assert resized.exit_code == 0, resized.output
    fixed = CliRunner().invoke(cli, ["check-plugin", "bsq-vit", "--image-size", "20"])
    assert "found images of 20 x 20, expected 16 x 16" in fixed.output
    of_clothes = ["check-plugin", "perceptual", "--set", "extractor=fashion-mnist-cnn"]
    coloured = CliRunner().invoke(cli, of_clothes)
    assert "found images of 3 channels, expected 1, which fashion-mnist-cnn sees" in coloured.output
    assert coloured.exit_code == 1
    grey = CliRunner().invoke(cli, [*of_clothes, "--image-channels", "1"])
    assert grey.exit_code == 0, grey.output


def test_profiles_offer_nothing_to_published_tokenizers(registry: Registry) -> None:
    settings = resolve_alone("tokenizer", "titok", {}, "smoke", registry).settings
    assert settings == TiTokSettings()


def test_wrong_settings_are_one_line(registry: Registry) -> None:
    with pytest.raises(
        UserError, match=r"tokenizer.patch_siz: unknown setting of tokenizer 'vq-2d'"
    ):
        checks_of("tokenizer", "vq-2d", {"patch_siz": 4}, registry=registry)
    globals()["Bare"] = lambda settings, images: torch.nn.Linear(1, 1)
    own = Registry.load()
    own.add(
        "tokenizer", Component(name="bare", target=f"{__name__}:Bare", summary="bare"), "a test"
    )
    first = checks_of("tokenizer", "bare", registry=own)[0]
    with pytest.raises(Broken, match="found a Linear, expected a subclass of"):
        first.run()
