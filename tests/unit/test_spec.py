"""Ablation files: what they mean, and what is said of their mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides, check_offers, load_profile
from prologue_bench.config.settings import (
    GeneratorTraining,
    Sampling,
    TokenizerTraining,
    key_values,
)
from prologue_bench.config.structure import convert, structure
from prologue_bench.documents import yaml_values
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from tests.conftest import SMOKE

Load = Callable[..., Ablation]


def test_vary_takes_products_and_seeds_are_outermost(load: Load) -> None:
    ablation = load("vary.tokenizer.ce_weight=[1.0, 3.0]", "seeds=[5, 6]", "baseline=")
    assert [variant.name for variant in ablation.variants] == [
        "prologue_tokens=0, ce_weight=1.0",
        "prologue_tokens=0, ce_weight=3.0",
        "prologue_tokens=2, ce_weight=1.0",
        "prologue_tokens=2, ce_weight=3.0",
    ]
    assert [experiment.seed for experiment in ablation.experiments] == [5] * 4 + [6] * 4


def test_a_baseline_that_fits_several_variants_is_refused(load: Load) -> None:
    with pytest.raises(UserError, match="fits 2 variants, expected exactly one of"):
        load("vary.tokenizer.ce_weight=[1.0, 3.0]", "baseline={tokenizer.prologue_tokens: 0}")


def test_named_variants_change_components_and_settings(registry: Registry, tmp_path: Path) -> None:
    raw = yaml_values.read(SMOKE)
    del raw["vary"], raw["baseline"]
    raw["variants"] = {"2d": {"tokenizer": "vq-2d"}, "prologue": {"tokenizer.prologue_tokens": 2}}
    raw["baseline"] = "2d"
    path = tmp_path / "named.yaml"
    path.write_text(yaml_values.dump(raw))
    ablation = load_ablation(path, registry)
    assert [e.tokenizer.name for e in ablation.experiments] == ["vq-2d", "prologue"]
    assert ablation.baseline == "2d"


@pytest.mark.parametrize("name", Registry.load().cards("profiles"))
def test_all_that_our_profiles_offer_is_a_setting_of_some_component(
    name: str, registry: Registry
) -> None:
    check_offers(load_profile(name, registry, "profile"), name, registry)


def test_settings_lie_over_the_profile_setting_by_setting(load: Load) -> None:
    tokenizer = load("tokenizer.encoder.layers=3").experiments[0].tokenizer.settings
    assert (tokenizer.encoder.layers, tokenizer.encoder.width) == (3, 32), (
        "the profile's width stays"
    )


def test_a_profile_that_extends_another_has_its_settings_below_its_own(
    smoke_file: Path, tmp_path: Path
) -> None:
    registry = _with_cards(
        tmp_path,
        {
            "profiles/wider": "extends: smoke\noffers: {encoder: {width: 64}}",
            "profiles/longer": (
                "extends: wider\ntokenizer_training: {autoencoder: {warmup_steps: 3}}\n"
                "generator_training: {recipe: own}"
            ),
            "recipes/own": "generator_training: {steps: 7}",
        },
    )
    smoke = load_ablation(smoke_file, registry).experiments[0]
    longer = load_ablation(smoke_file, registry, Overrides(profile="longer")).experiments[0]
    assert longer.tokenizer.settings.encoder == attrs.evolve(
        smoke.tokenizer.settings.encoder, width=64
    )
    ours, theirs = longer.tokenizer_training, smoke.tokenizer_training
    assert ours == attrs.evolve(
        theirs, autoencoder=attrs.evolve(theirs.autoencoder, warmup_steps=3)
    )
    assert longer.generator_training == GeneratorTraining(steps=7), "a recipe is all of a section"


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"own": "smok"}, "own.yaml:2: extends: unknown profile 'smok'; did you mean 'smoke'?"),
        (
            {"own": "own"},
            "own.yaml:2: extends: profile 'own' extends 'own' itself; expected an end",
        ),
        (
            {"own": "other", "other": "own"},
            "other.yaml:2: extends: profile 'own' extends 'other' itself; expected an end",
        ),
    ],
)
def test_profiles_that_extend_each_other_or_none_are_refused(
    smoke_file: Path, tmp_path: Path, cards: dict[str, str], message: str
) -> None:
    registry = _with_cards(
        tmp_path, {f"profiles/{name}": f"extends: {below}" for name, below in cards.items()}
    )
    with pytest.raises(UserError) as caught:
        load_ablation(smoke_file, registry, Overrides(profile="own"))
    assert str(caught.value) == f"{tmp_path}/profiles/{message}"


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("name: other", "own.yaml:2: name: found one, expected none: it is that of the file"),
        (
            "extends: smoke\ntokenizer_training: {autoencoder: {betas: {'5': 0.9}}}",
            "own.yaml:3: tokenizer_training.autoencoder.betas[5]: there is no such element; "
            "the list has 2, counted from 0",
        ),
        (
            "extends: below",
            "tokenizer_training.steps (from profile 'own', or what it extends): found 'many'",
        ),
        (
            "extends: smoke\noffers: {patchsize: 4}",
            "own.yaml:3: offers.patchsize: no component has such a setting; did you mean "
            "'patch_size' or 'size'?",
        ),
        (
            "extends: smoke\nsampling: {recipe: 2dd}",
            "sampling.recipe (from profile 'own', or what it extends): unknown recipe '2dd'; "
            "did you mean '2d'?",
        ),
    ],
)
def test_a_mistake_of_a_profile_that_extends_another_names_its_place(
    smoke_file: Path, tmp_path: Path, card: str, message: str
) -> None:
    cards = {"profiles/own": card, "profiles/below": "tokenizer_training: {steps: many}"}
    registry = _with_cards(tmp_path, cards)
    with pytest.raises(UserError) as caught:
        load_ablation(smoke_file, registry, Overrides(profile="own"))
    assert message in str(caught.value)


def _with_cards(folder: Path, cards: Mapping[str, str]) -> Registry:
    """The registry with cards of our own by "folder/name", each with a summary."""
    for name, text in cards.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"summary: Our own.\n{text}\n")
    registry = Registry.load()
    registry.card_folders.append(folder)
    return registry


@pytest.mark.parametrize("kind", [list[int], dict[str, int], Path, bytes, list[int] | None])
def test_a_type_that_settings_cannot_have_is_named_to_whoever_wrote_them(kind: object) -> None:
    with pytest.raises(UserError) as caught:
        convert(kind, [1], "tokenizer.sizes")
    name = str(kind).removesuffix(" | None")
    assert str(caught.value).startswith(f"tokenizer.sizes: a setting cannot have the type {name}; ")
    assert "tuple[X, ...]" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampling.samples=10", "tokenizer_training.steps (from profile 'wrong'): found 'many'"),
        ("tokenizer_training.steps=many", "--set tokenizer_training.steps: found 'many'"),
        (
            "tokenizer_training.steps=5",
            "tokenizer.encoder.layers (from profile 'wrong'): found 'few'",
        ),
        (
            "tokenizer_training={recipe: odd, steps: 5}",
            "tokenizer_training.autoencoder.learning_rate (from recipe 'odd'): found 'slow'",
        ),
    ],
)
def test_a_mistake_of_a_profile_or_recipe_names_it(
    smoke_file: Path, tmp_path: Path, override: str, message: str
) -> None:
    cards = {
        "profiles/wrong": "tokenizer_training: {steps: many}\noffers: {encoder: {layers: few}}",
        "recipes/odd": "tokenizer_training: {autoencoder: {learning_rate: slow}}",
    }
    registry = _with_cards(tmp_path, cards)
    with pytest.raises(UserError) as caught:
        load_ablation(smoke_file, registry, Overrides(values=(override,), profile="wrong"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tokenizer.prologue_token=3",
            "--set tokenizer.prologue_token: unknown setting of tokenizer 'prologue'; did you",
        ),
        (
            "vary.tokenizer.prologue_token=[1]",
            "vary.tokenizer.prologue_token: unknown setting of tokenizer 'prologue'",
        ),
        (
            "vary.tokenizer.prologue_tokens=[x]",
            "prologue_tokens: found 'x' (str), expected a whole number",
        ),
        (
            "vary.tokenizer.prologue_tokens=3",
            "vary.tokenizer.prologue_tokens: found 3 (int), expected a list of at least one value",
        ),
        ("vary.tokenizer.prologue_tokens=[1, 1]", "two variants are both 'prologue_tokens=1'"),
        ("vary.tokenizer.prologue_tokens=[-1]", "vary.tokenizer.prologue_tokens: must be >= 0: -1"),
        ("tokenizer.visual_dropout=1.5", "--set tokenizer.visual_dropout: must be <= 1: 1.5"),
        (
            "tokenizer.encoder.heads=5",
            "--set tokenizer.encoder.heads: must split 'width' into heads",
        ),
        ("tokenizer=prolog", "tokenizer: unknown tokenizer 'prolog'; did you mean 'prologue' or"),
        (
            "generator_training.steps=true",
            "generator_training.steps: found True (bool), expected a whole number",
        ),
        (
            "generator_training.optimisation.betas=[0.9]",
            "betas: found [0.9] (list), expected a list of 2",
        ),
        ("metrics=[fid]", "metrics[0]: unknown metric 'fid'; did you mean"),
        ("profile=micr", "unknown profile 'micr'; did you mean 'micro'?"),
        ("sampling.temperature=0", "--set sampling.temperature: must be > 0"),
        ("seeds=[]", "seeds: found an empty list"),
        ("seeds=[1, 1]", "expected each seed once"),
        ("seeds=[-1]", "seeds: found -1, expected whole numbers from 0 to"),
        ("sampling_seeds=[3, 3]", "sampling_seeds: found [3, 3], expected each seed once"),
        (
            "sampling_seeds=[-1]",
            "sampling_seeds: found -1, expected whole numbers from 0 to 9007199254740991",
        ),
        (
            "seeds=[9007199254740992]",
            "seeds[0]: found 9007199254740992 (int), expected at most 9007199254740991",
        ),
        ("sampling.seed=-1", "--set sampling.seed: must be >= 0: -1"),
        ("name=a/b", "name: found 'a/b'"),
        ("nonsense=1", "--set nonsense: unknown section 'nonsense'"),
        ("tokenizer", "expected KEY=VALUE"),
        ("tokenizer.x=[", "the value is not valid YAML"),
        ("baseline=nobody", "no variant 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(
    load: Load, override: str, message: str
) -> None:
    with pytest.raises(UserError) as raised:
        load(override)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n  bad: [\n", "bad.yaml:2: not valid YAML: column 6: "),
        ("- a\n", "found ['a'] (list), expected a mapping"),
        ("profil: micro\n", "profil: unknown setting of an ablation; did you mean 'profile'?"),
        ("profile: smoke\n", "data: missing"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_ablation_is_refused(
    registry: Registry, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        load_ablation(path, registry)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(path))


def test_keys_leave_out_defaults_and_how_a_stage_is_run() -> None:
    assert key_values(TokenizerTraining()) == {}
    assert key_values(TokenizerTraining(checkpoint_steps=3, accumulate=2)) == {}
    assert key_values(TokenizerTraining(compile=True)) == {"compile": True}
    assert key_values(Sampling(temperature=0.9)) == {"temperature": 0.9}


@attrs.frozen
class Inner:
    """Settings within others."""

    scale: float = float("nan")


@attrs.frozen
class Endless:
    """Settings of a plugin whose defaults no results could hold."""

    clip: float = float("inf")
    sizes: tuple[int, ...] = (1, 2**60)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sizes": [1], "inner": {"scale": 1.0}}, "x.clip: found the default inf, expected"),
        ({"clip": 1.0, "inner": {"scale": 1.0}}, r"x.sizes\[1\]: found the default 1152"),
        ({"clip": 1.0, "sizes": [1]}, "x.inner.scale: found the default nan, expected"),
    ],
)
def test_defaults_that_no_results_could_hold_are_refused_before_anything_runs(
    given: Mapping[str, object], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        structure(Endless, given, "x")
