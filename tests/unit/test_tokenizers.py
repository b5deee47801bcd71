"""The tokenizers beyond the 2D baseline, and the variants of the prologue."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from prologue_bench.contracts import Tokenizer
from prologue_bench.errors import UserError
from prologue_plugins.layers.quantizers import Codebook, OneHotQuantizer, VectorQuantizer
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.prologue_post import ProloguePost
from prologue_plugins.tokenizers.settings import ProloguePostSettings, Vq1dSettings, Vq2dSettings
from prologue_plugins.tokenizers.vq_1d import Vq1d
from prologue_plugins.tokenizers.vq_2d import Vq2d
from tests.factories.models import IMAGES, PROLOGUE, SIZE, images, prologue

COMMON = {"patch_size": 4, "encoder": SIZE, "decoder": SIZE, "visual_codebook": 16}


def post(**changes: object) -> ProloguePost:
    torch.manual_seed(0)
    second = TransformerSettings(width=8, layers=1, heads=1)
    values = {field.name: getattr(PROLOGUE, field.name) for field in attrs.fields(type(PROLOGUE))}
    return ProloguePost(
        ProloguePostSettings(**{**values, "prologue_encoder": second, **changes}), IMAGES
    )  # type: ignore[arg-type]


def one_dimensional() -> Vq1d:
    torch.manual_seed(0)
    return Vq1d(Vq1dSettings(**COMMON, tokens=5), IMAGES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        one_dimensional,
        post,
        lambda: post(prologue_input="patches"),
        lambda: post(prologue_input="before-quantization"),
        lambda: prologue(shared_codebook=True),
        lambda: prologue(straight_through="vq"),
    ],
)
def test_ids_round_trip_and_match_training(make: object) -> None:
    tokenizer: Tokenizer = make()  # type: ignore[operator]
    ids = tokenizer.encode(images())
    tokenizer.layout.check(ids)
    out = tokenizer.losses(images())
    assert torch.equal(ids, out.ids)
    assert tokenizer.decode(ids).shape == images().shape
    if out.reconstruction is not None:
        assert torch.allclose(tokenizer.decode(ids), out.reconstruction, atol=1e-5)


def test_one_dimensional_tokens_have_no_grid_and_any_number() -> None:
    layout = one_dimensional().layout
    assert (layout.length, layout.segments[0].grid) == (5, None)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (Vq1d, Vq1dSettings(**COMMON, tokens=5)),  # type: ignore[arg-type]
        (Vq2d, Vq2dSettings(**COMMON)),  # type: ignore[arg-type]
        (Prologue, PROLOGUE),
        (Prologue, attrs.evolve(PROLOGUE, prologue_tokens=0)),
        (Prologue, attrs.evolve(PROLOGUE, shared_codebook=True)),
    ],
)
def test_settings_tell_the_layout_without_the_model(cls: Any, settings: Any) -> None:
    layout = cls(settings, IMAGES).layout
    assert settings.segments(IMAGES.shape) == layout.segments


def test_dropout_leaves_the_finished_visual_tokens_as_they_are_while_post_trains() -> None:
    """A finished tokenizer evaluates whatever is trained beside it."""
    torch.manual_seed(1)
    tokenizer = post(encoder=attrs.evolve(SIZE, dropout=0.5))
    for each in tokenizer.encoder.parameters():
        torch.nn.init.normal_(each, std=0.5)
    span = tokenizer.layout.span("visual")
    finished = tokenizer.eval().encode(images())[:, span]
    assert torch.equal(tokenizer.train().losses(images()).ids[:, span], finished)
    assert tokenizer.prologue_encoder.training


def test_only_what_post_adds_learns() -> None:
    tokenizer = post()
    tokenizer.losses(images()).relaxed["prologue"].square().sum().backward()
    (tokenizer.losses(images()).relaxed["prologue"] @ torch.randn(8)).sum().backward()
    learning = {name.split(".")[0] for name, p in tokenizer.named_parameters() if p.requires_grad}
    assert learning == {"prologue_encoder", "prologue_quantizer"}
    assert tokenizer.prologue_encoder.queries is not None
    assert tokenizer.prologue_encoder.queries.grad is not None
    assert all(p.grad is None for p in tokenizer.encoder.parameters())
    assert tokenizer.losses(images()).reconstruction is None


def test_post_builds_on_the_2d_baseline_of_its_own_settings() -> None:
    settings = ProloguePostSettings(patch_size=4, visual_codebook=16)
    name, values = ProloguePost.foundation(settings)
    assert name == "vq-2d"
    assert Vq2dSettings(**values) == Vq2dSettings(patch_size=4, visual_codebook=16)
    baseline = Vq2d(Vq2dSettings(**COMMON), IMAGES)  # type: ignore[arg-type]
    tokenizer = post()
    result = tokenizer.load_state_dict(baseline.state_dict(), strict=False)
    assert result.unexpected_keys == []
    assert {name.split(".")[0] for name in result.missing_keys} == {
        "prologue_encoder",
        "prologue_quantizer",
    }
    assert torch.equal(tokenizer.encode(images())[:, 3:], baseline.encode(images()))


def test_post_without_a_prologue_or_with_learning_visual_tokens_is_a_user_error() -> None:
    with pytest.raises(UserError, match="prologue_tokens: found 0"):
        post(prologue_tokens=0)
    with pytest.raises(UserError, match="are frozen"):
        post(visual_ce_weight=1.0)


def test_a_shared_codebook_is_one_set_of_weights() -> None:
    tokenizer = prologue(shared_codebook=True)
    assert tokenizer.prologue_quantizer is not None
    assert tokenizer.prologue_quantizer.codebook is tokenizer.quantizer.codebook
    assert tokenizer.layout.segment("prologue").vocabulary == 16


def test_ce_on_visual_reaches_the_visual_tokens_and_otherwise_nothing_does() -> None:
    for weight, reached in ((0.0, False), (3.0, True)):
        tokenizer = prologue(visual_ce_weight=weight)
        out = tokenizer.losses(images())
        assert tokenizer.prior is not None
        assert set(tokenizer.prior.weights) == {"prologue", "visual"} if reached else {"prologue"}
        sum(
            (one_hot * torch.randn_like(one_hot)).sum() for one_hot in out.relaxed.values()
        ).backward()  # type: ignore[union-attr]
        assert (tokenizer.quantizer.codebook.weight.grad is not None) is reached
    baseline = Vq2d(Vq2dSettings(**COMMON, visual_ce_weight=1.0), IMAGES)  # type: ignore[arg-type]
    assert baseline.prior is not None
    assert baseline.prior.weights == {"visual": 1.0}


def test_plain_vq_gives_the_latents_the_gradient_of_straight_through_codes() -> None:
    torch.manual_seed(0)
    codebook = Codebook(6, 5, 4)
    quantizer = OneHotQuantizer(codebook, 0.1, "vq", commitment=0.25)
    z = torch.nn.functional.normalize(torch.randn(2, 3, 4), dim=-1).requires_grad_()
    table = torch.randn(5, 7)
    found = quantizer.quantize(z)
    target = torch.randn(2, 3, 7)
    (found.one_hot @ table * target).sum().backward()
    # A linear map W of the one-hot is to the latents what W^T codes is to the straight-through
    # code.
    again = z.detach().requires_grad_()
    straight: Tensor = again + (codebook.look_up(found.ids) - again).detach()
    (straight @ (codebook.codes().detach().T @ table) * target).sum().backward()
    assert torch.allclose(z.grad, again.grad, atol=1e-6)  # type: ignore[arg-type]
    reference = VectorQuantizer(6, 5, 4, 0.25)
    reference.codebook = codebook
    assert found.loss is not None
    assert torch.allclose(found.loss, reference.quantize(z).loss)
