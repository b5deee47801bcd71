"""No loss term, loss or measurement replaces another of the same name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

from prologue_bench.config.ablation import Ablation
from prologue_bench.config.settings import GeneratorTraining, Optimisation, TokenizerTraining
from prologue_bench.conformance import checks_of
from prologue_bench.conformance.checks import Broken
from prologue_bench.contracts import (
    Component,
    ReconstructionLoss,
    TokenLayout,
)
from prologue_bench.contracts.images import to_float
from prologue_bench.errors import StageError, UserError
from prologue_bench.registry import Registry
from prologue_bench.reporting.figures import curve_plots
from prologue_bench.results.loading import load_results
from prologue_bench.training.models import GeneratorModel, TokenizerModel
from prologue_bench.training.optimisation import check_apart
from prologue_bench.training.terms import labels, named
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.settings import ArSettings
from prologue_plugins.losses.adversarial import PatchGan
from prologue_plugins.losses.settings import PatchGanSettings
from prologue_plugins.tokenizers.prologue import Prologue
from tests.conftest import OLD_REPORTS
from tests.factories.models import IMAGES, PROLOGUE, ar, prologue
from tests.factories.training import byte_images

LOAD = Callable[..., Ablation]


class OwnLoss(Prologue):
    """A tokenizer with one more loss of its own."""

    term: tuple[Any, Any] | None = None

    def losses(self, images: Tensor) -> Any:
        out = super().losses(images)
        more = {} if self.term is None else {self.term[0]: self.term[1]}
        return attrs.evolve(out, losses={**out.losses, **more})


def with_own(term: tuple[Any, Any] | None) -> TokenizerModel:
    torch.manual_seed(0)
    tokenizer = OwnLoss(PROLOGUE, IMAGES)
    tokenizer.term = term
    gan = PatchGan(PatchGanSettings(width=8, layers=1), IMAGES)
    return TokenizerModel(
        tokenizer,
        ar(tokenizer.layout),
        TokenizerTraining(l2_weight=1.0),
        none_label=3,
        losses={"patchgan": gan},
    )


@pytest.mark.parametrize(
    "name", ["l1", "l2", "ce", "vq2", "patchgan", "patchgan/generator", "ce/tokenizer", "a.b", "x"]
)
def test_a_tokenizer_s_own_loss_counts_whatever_its_name(name: str) -> None:
    batch = byte_images(4)
    before = with_own(None)(images=batch)
    found = with_own((name, torch.tensor(100.0)))
    after = found(images=batch)
    assert len(after) == len(before) + 1
    assert {key: after[key].item() for key in before} == pytest.approx(
        {k: v.item() for k, v in before.items()}
    )
    total, _ = found.parse_losses(after)
    assert total.item() == pytest.approx(
        sum(value.item() for value in before.values()) + 100, rel=1e-5
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 0.5, r"loss own: term 'size' is 0.5 \(float\), expected a scalar tensor"),
        ("size", None, r"loss own: term 'size' is None \(NoneType\), expected a scalar tensor"),
        (
            "size",
            torch.zeros(3),
            r"loss own: term 'size' has shape \(3,\), expected a scalar tensor",
        ),
        ("", torch.zeros(()), "loss own: found a term named '', expected a text"),
        (None, torch.zeros(()), "loss own: found a term named None, expected a text"),
    ],
)
def test_a_term_that_is_no_scalar_with_a_name_is_one_line(
    name: Any, value: Any, message: str
) -> None:
    with pytest.raises(StageError, match=message) as raised:
        with_own((name, value))(images=byte_images(2))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("found", [[torch.zeros(())], torch.zeros(()), None, 0.5])
def test_losses_that_are_no_mapping_are_one_line(found: Any) -> None:
    with pytest.raises(StageError, match=r"^loss own: found .*, expected a mapping of names to"):
        named("own", found)


@pytest.mark.parametrize("found", [{"size": torch.zeros(())}, None])
def test_what_a_tokenizer_s_losses_gives_instead_of_an_output_is_named(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OwnLoss, "losses", lambda self, images: found)
    with pytest.raises(
        StageError, match=r"^tokenizer: `losses` gives .*, expected a TokenizerOutput$"
    ):
        with_own(None)(images=byte_images(2))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("reconstruction", r"the reconstruction of `losses` gives shape \[4, 1, 8, 12\], expected"),
        ("ids", r"`losses` \(ids\) gives shape \[1, \d+\], expected \[4, \d+\]$"),
    ],
)
def test_what_does_not_fit_the_images_is_named(
    part: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {"reconstruction": lambda x: x[:, :1], "ids": lambda x: x[:1]}[part]

    def losses(self: OwnLoss, images: Tensor) -> Any:
        out = Prologue.losses(self, images)
        return attrs.evolve(out, **{part: cut(getattr(out, part))})

    monkeypatch.setattr(OwnLoss, "losses", losses)
    with pytest.raises(StageError, match=f"^OwnLoss: {message}"):
        with_own(None)(images=byte_images(4))


class Writing(ReconstructionLoss):
    """A loss that writes into its inputs."""

    learns = False

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        return {"a": (reconstruction - images.sub_(0.5)).square().mean()}


def test_what_changes_its_inputs_in_place_is_named_and_trains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = {"images": byte_images(4), "labels": torch.zeros(4, dtype=torch.long)}
    tokenizer = prologue()
    generator = ar(tokenizer.layout)
    model = TokenizerModel(
        tokenizer, None, TokenizerTraining(), none_label=3, losses={"mine": Writing()}
    )
    with pytest.raises(StageError, match=r"^Writing: the loss changes its images in place, "):
        model(**batch)

    def rescaled(self: OwnLoss, images: Tensor) -> Any:
        return Prologue.losses(self, images.mul_(0.5).add_(0.5))

    monkeypatch.setattr(OwnLoss, "losses", rescaled)
    with pytest.raises(
        StageError,
        match=r"^OwnLoss: `losses` changes its images in place, expected them as they were; "
        r"work on a copy, such as images\.clone\(\)$",
    ):
        with_own(None)(**batch)

    whole = Ar.token_losses
    monkeypatch.setattr(
        Ar, "token_losses", lambda self, ids, *more, **drawn: whole(self, ids.add_(0), *more)
    )
    ids = tokenizer.encode(to_float(batch["images"]))
    with pytest.raises(StageError, match=r"^Ar: `losses` changes its ids in place, "):
        GeneratorModel(generator, GeneratorTraining(), none_label=3)(
            ids=ids, labels=batch["labels"]
        )
    with pytest.raises(StageError, match=r"^Ar: `token_losses` changes its ids in place, "):
        TokenizerModel(tokenizer, generator, TokenizerTraining(), none_label=3)(**batch)


@pytest.mark.parametrize("cut", [lambda x: x[:1], lambda x: x.mean(), lambda x: None])
def test_losses_of_a_generator_that_are_not_of_each_image_are_named(
    cut: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = prologue()
    whole = Ar.token_losses
    monkeypatch.setattr(Ar, "token_losses", lambda *args, **drawn: cut(whole(*args, **drawn)))
    generator = ar(tokenizer.layout)
    model = GeneratorModel(generator, GeneratorTraining(), none_label=3)
    ids = tokenizer.encode(to_float(byte_images(4)))
    with pytest.raises(StageError, match=r"^Ar: `losses` gives .*, expected \[4, \.\.\.\]$"):
        model(ids=ids, labels=torch.zeros(4, dtype=torch.long))
    joint = TokenizerModel(tokenizer, generator, TokenizerTraining(), none_label=3)
    with pytest.raises(StageError, match=r"^Ar: `token_losses` gives .*, expected \[4, T\]$"):
        joint(images=byte_images(4))


class Constant(ReconstructionLoss):
    """A loss of one value, whatever the images are."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, reconstruction: Tensor, images: Tensor, step: int) -> dict[str, Tensor]:
        return {
            "b_c": reconstruction.new_tensor(self.value),
            "c": reconstruction.new_tensor(2 * self.value),
        }


