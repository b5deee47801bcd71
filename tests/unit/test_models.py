"""The transformer, the tokenizers and the AR model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prologue_bench.config.settings import Sampling
from prologue_bench.contracts import TokenLayout
from prologue_bench.errors import UserError
from prologue_bench.sampling.decoding import restrict, sample_ids
from prologue_plugins.layers.passes import normalise, rotate
from prologue_plugins.layers.quantizers import Codebook, OneHotQuantizer, VectorQuantizer
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.transformer import (
    ConditionalScale,
    gated_linear,
    rotary_angles,
    rotation,
    scaled_linear,
)
from prologue_plugins.layers.vit import axis_channels, from_patches, to_patches
from prologue_plugins.tokenizers.settings import Vq2dSettings
from prologue_plugins.tokenizers.vq_2d import Vq2d
from tests.factories.models import IMAGES, LAYOUTS, SIZE, ar, images, prologue, random_ids


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_patches_round_trip(rows: int, columns: int, size: int, channels: int) -> None:
    x = torch.randn(2, channels, rows * size, columns * size)
    assert torch.equal(from_patches(to_patches(x, size), size, (rows, columns)), x)


def test_patches_are_row_major_with_channels_fastest() -> None:
    x = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4).float()
    first = to_patches(x, 2)[0, 1]
    assert first.tolist() == [x[0, c, i, j].item() for i in (0, 1) for j in (2, 3) for c in (0, 1)]


@given(st.sampled_from([8, 16, 32, 48, 64, 80, 128]))
def test_rotary_channels_fill_the_head(channels: int) -> None:
    split = axis_channels(TransformerSettings(width=channels, heads=1))
    assert sum(split) == channels
    assert all(part % 2 == 0 for part in split)
    assert axis_channels(TransformerSettings()) == (20, 20, 24)
    assert axis_channels(TransformerSettings(width=16, heads=1, rotary_axes=(2, 6, 8))) == (2, 6, 8)


def test_rotation_matches_complex_multiplication() -> None:
    angles = rotary_angles(torch.arange(5)[:, None], [8], 100.0)
    x = torch.randn(2, 3, 5, 8)
    expected = torch.view_as_complex(x.reshape(2, 3, 5, 4, 2)) * torch.polar(
        torch.ones_like(angles), angles
    ).to(torch.complex64)
    assert torch.allclose(
        rotate(x, rotation(angles)), torch.view_as_real(expected).flatten(-2), atol=1e-5
    )


def test_norm_scales_and_gates_fold_into_the_linear_layers() -> None:
    linear = torch.nn.Linear(6, 4)
    x, scale, gate = torch.randn(2, 3, 6), torch.randn(6), torch.randn(4)
    assert torch.allclose(scaled_linear(linear, x, scale), linear(x * scale), atol=1e-6)
    assert torch.allclose(gated_linear(linear, x, gate), linear(x) * gate, atol=1e-6)
    assert torch.allclose(normalise(x), x / x.norm(dim=-1, keepdim=True) * 6**0.5, atol=1e-5)
    assert ConditionalScale(6, 2)(torch.randn(1, 2)).shape == (6,)


def test_encode_matches_the_ids_of_training_and_decode_the_reconstruction() -> None:
    tokenizer = prologue()
    out = tokenizer.losses(images())
    ids = tokenizer.encode(images())
    assert torch.equal(ids, out.ids)
    tokenizer.layout.check(ids)
    assert torch.allclose(tokenizer.decode(ids), out.reconstruction, atol=1e-5)


def test_the_decoder_never_sees_the_prologue() -> None:
    tokenizer = prologue()
    ids = tokenizer.encode(images())
    other = ids.clone()
    other[:, :3] = (other[:, :3] + 1) % 8
    assert torch.equal(tokenizer.decode(ids), tokenizer.decode(other))


def test_no_prologue_tokens_is_the_2d_baseline() -> None:
    torch.manual_seed(0)
    baseline = Vq2d(
        Vq2dSettings(patch_size=4, encoder=SIZE, decoder=SIZE, visual_codebook=16), IMAGES
    )
    same = prologue(prologue_tokens=0)
    assert same.prior is None
    assert same.layout == baseline.layout
    assert torch.equal(
        same.losses(images()).reconstruction, baseline.losses(images()).reconstruction
    )


def test_reconstruction_teaches_nothing_to_the_prologue_quantizer() -> None:
    tokenizer = prologue()
    out = tokenizer.losses(images())
    (out.reconstruction.square().mean() + out.losses["vq"]).backward()
    assert tokenizer.prologue_quantizer is not None
    assert all(p.grad is None for p in tokenizer.prologue_quantizer.parameters())


def test_a_patch_size_that_does_not_divide_the_image_is_a_user_error() -> None:
    with pytest.raises(UserError, match="found 5, expected a divisor of the images' 8 x 12 pixels"):
        prologue(patch_size=5)


def test_the_one_hot_is_hard_and_its_gradient_soft() -> None:
    torch.manual_seed(0)
    quantizer = OneHotQuantizer(Codebook(width=6, codes=5, code_width=4), temperature=0.1)
    features = torch.randn(2, 3, 6, requires_grad=True)
    one_hot, ids, loss = quantizer(features)
    assert loss is None
    assert torch.equal(one_hot.detach().round(), torch.nn.functional.one_hot(ids, 5).float())
    weights = torch.randn(5)
    (one_hot @ weights).sum().backward()
    gradient = features.grad
    again = features.detach().requires_grad_()
    similarity = quantizer.codebook.latents(again) @ quantizer.codebook.codes().T
    ((similarity / 0.1).softmax(-1) @ weights).sum().backward()
    assert torch.allclose(gradient, again.grad, atol=1e-6)  # type: ignore[arg-type]


def test_the_vector_quantizer_takes_the_nearest_code_by_brute_force() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(width=6, codes=9, code_width=4, commitment=0.25)
    features = torch.randn(3, 5, 6)
    found = quantizer(features)
    z, codes = quantizer.codebook.latents(features), quantizer.codebook.codes()
    distances = (z.unsqueeze(2) - codes).square().sum(-1)
    assert torch.equal(found.ids, distances.argmin(-1))
    assert torch.allclose(found.loss, 1.25 * distances.min(-1).values.mean() / 4, atol=1e-6)
    assert torch.allclose(found.codes, quantizer.codebook.look_up(found.ids), atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_generator_is_causal(layout: TokenLayout) -> None:
    generator = ar(layout)
    ids, labels = random_ids(layout), torch.tensor([0, 1, 2])
    logits = generator.logits(ids, labels)
    for token in range(layout.length):
        changed = ids.clone()
        name, index = generator.layout.segment_at(token)
        changed[:, token] = (changed[:, token] + 1) % layout.segment(name).vocabulary
        position = generator.vocabulary.spans[name].start + index
        other = generator.logits(changed, labels)
        assert torch.allclose(logits[:, : position + 1], other[:, : position + 1], atol=1e-5)
        if position + 1 < logits.shape[1]:
            assert not torch.allclose(
                logits[:, position + 1 :], other[:, position + 1 :], atol=1e-5
            )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tied", [False, True])
def test_cached_decoding_equals_one_pass(layout: TokenLayout, tied: bool) -> None:
    generator = ar(layout, tied=tied)
    ids, labels = random_ids(layout), torch.tensor([0, 1, 3])
    logits = generator.logits(ids, labels)
    state, previous = generator.start(labels), None
    for token in range(layout.length):
        step = generator.decode_step(state, previous)[:, 0]
        name, index = generator.layout.segment_at(token)
        whole = logits[
            :, generator.vocabulary.spans[name].start + index, generator.vocabulary.rows(name)
        ]
        assert torch.allclose(step, whole, atol=1e-5)
        previous = ids[:, token : token + 1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_nll_of_the_segments_adds_up_to_the_whole(layout: TokenLayout) -> None:
    generator = ar(layout)
    ids, labels = random_ids(layout), torch.tensor([0, 1, 2])
    log_probabilities = generator.logits(ids, labels).log_softmax(-1)
    sequence = generator.vocabulary.sequence(ids)
    expected = torch.stack(
        [
            -sum(log_probabilities[b, t, sequence[b, t]] for t in range(sequence.shape[1]))
            for b in range(3)
        ]
    )
    parts = generator.nll(ids, labels)
    assert {name: part.shape[1] for name, part in parts.items()} == {
        s.name: s.length for s in layout
    }
    assert torch.allclose(torch.cat(list(parts.values()), dim=1).sum(1), expected, atol=1e-4)


def test_a_hard_one_hot_gives_what_the_ids_give() -> None:
    layout = LAYOUTS[1]
    generator = ar(layout)
    ids, labels = random_ids(layout), torch.tensor([0, 1, 2])
    relaxed = {"prologue": torch.nn.functional.one_hot(ids[:, :2], 5).float()}
    assert torch.allclose(
        generator.logits(ids, labels, relaxed), generator.logits(ids, labels), atol=1e-6
    )


def test_dropped_inputs_leave_only_the_prologue_to_predict_from() -> None:
    layout = LAYOUTS[1]
    generator = ar(layout)
    ids, labels = random_ids(layout), torch.tensor([0, 1, 2])
    other = ids.clone()
    other[:, 2:] = (other[:, 2:] + 1) % 6
    dropped = {"visual": torch.tensor([True, False, True])}
    one, two = (generator.logits(x, labels, None, dropped) for x in (ids, other))
    assert torch.allclose(one[[0, 2]], two[[0, 2]], atol=1e-6)
    assert not torch.allclose(one[1], two[1], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.floats(0.05, 1.0), st.integers(0, 1000))
def test_top_k_and_top_p_keep_the_likeliest(top_k: int, top_p: float, seed: int) -> None:
    logits = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))
    kept = restrict(logits, top_k, top_p).isfinite()
    probabilities = restrict(logits, top_k, 1.0).softmax(-1)
    for row in range(4):
        order = probabilities[row].argsort(descending=True).tolist()
        count, mass = 0, 0.0
        while count < top_k and mass < top_p:
            mass += float(probabilities[row, order[count]])
            count += 1
        assert kept[row].nonzero().flatten().tolist() == sorted(order[:count])


def test_samples_stay_in_their_segments_and_repeat_with_the_seed() -> None:
    layout = LAYOUTS[1]
    generator = ar(layout)
    labels = torch.arange(4).repeat(8)
    sampling = Sampling(temperature={"prologue": 0.7, "default": 1.2}, top_k=4)
    one, two = (
        sample_ids(generator, labels, sampling, torch.Generator().manual_seed(3), 3)
        for _ in range(2)
    )
    layout.check(one)
    assert torch.equal(one, two)
    assert not torch.equal(
        one, sample_ids(generator, labels, sampling, torch.Generator().manual_seed(4), 3)
    )


def test_a_low_temperature_decodes_the_likeliest_token() -> None:
    layout = LAYOUTS[0]
    generator = ar(layout)
    labels = torch.tensor([0, 1])
    ids = sample_ids(
        generator, labels, Sampling(temperature=1e-4), torch.Generator().manual_seed(0), 3
    )
    logits = generator.logits(ids, labels)
    assert torch.equal(ids, logits.argmax(-1))
