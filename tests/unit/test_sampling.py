"""Guidance, prefixes and the decoding loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from prologue_bench.config.settings import Guidance, Sampling
from prologue_bench.config.structure import structure
from prologue_bench.contracts import FREE, Segment, TokenLayout, fixed_at
from prologue_bench.errors import UserError
from prologue_bench.sampling.decoding import draw_ids, guidance_scales, sample_ids
from prologue_bench.seeds import generator as generator_of
from prologue_plugins.generators.ar import Ar, ArState
from tests.factories.models import LAYOUTS, ar, random_ids, rar

LAYOUT = LAYOUTS[1]
LABELS = torch.tensor([0, 1, 2])
NONE = 3
GREEDY = {"top_k": 1}


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_scales_follow_their_schedules_with_the_separator_as_first_index() -> None:
    sampling = Sampling(
        guidance={
            "prologue": Guidance(scale=0.7),
            "visual": Guidance(schedule="cosine", scale=3.0, power=0.5),
        }
    )
    expected = [0.7, 0.7] + [
        1 + (3 - 1) * (1 - math.cos(math.pi * (i / 5) ** 0.5)) / 2 for i in (1, 2, 3, 4)
    ]
    assert guidance_scales(LAYOUT, sampling) == pytest.approx(expected)
    linear = Sampling(guidance={"visual": Guidance(schedule="linear", start=0.0, scale=2.0)})
    assert guidance_scales(LAYOUT, linear) == pytest.approx([1, 1, 0.4, 0.8, 1.2, 1.6])
    over_all = Sampling(guidance={"all": Guidance(schedule="linear", start=0.0, scale=7.0)})
    assert guidance_scales(LAYOUT, over_all) == pytest.approx([0, 1, 3, 4, 5, 6])
    assert guidance_scales(LAYOUTS[2], over_all) == pytest.approx(
        [7 * step / 6 for step in range(6)]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_token_has_its_place_in_one_segment(layout: TokenLayout) -> None:
    found = [layout.segment_at(token) for token in range(layout.length)]
    assert found == [(each.name, index) for each in layout for index in range(each.length)]
    for outside in (-1, layout.length):
        with pytest.raises(IndexError, match=f"no token {outside} among the {layout.length}"):
            layout.segment_at(outside)


def test_guided_decoding_equals_two_passes_over_whole_sequences() -> None:
    generator = ar(LAYOUT)
    sampling = Sampling(top_k=1, guidance={"all": Guidance(schedule="cosine", scale=8.0)})
    ids = sample_ids(generator, LABELS, sampling, rng(), NONE)
    conditional = generator.logits(ids, LABELS)
    unconditional = generator.logits(ids, torch.full_like(LABELS, NONE))
    for token, scale in enumerate(guidance_scales(LAYOUT, sampling)):
        name, index = generator.layout.segment_at(token)
        place, rows = (
            generator.vocabulary.spans[name].start + index,
            generator.vocabulary.rows(name),
        )
        guided = scale * conditional[:, place, rows] + (1 - scale) * unconditional[:, place, rows]
        assert torch.equal(guided.argmax(-1), ids[:, token])


def test_a_scale_of_one_draws_what_no_guidance_draws() -> None:
    generator = ar(LAYOUT)
    plain = sample_ids(generator, LABELS, Sampling(), rng(), NONE)
    assert torch.equal(
        plain, sample_ids(generator, LABELS, Sampling(guidance={"all": Guidance()}), rng(), NONE)
    )


class Counting(Ar):
    """Counts the positions that go through the model, and its passes."""

    def start(self, labels: Tensor) -> ArState:
        self.passes: list[tuple[int, int]] = []
        return super().start(labels)

    def _input(self, state: object, embedded: Tensor) -> Tensor:
        self.passes.append((embedded.shape[0], embedded.shape[1]))
        return embedded


def test_the_separator_costs_no_pass_and_guidance_one_pass_for_both() -> None:
    plain = ar(LAYOUT)
    plain.__class__ = Counting
    assert isinstance(plain, Counting)
    sample_ids(plain, LABELS, Sampling(), rng(), NONE)
    assert plain.passes == [(3, 1), (3, 1), (3, 2), (3, 1), (3, 1), (3, 1)]
    sample_ids(plain, LABELS, Sampling(guidance={"all": Guidance(scale=2.0)}), rng(), NONE)
    assert plain.passes == [(6, 1), (6, 1), (6, 2), (6, 1), (6, 1), (6, 1)]


class Recording(Ar):
    """Remembers how it is called: labels, and the ids given to each step."""

    def start(self, labels: Tensor) -> ArState:
        self.calls: list[list[list[int]] | None] = []
        self.started = [*getattr(self, "started", []), labels.tolist()]
        return super().start(labels)

    def decode_step(self, state: ArState, chosen: Tensor | None) -> Tensor:
        self.calls.append(None if chosen is None else chosen.tolist())
        return super().decode_step(state, chosen)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("fixed", [0, 3])
def test_the_sampler_starts_once_and_asks_for_each_token_once_in_order(
    scale: float, fixed: int
) -> None:
    plain = ar(LAYOUT)
    plain.__class__ = Recording
    assert isinstance(plain, Recording)
    sampling = Sampling(guidance={"all": Guidance(scale=scale)})
    prefix = random_ids(LAYOUT)[:, :fixed] if fixed else None
    ids = sample_ids(plain, LABELS, sampling, rng(), NONE, prefix)
    batches = 2 if scale != 1 else 1
    assert plain.started == [[*LABELS.tolist(), *[NONE] * 3 * (batches - 1)]]
    first = None if prefix is None else prefix.tolist() * batches
    steps = range(fixed, LAYOUT.length - 1)  # what comes after the last token is not asked for
    assert plain.calls == [first, *([[i] for i in ids[:, at].tolist()] * batches for at in steps)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("guidance", [{}, {"all": Guidance(schedule="linear", scale=4.0)}])
def test_a_fixed_prefix_of_any_length_continues_as_if_it_had_been_drawn(
    layout: TokenLayout, guidance: dict[str, Guidance]
) -> None:
    generator = ar(layout)
    sampling = Sampling(top_k=1, guidance=guidance)
    whole = sample_ids(generator, LABELS, sampling, rng(), NONE)
    for length in range(layout.length + 1):
        again = sample_ids(generator, LABELS, sampling, rng(), NONE, fixed=whole[:, :length])
        assert torch.equal(again, whole)
    other = random_ids(layout)[:, :1]
    assert torch.equal(
        sample_ids(generator, LABELS, sampling, rng(), NONE, fixed=other)[:, :1], other
    )


@pytest.mark.parametrize("places", [(3,), (0, 3), (1, 2, 5), (2, 3, 4, 5), ()])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("guidance", [{}, {"all": Guidance(schedule="linear", scale=4.0)}])
def test_any_tokens_can_be_fixed_and_those_behind_are_drawn_given_them(
    layout: TokenLayout, guidance: dict[str, Guidance], places: tuple[int, ...]
) -> None:
    """Greedy, each drawn token is the likeliest in a pass over the whole sequence."""
    generator = ar(layout)
    sampling = Sampling(top_k=1, guidance=guidance)
    given = random_ids(layout)
    places = tuple(place for place in places if place < layout.length)
    ids = sample_ids(generator, LABELS, sampling, rng(), NONE, fixed_at(given, places))
    layout.check(ids, len(LABELS))
    assert torch.equal(ids[:, places], given[:, places])
    conditional = generator.logits(ids, LABELS)
    unconditional = generator.logits(ids, torch.full_like(LABELS, NONE))
    scales = guidance_scales(layout, sampling)
    for token in set(range(layout.length)) - set(places):
        name, index = generator.layout.segment_at(token)
        place = generator.vocabulary.spans[name].start + index
        rows = generator.vocabulary.rows(name)
        scale = scales[token]
        guided = scale * conditional[:, place, rows] + (1 - scale) * unconditional[:, place, rows]
        assert torch.equal(guided.argmax(-1), ids[:, token])


def test_what_is_fixed_changes_no_noise_and_may_differ_between_images() -> None:
    """Tokens before a fixed one are those without it; images fix tokens of their own."""
    generator = ar(LAYOUT)
    plain = sample_ids(generator, LABELS, Sampling(), rng(), NONE)
    given = random_ids(LAYOUT)
    own = torch.full_like(given, FREE)
    own[0, 1], own[1, 4] = given[0, 1], given[1, 4]
    ids = sample_ids(generator, LABELS, Sampling(), rng(), NONE, own)
    assert ids[0, 1] == given[0, 1]
    assert ids[1, 4] == given[1, 4]
    assert torch.equal(ids[0, :1], plain[0, :1])
    assert torch.equal(ids[1, :4], plain[1, :4])
    assert torch.equal(ids[2], plain[2])


def test_images_with_fixed_tokens_do_not_depend_on_their_batch() -> None:
    generator, fixed = ar(LAYOUT), fixed_at(random_ids(LAYOUT), [1, 3])
    together = draw_ids(generator, Sampling(), NONE, LABELS, fixed, "x")
    alone = [
        draw_ids(generator, Sampling(), NONE, LABELS[i : i + 1], fixed[i : i + 1], "x", first=i)
        for i in range(3)
    ]
    assert torch.equal(torch.cat(alone), together)


@pytest.mark.parametrize("places", [(0, 1, 2), (3, 4, 5), (0, 5), (2,), (0, 1, 2, 3, 4, 5)])
def test_steps_that_are_fixed_at_either_end_cost_no_pass(places: tuple[int, ...]) -> None:
    plain = ar(LAYOUT)
    plain.__class__ = Recording
    assert isinstance(plain, Recording)
    given = random_ids(LAYOUT)
    plain.calls = []
    ids = sample_ids(plain, LABELS, Sampling(), rng(), NONE, fixed_at(given, places))
    drawn = [place for place in range(6) if place not in places]
    steps = range(drawn[0], drawn[-1] + 1) if drawn else range(0)
    assert len(plain.calls) == len(steps)
    if steps and steps[0]:
        assert plain.calls[0] == ids[:, : steps[0]].tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_randomised_model_decodes_from_its_cache_what_one_pass_gives(layout: TokenLayout) -> None:
    generator = rar(layout).eval()
    ids = sample_ids(generator, LABELS, Sampling(top_k=1), rng(), NONE)
    logits = generator.logits(ids, LABELS)
    for token in range(layout.length):
        name, index = generator.layout.segment_at(token)
        place, rows = (
            generator.vocabulary.spans[name].start + index,
            generator.vocabulary.rows(name),
        )
        assert torch.equal(logits[:, place, rows].argmax(-1), ids[:, token])


def test_random_orders_shuffle_inside_segments_and_less_as_training_goes_on() -> None:
    generator = rar(LAYOUT)
    shares = [generator.shuffled_share(progress) for progress in (0.0, 0.5, 0.625, 0.75, 1.0)]
    assert shares == pytest.approx([1, 1, 0.5, 0, 0])
    order = generator.random_order(200, generator_of, 0.0)
    for span in generator.vocabulary.spans.values():
        assert order[:, span].sort(dim=1).values.eq(torch.arange(span.start, span.stop)).all()
    assert order[:, 2].eq(2).all()  # the separator
    assert not order[:, :2].eq(torch.tensor([0, 1])).all()
    assert generator.random_order(9, generator_of, 1.0).eq(torch.arange(7)).all()


def test_a_shuffled_loss_sees_only_the_places_before_in_its_order() -> None:
    layout = TokenLayout((Segment("visual", 4, 6),))
    generator = rar(layout)
    ids = random_ids(layout)
    order = torch.tensor([[2, 0, 3, 1]]).expand(3, -1)

    def logits_of(ids: torch.Tensor) -> torch.Tensor:
        inputs = generator._ordered_inputs(ids, order, LABELS, {}, {})
        logits: torch.Tensor = generator.head(*generator._features(inputs))
        return logits

    logits = logits_of(ids)
    for place in range(4):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 6
        other = logits_of(changed)
        seen_from = [2, 0, 3, 1].index(place) + 1
        assert torch.allclose(logits[:, :seen_from], other[:, :seen_from], atol=1e-6)
        if seen_from < 4:
            assert not torch.allclose(logits[:, seen_from:], other[:, seen_from:], atol=1e-6)
    losses = generator.token_losses(ids, LABELS, order=order)
    assert losses.shape == (3, 4)


def test_guidance_is_checked() -> None:
    with pytest.raises(
        UserError, match=r"'guidance' must have either 'all' or segments|guidance: must have either"
    ):
        structure(Sampling, {"guidance": {"all": {"scale": 2}, "visual": {"scale": 2}}}, "sampling")
    with pytest.raises(UserError, match=r"guidance.all.schedule: found 'sine'"):
        structure(Sampling, {"guidance": {"all": {"schedule": "sine"}}}, "sampling")