def test_losses_of_any_names_count_apart() -> None:
    """Names that a ModuleDict refuses, those of other name spaces, and pairs that join alike."""
    names = ["my.loss", "items", "type", "l1", "ce", "own", "a", "a_b", "own"]
    given = dict(zip(labels(names), (Constant(10.0**n) for n in range(len(names))), strict=True))
    assert len(given) == len(names)
    tokenizer = prologue()
    found = TokenizerModel(
        tokenizer, ar(tokenizer.layout), TokenizerTraining(), none_label=3, losses=given
    )
    plain = TokenizerModel(tokenizer, found.prior, TokenizerTraining(), none_label=3)
    batch = byte_images(2)
    more = (
        found.parse_losses(found(images=batch))[0].double()
        - plain.parse_losses(plain(images=batch))[0].double()
    )
    assert len(found(images=batch)) == len(plain(images=batch)) + 2 * len(names)
    assert more.item() == pytest.approx(3 * sum(10.0**n for n in range(len(names))), rel=1e-6)


def test_labels_are_the_components_names_told_apart() -> None:
    assert labels(["lpips", "patchgan"]) == ["lpips", "patchgan"]
    assert labels(["patchgan"] * 3) == ["patchgan", "patchgan-2", "patchgan-3"]
    found = labels(["a", "a-2", "a", "a", "a-2", "own", "ce"])
    assert len(set(found)) == 7
    assert not {"own", "ce"} & set(found)


