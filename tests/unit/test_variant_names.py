"""A variant's name tells it from every other one, and what is one variant is not run as two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.errors import UserError
from prologue_bench.registry import Registry
from prologue_bench.reporting.axes import Tried, numeric_axis
from prologue_bench.reporting.formatting import setting_text
from prologue_bench.texts.settings import short_names, value_labels
from tests.conftest import SMOKE

Load = Callable[..., Ablation]
PROLOGUES = "{use: prologue, prologue_tokens: 2}, {use: prologue, prologue_tokens: 4}"


def names(ablation: Ablation) -> list[str]:
    return [variant.name for variant in ablation.variants]


def varied(load: Load, vary: str, *others: str) -> Ablation:
    return load(f"vary={{{vary}}}", *(others or ("baseline=",)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["tokenizer.prologue_tokens"], ["prologue_tokens"]),
        (["a.steps", "b.steps"], ["a.steps", "b.steps"]),
        (["a.b.steps", "a.c.steps", "a.b.size"], ["b.steps", "c.steps", "size"]),
        (["steps", "a.steps"], ["steps", "a.steps"]),
    ],
)
def test_a_setting_is_named_by_its_shortest_end_that_no_other_has(
    keys: list[str], expected: list[str]
) -> None:
    assert list(short_names(keys).values()) == expected


def test_two_settings_that_end_alike_are_told_apart(load: Load) -> None:
    found = varied(load, "tokenizer_training.steps: [1, 2], generator_training.steps: [1, 2]")
    assert names(found) == [
        f"tokenizer_training.steps={one}, generator_training.steps={two}"
        for one in (1, 2)
        for two in (1, 2)
    ]


def test_one_component_with_two_settings_is_named_by_what_differs(load: Load) -> None:
    found = varied(load, f"tokenizer: [vq-2d, {PROLOGUES}]")
    assert names(found) == [
        "tokenizer=vq-2d",
        "tokenizer=prologue (prologue_tokens=2)",
        "tokenizer=prologue (prologue_tokens=4)",
    ]
    assert [experiment.tokenizer.settings for experiment in found.experiments[1:]] != []
    assert found.experiments[1].tokenizer != found.experiments[2].tokenizer


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (
            ["prologue", {"use": "prologue", "ce_weight": 1.0}],
            ["prologue", "prologue (ce_weight=1.0)"],
        ),
        (
            [{"use": "ar", "transformer": {"layers": n, "width": 8}} for n in (1, 2)],
            ["ar (layers=1)", "ar (layers=2)"],
        ),
        (
            [{"use": "a", "one": {"n": n}, "two": {"n": 0}, "flag": n == 1} for n in (1, 2)],
            ["a (n=1, flag=True)", "a (n=2, flag=False)"],
        ),
        (
            [[], [{"use": "lpips"}], [{"use": "lpips", "weight": 2}]],
            ["[]", "[lpips]", "[lpips (weight=2)]"],
        ),
        ([{"all": {"scale": 1.0}}, {"all": {"scale": 2.0}}], ["scale:1.0", "scale:2.0"]),
        ([1, "1"], ["1", "'1'"]),
        ([None, "None"], ["None", "'None'"]),
        (
            [{"use": "a", "x": [{"use": "b", "n": n}]} for n in (1, 2)],
            ["a (x=[b (n=1)])", "a (x=[b (n=2)])"],
        ),
        ([0, 4], ["0", "4"]),
    ],
)
def test_values_are_shown_short_and_apart(values: list[Any], labels: list[str]) -> None:
    assert value_labels(values) == labels


@pytest.mark.parametrize(
    "vary",
    [
        "tokenizer.prologue_tokens: [1, 1]",
        "tokenizer_training.autoencoder.learning_rate: [1, 1.0]",
        "tokenizer: [prologue, {use: prologue}]",
        "tokenizer: [{use: prologue, prologue_tokens: 2}, {prologue_tokens: 2, use: prologue}]",
    ],
)
def test_a_value_given_twice_is_refused(load: Load, vary: str) -> None:
    with pytest.raises(
        UserError, match=r"vary\.\S+: two variants are both .*; give each value once"
    ):
        varied(load, vary)


@pytest.mark.parametrize(
    ("variant", "vary"),
    [
        ("tokenizer_training: {steps: 2}", "tokenizer_training.steps: [3, 6]"),
        ("tokenizer_training.steps: 2", "tokenizer_training: [{steps: 3}, {steps: 6}]"),
        ("tokenizer_training.steps: 2", "tokenizer_training.steps: [2, 6]"),
    ],
)
def test_what_a_named_variant_sets_is_not_varied(load: Load, variant: str, vary: str) -> None:
    named = f"variants={{fast: {{{variant}}}}}"
    message = r"variants\.fast: tokenizer_training\.steps: found it here and in vary\.tokenizer"
    with pytest.raises(UserError, match=message):
        load(named, f"vary={{{vary}}}", "baseline=")
    other = "vary={tokenizer_training.batch_size: [4, 8]}"
    assert len(load(named, other, "baseline=").variants) == 2


def test_a_default_given_once_more_is_the_same_variant(load: Load) -> None:
    with pytest.raises(UserError, match="are one variant, all their settings are equal"):
        varied(load, "tokenizer: [prologue, {use: prologue, prologue_tokens: 16}]")


def test_a_component_and_its_settings_go_together_in_any_order(load: Load) -> None:
    for vary in (
        "tokenizer.prologue_tokens: [2, 4], tokenizer: [prologue, vq-2d]",
        "tokenizer: [prologue, vq-2d], tokenizer.prologue_tokens: [2, 4]",
    ):
        with pytest.raises(UserError, match="unknown setting of tokenizer 'vq-2d'"):
            varied(load, vary)


@pytest.mark.parametrize(
    "baseline",
    [
        "{tokenizer: {use: prologue, prologue_tokens: 4}}",
        "{tokenizer: {prologue_tokens: 4}}",
        "{tokenizer.prologue_tokens: 4}",
        "tokenizer=prologue (prologue_tokens=4)",
    ],
)
def test_a_baseline_is_singled_out_by_settings_of_a_varied_component(
    load: Load, baseline: str
) -> None:
    found = varied(load, f"tokenizer: [vq-2d, {PROLOGUES}]", f"baseline={baseline}")
    assert found.baseline == "tokenizer=prologue (prologue_tokens=4)"


def test_a_baseline_by_name_alone_is_the_component_without_settings_where_there_is_one(
    load: Load,
) -> None:
    found = varied(
        load,
        "tokenizer: [prologue, {use: prologue, prologue_tokens: 4}]",
        "baseline={tokenizer: prologue}",
    )
    assert found.baseline == "tokenizer=prologue"
    with pytest.raises(UserError, match="fits 2 variants"):
        varied(load, f"tokenizer: [vq-2d, {PROLOGUES}]", "baseline={tokenizer: prologue}")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("vary={data: [shapes, fashion-mnist-embedded]}", "vary.data"),
        ("vary={data.size: [14, 28]}", "vary.data.size"),
        ("variants={one: {data: shapes}, other: {}}", "variants.one.data"),
        ("variants={one: {data.train_images: 64}}", "variants.one.data.train_images"),
    ],
)
def test_data_cannot_vary_and_the_message_says_what_to_do_instead(
    load: Load, value: str, place: str
) -> None:
    with pytest.raises(UserError) as refused:
        load(value, "baseline=")
    text = str(refused.value)
    assert (
        f"{place}: the data cannot vary inside an ablation; run it once for each data set" in text
    )
    assert "prologue-bench report" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("before", "after", "key", "line"),
    [
        ("seeds: [0]\n", "seeds: [0]\nseeds: [1]\n", "seeds", 11),
        (
            "vary:\n",
            "variants:\n  ours: {}\n  ours: {tokenizer.ce_weight: 2.0}\nvary:\n",
            "ours",
            10,
        ),
        ("generator: {use: ar}\n", "generator: {use: ar, use: rar}\n", "use", 7),
        ("vary:\n", 'variants:\n  on: {}\n  "on": {}\nvary:\n', "on", 10),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(
    tmp_path: Path, registry: Registry, before: str, after: str, key: str, line: int
) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(SMOKE.replace(before, after))
    with pytest.raises(
        UserError, match=f"twice.yaml:{line}: not valid YAML: the key '{key}' is here and in"
    ):
        load_ablation(path, registry)


def test_a_merged_yaml_mapping_may_override_a_key(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text(
        SMOKE
        + (
            "tokenizer_training: &short {steps: 7, batch_size: 8}\ngenerator_training: "
            "{<<: *short, steps: 9}\n"
        )
    )
    training = load_ablation(path, registry).experiments[0].generator_training
    assert (training.steps, training.batch_size) == (9, 8)


def test_reports_name_settings_that_end_alike_apart_too() -> None:
    assert setting_text(
        {"guidance.visual.scale": 2.0, "guidance.prologue.scale": 1.0, "top_k": 5}
    ) == ("visual.scale 2.0, prologue.scale 1.0, top_k 5")
    variants = [
        Tried(f"a.steps={one}, b.steps={two}", {"a.steps": one, "b.steps": two})
        for one in (1, 2)
        for two in (1, 2, 3)
    ]
    axis = numeric_axis(variants, ["a.steps", "b.steps"])
    assert axis is not None
    assert axis.title == "b.steps"
    assert set(axis.lines.values()) == {"a.steps=1", "a.steps=2"}


def test_equal_choices_written_in_two_ways_are_one_variant(load: Load) -> None:
    losses = (
        "vary={tokenizer_training.losses: [[{use: patchgan, layers: 1}], [{use: patchgan, layers: "
        "1, weight: 0.1}]]}"
    )
    with pytest.raises(UserError, match="are one variant"):
        load(losses, "baseline=")


def test_an_override_that_every_variant_would_undo_is_refused(load: Load) -> None:
    with pytest.raises(
        UserError,
        match=r"--set tokenizer.prologue_tokens: vary.tokenizer.prologue_tokens sets it for",
    ):
        load("tokenizer.prologue_tokens=4", "vary={tokenizer.prologue_tokens: [0, 2]}", "baseline=")
    with pytest.raises(
        UserError,
        match=r"--set tokenizer.prologue_tokens: vary.tokenizer sets it for every variant",
    ):
        load("tokenizer.prologue_tokens=4", f"vary={{tokenizer: [{PROLOGUES}]}}", "baseline=")
    named = "variants={base: {}, more: {tokenizer.prologue_tokens: 4}}"
    assert (
        load("tokenizer.prologue_tokens=2", named, "vary={}", "baseline=base")
        .experiments[0]
        .tokenizer.settings.prologue_tokens
        == 2
    )
