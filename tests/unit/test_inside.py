"""What is seen inside a tokenizer's training, against numbers made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.contracts import (
    InspectedPrior,
    InspectedTokens,
    Segment,
    Tokenizer,
    TokenizerOutput,
    TokenLayout,
)
from prologue_bench.contracts.checked import check_inspected_prior, check_inspected_tokens
from prologue_bench.errors import StageError
from prologue_bench.reporting.figures import inside_plots
from prologue_bench.reporting.summary import warnings
from prologue_bench.stats.codes import joint_bits, redundancy
from prologue_bench.stats.jumps import WINDOW, Jumps
from prologue_bench.training.inside import (
    LookedAt,
    Timetable,
    figures_of_codes,
    figures_of_images,
    gradient_norms,
)
from prologue_bench.training.models import TokenizerModel
from tests.documents import results_of
from tests.factories.models import ar, prologue
from tests.factories.training import byte_images, joint_model

LAYOUT = TokenLayout((Segment("prologue", 2, 8), Segment("visual", 3, 16)))


def looked_at(count: int = 10) -> LookedAt:
    return LookedAt(images=byte_images(count).numpy(), labels=np.arange(count) % 3)


def test_bits_of_tuples_are_those_of_images_and_not_of_positions() -> None:
    fixed = np.array([[0, 1, 2]] * 8)
    assert (joint_bits(fixed), redundancy(fixed)) == (0.0, 0.0)
    twice = np.array([[0, 0], [1, 1], [2, 2], [3, 3]])
    assert joint_bits(twice) == pytest.approx(2.0)
    assert redundancy(twice) == pytest.approx(2.0), "the second position repeats the first"
    apart = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert (joint_bits(apart), redundancy(apart)) == pytest.approx((2.0, 0.0))


def test_codes_and_perplexity_of_a_segment_and_of_its_positions() -> None:
    ids = np.array([[0, 5], [0, 6], [0, 5], [0, 6]])
    found = figures_of_codes(ids, Segment("prologue", 2, 8))
    # 0 four times, 5 and 6 twice: 1.5 bits.
    assert (found["codes"], found["perplexity"]) == pytest.approx((3, 2**1.5))
    assert found["codes_by_position"] == [1, 2]
    assert found["perplexity_by_position"] == pytest.approx([1, 2])
    assert (found["position_codes"], found["position_perplexity"]) == pytest.approx((1.5, 1.5))


def test_codebooks_are_taken_alone() -> None:
    ids = np.array([[0, 0, 0, 1], [0, 2, 0, 3]])
    found = figures_of_codes(ids, Segment("visual", 4, 8, codebooks=2))
    assert (found["codes"], found["perplexity"]) == pytest.approx(((1 + 4) / 2, (1 + 4) / 2))
    assert found["codes_by_position"] == [1, 2, 1, 2]


def test_jumps_are_rises_between_means_of_twenty_steps() -> None:
    def jumps(*means: float) -> list[int]:
        found = Jumps()
        losses = [mean for mean in means for _ in range(WINDOW)]
        return [step for step, loss in enumerate(losses, 1) if found.add(loss)]

    assert jumps(0.5, 0.2, 0.229, 0.2) == []
    assert jumps(0.2, 0.231, 0.2, 0.4) == [40, 80]
    assert jumps(0.2) == []
    spike = Jumps()
    for step in range(1, 41):
        spike.add(0.7 if step == 30 else 0.2)
    assert spike.count == 0, "0.5 more in one step is 0.025 in the mean"


def test_points_and_looks_become_rare_in_long_trainings_and_with_small_batches() -> None:
    short = Timetable(asked=50, steps=120, batch_size=160, images=1000)
    assert [step for step in range(1, 121) if short.has_point(step)] == [50, 100, 120]
    assert [step for step in range(1, 121) if short.has_look(step)] == [50, 100, 120]
    small = Timetable(asked=50, steps=6000, batch_size=32, images=1000)
    assert (small.interval, small.look_interval) == (50, 250)
    paper = Timetable(asked=50, steps=250_000, batch_size=256, images=1000)
    assert (paper.interval, paper.look_interval) == (1250, 1250)
    assert not Timetable(asked=50, steps=120, batch_size=160, images=0).has_look(120)


class Shown(Tokenizer):
    """Ids and latents as they are given: one pair of numbers an image."""

    def __init__(self, ids: Tensor, latents: Tensor | None) -> None:
        super().__init__()
        self.layout = TokenLayout((Segment("visual", 2, 4),))
        self.shown = ids, latents
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images: Tensor) -> Tensor:
        return self.shown[0][: len(images)]

    def inspect(self, images: Tensor) -> InspectedTokens:
        ids, latents = self.shown
        return InspectedTokens(ids, {} if latents is None else {"visual": latents})

    def decode(self, ids: Tensor) -> Tensor:
        raise NotImplementedError

    def losses(self, images: Tensor) -> TokenizerOutput:
        raise NotImplementedError


def test_the_norm_of_latents_and_the_share_of_them_that_varies() -> None:
    # The first position is the same in both images; of the second, (3, 4) and (3, -4), 9 of 25 is.
    latents = torch.tensor([[[0.0, 1.0], [3.0, 4.0]], [[0.0, 1.0], [3.0, -4.0]]])
    shown = Shown(torch.tensor([[0, 1], [0, 2]]), latents)
    model = TokenizerModel(shown, None, TokenizerTraining(), none_label=3)
    found = figures_of_images(model, looked_at(2))
    assert found["norm/visual"] == pytest.approx((1 + 5) / 2)
    assert found["varying/visual"] == pytest.approx((0 + 16 / 25) / 2)


def test_a_tokenizer_that_shows_no_latents_and_has_no_prior_has_the_figures_of_its_codes() -> None:
    model = TokenizerModel(
        Shown(torch.tensor([[0, 1], [0, 2]]), None), None, TokenizerTraining(), none_label=3
    )
    found = {name.partition("/")[0] for name in figures_of_images(model, looked_at(2))}
    assert {"codes", "perplexity"} <= found
    assert not found & {"norm", "varying", "joint_bits", "cross_entropy", "accuracy"}


@pytest.mark.parametrize("separator", [True, False])
def test_predictions_are_told_apart_by_segment(separator: bool) -> None:
    tokenizer = prologue(separator=separator)
    prior = ar(tokenizer.layout)
    model = TokenizerModel(tokenizer, prior, TokenizerTraining(), none_label=3)
    seen = looked_at(6)
    found = figures_of_images(model, seen)
    x = torch.from_numpy(seen.images).float() / 127.5 - 1
    with torch.no_grad():
        ids = tokenizer.eval().encode(x)
        logits = prior.logits(ids, torch.full((6,), 3))
    targets = prior.vocabulary.sequence(ids)
    costs = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    hits = (logits.argmax(-1) == targets).float()
    for name, span in prior.vocabulary.spans.items():
        assert found[f"cross_entropy/{name}"] == pytest.approx(float(costs[:, span].mean()), 1e-4)
        assert found[f"accuracy/{name}"] == pytest.approx(float(hits[:, span].mean()))
    assert ("cross_entropy/separator" in found) == separator
    if separator:
        assert found["cross_entropy/separator"] == pytest.approx(float(costs[:, 3].mean()), 1e-4)
    assert found["joint_bits/prologue"] == pytest.approx(joint_bits(ids[:, :3].numpy()))
    assert "joint_bits/visual" not in found, "it does not learn from the prior"
    assert found["joint_bits/prologue"] <= math.log2(6)


def test_a_look_leaves_modes_gradients_and_random_streams_alone() -> None:
    model = joint_model().train()
    model.tokenizer.decoder.eval()
    torch.manual_seed(5)
    figures_of_images(model, looked_at())
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert model.tokenizer.encoder.training
    assert not model.tokenizer.decoder.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradient_norms_are_those_of_the_parts() -> None:
    model = joint_model()
    sum(model(images=byte_images(6)).values()).backward()  # type: ignore[union-attr]
    found = gradient_norms(model)
    assert set(found) == {f"gradient/{part}" for part in ("encoder", "decoder", "rest", "prior")}
    assert model.prior is not None
    flat = torch.cat([p.grad.flatten() for p in model.prior.parameters() if p.grad is not None])
    assert found["gradient/prior"] == pytest.approx(float(flat.norm()), rel=1e-5)
    whole = sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None)
    assert sum(each**2 for each in found.values()) == pytest.approx(float(whole), rel=1e-4)


def test_what_tokenizers_and_priors_cannot_show_is_one_line() -> None:
    ids = torch.zeros(4, 5, dtype=torch.long)
    told = r"`inspect`, or `encode` where it has none of its own: ids have shape \(4, 5\), "
    with pytest.raises(StageError, match=told + r"expected \[3, 5\]"):
        check_inspected_tokens(InspectedTokens(ids), LAYOUT, 3)
    with pytest.raises(StageError, match="latents of 'x', expected segments: prologue, visual"):
        check_inspected_tokens(InspectedTokens(ids, {"x": torch.zeros(4, 1, 2)}), LAYOUT, 4)
    with pytest.raises(StageError, match=r"shape \(4, 2\), expected \[4, positions, channels\]"):
        check_inspected_tokens(InspectedTokens(ids, {"visual": torch.zeros(4, 2)}), LAYOUT, 4)
    with pytest.raises(StageError, match="expected InspectedTokens"):
        check_inspected_tokens(ids, LAYOUT, 4)
    with pytest.raises(StageError, match=r"hits have shape \(4, 2\), expected \(4, 3\)"):
        check_inspected_prior(InspectedPrior(torch.zeros(4, 3), torch.zeros(4, 2)), 4)


def run_of(seed: int, bits: float, jumps: int, **more: Any) -> dict[str, Any]:
    inside = {
        "step": [50, 100, 120],
        "joint_bits/prologue": [5.0, bits, None],
        "codes/visual": [9.0, 8.0, None],
        "gradient/prior": [1.0, 2.0, 3.0],
        "jumps": [0, jumps, jumps],
    }
    return {"variant": "8 tokens", "seed": seed, "inside": inside, **more}


def test_the_summary_names_seeds_that_collapsed_or_jumped() -> None:
    runs = [run_of(0, 7.9, 2), run_of(1, 7.0, 0), run_of(2, 0.61, 0)]
    assert warnings(results_of({"runs": runs})) == [
        "8 tokens: seed 0: the reconstruction loss jumped twice in training; "
        "seed 2: the prologue carries 0.6 bits: collapsed."
    ]
    assert warnings(results_of({"runs": [run_of(0, 1.0, 0)]})) == []


def test_a_collapse_that_a_metric_tells_of_is_told_once() -> None:
    text = "collapsed codebook, prologue carries 0.60 bits per image"
    run = run_of(0, 0.61, 1, measurements=[{"warning": text}])
    (told,) = warnings(results_of({"runs": [run]}))
    jump = "the reconstruction loss jumped once in training"
    assert told == f"8 tokens: seed 0: {text}; seed 0: {jump}."


def test_the_report_has_a_small_plot_for_each_figure_of_each_segment() -> None:
    main, detail = inside_plots(results_of({"runs": [run_of(0, 7.9, 2), run_of(1, 7.0, 0)]}))
    assert [title for title, _ in main] == ["Joint bits, prologue", "Codes in use, visual"]
    assert [title for title, _ in detail] == ["Gradient norm, prior", "Jumps of L1 so far"]
    assert inside_plots(results_of({"runs": [{"variant": "a", "seed": 0}]})) == ([], [])