def test_the_same_loss_twice_is_refused(load: LOAD) -> None:
    with pytest.raises(
        UserError, match=r"losses\[1\]: the same as losses\[0\], 'patchgan'; expected it once"
    ) as raised:
        load("tokenizer_training.losses=[patchgan, {use: patchgan, weight: 0.1}]")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("[rate, rate]", r"metrics\[1\]: the same as metrics\[0\], 'rate'; expected it once"),
        (
            "[{use: rfid, resize: 64}, rate, {use: rfid, resize: 64}]",
            r"metrics\[2\]: the same as metrics\[0\], 'rfid'",
        ),
        (
            "[{use: rfid}, {use: rfid, resize: 96}]",
            r"metrics\[1\]: 'rfid' is in metrics\[0\] with other settings",
        ),
        (
            "[{use: probe}, {use: probe, train_images: 9}]",
            r"metrics\[1\]: 'probe' is in metrics\[0\]",
        ),
    ],
)
def test_a_metric_stands_once_since_its_numbers_have_one_name(
    load: LOAD, metrics: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load(f"metrics={metrics}")
    assert "\n" not in str(raised.value)


def test_a_parameter_of_two_optimizers_is_refused(tmp_path: Path) -> None:
    shared, own = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(1))
    check_apart({"autoencoder": [shared, own], "losses": [nn.Parameter(torch.zeros(2, 3))]})
    with pytest.raises(
        StageError, match=r"shape \[2, 3\] is learned by both 'autoencoder' and 'losses'"
    ):
        check_apart({"autoencoder": [shared], "losses": [own, shared]})


def test_one_parameter_of_two_losses_is_stepped_once() -> None:
    from prologue_bench.training.optimisation import optimizer_wrapper

    shared = nn.Parameter(torch.ones(2, 2))
    wrapper = optimizer_wrapper([shared, shared], Optimisation(learning_rate=0.1))
    shared.grad = torch.ones(2, 2)
    wrapper.step()
    assert torch.allclose(shared, torch.full((2, 2), 0.9), atol=1e-4)


class Unnamed(Prologue):
    """An own loss that is a plain number."""

    def losses(self, images: Tensor) -> Any:
        out = super().losses(images)
        return attrs.evolve(out, losses={**out.losses, "size": 0.5})


class Nameless(Prologue):
    """An own loss under a name that is no text."""

    def losses(self, images: Tensor) -> Any:
        out = super().losses(images)
        return attrs.evolve(out, losses={**out.losses, 7: out.losses["vq"]})


class NamedL1(Prologue):
    """An own loss called like one of the framework's, which is allowed."""

    def losses(self, images: Tensor) -> Any:
        out = super().losses(images)
        return attrs.evolve(out, losses={**out.losses, "l1": out.losses["vq"]})


@pytest.mark.parametrize(("cls", "broken"), [(Unnamed, "size"), (Nameless, "7"), (NamedL1, None)])
def test_check_plugin_looks_at_own_losses(cls: type[Any], broken: str | None) -> None:
    registry = Registry.load()
    component = Component(
        name="broken",
        target=f"{__name__}:{cls.__name__}",
        summary="for a test",
        settings="prologue_plugins.tokenizers.settings:PrologueSettings",
    )
    registry.add("tokenizer", component, "a test")
    (check,) = [
        each
        for each in checks_of("tokenizer", "broken", {}, registry=registry)
        if each.name == "losses"
    ]
    if broken is None:
        check.run()
        return
    with pytest.raises(Broken, match=rf"`losses`: .*{broken}"):
        check.run()


class Backwards(Ar):
    """Gives its cross-entropies from the last position to the first."""

    def token_losses(self, *arguments: Any, **drawn: Any) -> Tensor:
        return super().token_losses(*arguments, **drawn).flip(1)

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        straight = Ar(self.settings, self.layout, self.labels)
        straight.load_state_dict(self.state_dict())
        return straight.eval().nll(ids, labels)

    def __init__(self, settings: ArSettings, layout: TokenLayout, labels: int) -> None:
        super().__init__(settings, layout, labels)
        self.settings, self.labels = settings, labels


def test_check_plugin_wants_cross_entropies_in_the_order_of_the_layout() -> None:
    registry = Registry.load()
    component = Component(
        name="backwards",
        target=f"{__name__}:Backwards",
        summary="for a test",
        settings="prologue_plugins.generators.settings:ArSettings",
    )
    registry.add("generator", component, "a test")
    for name, expected in (("ar", None), ("rar", None), ("backwards", "do not add up to `nll")):
        checks = checks_of("generator", name, {}, registry=registry)
        (check,) = [each for each in checks if each.name == "losses"]
        if expected is None:
            check.run()
        else:
            with pytest.raises(Broken, match=expected):
                check.run()


def test_curves_of_published_reports_are_still_drawn() -> None:
    results = load_results(OLD_REPORTS / "prologue_count")
    titles = [title for title, _ in curve_plots(results)]
    assert {
        "Tokenizer: Reconstruction, L1",
        "Tokenizer: vq",
        "Generator: Cross-entropy, nats/token",
    } <= set(titles)
