"""What stands in a YAML file or in --set is what it looks like.

Every mistake in it names its line.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prologue_bench.cli.commands.plan import make_plan_with
from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.documents import yaml_values
from prologue_bench.documents.describing import describe
from prologue_bench.errors import UserError
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from tests.conftest import SMOKE

Load = Callable[..., Ablation]
LONGEST = 500


def refused(path: Path, registry: Registry, text: str | bytes, *values: str) -> str:
    """The one line in which an ablation is refused, within a second."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    # Neither other threads nor the garbage of other tests belong to what reading takes.
    gc.disable()
    before = time.thread_time()
    with pytest.raises(UserError) as found:
        load_ablation(path, registry, Overrides(values=values))
    took = time.thread_time() - before
    gc.enable()
    assert took < 1
    line = str(found.value)
    assert len(line) < LONGEST
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-4", 1e-4), ("010", 10), ("0o17", 15), ("0x1f", 31), ("-3", -3), (".5", 0.5)),
        *(("1.", 1.0), ("+2", 2)),
        *(("on", "on"), ("off", "off"), ("yes", "yes"), ("y", "y"), ("1_000", "1_000")),
        *(("0b11", "0b11"), ("=", "=")),
        ("2001-01-01", "2001-01-01"),
        ("2001-99-99", "2001-99-99"),
        ("12:30:45", "12:30:45"),
        ("0x", "0x"),
        *(("true", True), ("False", False), ("~", None), ("null", None), ("", None)),
        *(('"1"', "1"), ("'on'", "on")),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: Any) -> None:
    found = yaml_values.read(text)
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_they_stand() -> None:
    found = yaml_values.read("{on: 1, 010: 2, null: 3, 1.0: 4, true: 5}")
    assert list(found) == ["on", "010", "null", "1.0", "true"]


def test_merge_keys_work_and_own_keys_win() -> None:
    found = yaml_values.read("{a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}, c: {<<: [{x: 9}, *a]}}")
    assert (found["b"], found["c"]) == ({"x": 1, "y": 3}, {"x": 9, "y": 2})


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is here and in line 1; expected each key once"),
        ("a:\n  b: [\n", 3, "column 1: "),
        (
            "a: 1\nb: !!python/object/apply:os.system ['true']\n",
            2,
            "the tag 'tag:yaml.org,2002:python/object/apply:os",
        ),
        ("a: 1\nb: !!int foo\n", 2, "the tag 'tag:yaml.org,2002:int' is here"),
        ("a: 1\nb: &x [*x]\n", 2, "the alias *x is inside the value that it stands for"),
        ("a: 1\nb: *nowhere\n", 2, "there is no anchor &nowhere"),
        ("a: 1\n[b]: 2\n", 2, "found a list or mapping as a key"),
        ("a: 1\n: 2\n", 2, "found an empty key"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins here"),
        ("a: 1\nb: \x07\n", 2, "the character '\\x07' cannot stand in YAML"),
        ('a: 1\nb: "\\0"\n', 2, "a text holds the character '\\x00'"),
        ('a: 1\nb: "\\ud800"\n', 2, "a text holds the character '\\ud800'"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, ""),
        ("a: 1\nb: " + "9" * 5000, 2, "found a number of 5000 digits"),
        ("a: 1\nb: 0x" + "f" * 5000, 2, "found a number of 5002 digits"),
        ("a: 1\nb: " + "[" * 30_000, 2, "column 55: values are nested deeper than 50 levels"),
        ("a: 1\n" + "k" * 300 + ": 1", 2, "found a key of 300 characters"),
        ("a: " + "x" * 200_000, 1, "found 200,003 characters, expected at most 100,000"),
        ("a: [" + "1, " * 20_000 + "]", 1, "found more than 5,000 values"),
        ("a: 1\nb:\t- c\n", 2, "column 3: "),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, registry: Registry, text: str, line: int, message: str
) -> None:
    found = refused(tmp_path / "bad.yaml", registry, text)
    assert found.startswith(f"{tmp_path / 'bad.yaml'}:{line}: not valid YAML: {message}")


def test_aliases_that_grow_are_refused_at_once(tmp_path: Path, registry: Registry) -> None:
    levels = [
        f"&a{level} [{', '.join([f'*a{level - 1}' if level else 'x'] * 10)}]" for level in range(8)
    ]
    bomb = f"title: [{', '.join(levels)}]"
    assert len(bomb) < LONGEST
    found = refused(
        tmp_path / "bomb.yaml", registry, f"{SMOKE.replace('title: A tiny comparison', bomb)}"
    )
    assert "found more than 5,000 values up to here, aliases written out" in found
    long = f"title: [&a {'x' * 9000}{', *a' * 100}]"
    assert "found more than 100,000 characters up to here" in refused(
        tmp_path / "long.yaml", registry, long
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", "bad.yaml:2: found a byte that is not UTF-8, expected UTF-8"),
        (b"", "bad.yaml: found nothing, expected a mapping"),
        (b"- a\n", "bad.yaml: found ['a'] (list), expected a mapping"),
        (b"x" * 500_000, "bad.yaml: found more than 400,000 bytes"),
    ],
)
def test_bytes_that_are_no_mapping_are_refused(
    tmp_path: Path, registry: Registry, data: bytes, message: str
) -> None:
    assert message in refused(tmp_path / "bad.yaml", registry, data)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_does_no_harm(tmp_path: Path, registry: Registry, encoding: str) -> None:
    path = tmp_path / "marked.yaml"
    path.write_bytes(SMOKE.replace("tiny comparison", "tiny cömparison").encode(encoding))
    assert load_ablation(path, registry).title == "A tiny cömparison"


@pytest.mark.parametrize(
    ("before", "after", "line", "message"),
    [
        ("size: 14", "size: 7", 4, "data.size: must be >= 8: 7"),
        (
            "profile: smoke",
            "profile: smok",
            5,
            "profile: unknown profile 'smok'; did you mean 'smoke'?",
        ),
        (
            "{use: prologue}",
            "\n  use: prologue\n  prologue_token: 3",
            8,
            "tokenizer.prologue_token: unknown setting",
        ),
        (
            "[0, 2]",
            "[x]",
            9,
            "vary.tokenizer.prologue_tokens: found 'x' (str), expected a whole number",
        ),
        ("seeds: [0]", "seeds: [0, 0]", 10, "seeds: found [0, 0], expected each seed once"),
        (
            "seeds: [0]",
            "seeds:\n  - 0\n  - one",
            12,
            "seeds[1]: found 'one' (str), expected a whole number",
        ),
        ("baseline: {tokenizer.", "baseline: {generator.", 11, "baseline: "),
        (
            "samples: 24",
            "samples: .inf",
            12,
            "sampling.samples: found inf (float), expected a whole number",
        ),
        ("samples: 24", "temperature: .nan", 12, "sampling.temperature: "),
        (
            "[rate]",
            "[rate, {use: gfid,\n  layer: 3}]",
            14,
            "metrics[1].layer: found 3 (int), expected a text",
        ),
        (
            "[rate]",
            "rate",
            13,
            "metrics: found 'rate' (str), expected a list, each a component's name or",
        ),
        ("[rate]", "", 13, "metrics: found nothing, expected a list, each a component's name"),
        (
            "[0, 2]",
            "[]",
            9,
            "vary.tokenizer.prologue_tokens: found an empty list, expected a list of at least one",
        ),
        ("name: tiny", "name: ..", 2, "name: found '..' (str), expected"),
        ("name: tiny", "name: .", 2, "name: found '.' (str), expected"),
        ("name: tiny", f"name: {'n' * 300}", 2, "name: found 'nnn"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(
    tmp_path: Path, registry: Registry, before: str, after: str, line: int, message: str
) -> None:
    assert before in SMOKE
    found = refused(tmp_path / "tiny.yaml", registry, SMOKE.replace(before, after))
    assert found.startswith(f"{tmp_path / 'tiny.yaml'}:{line}: {message}"), found


def test_what_planning_finds_wrong_names_its_line_too(
    tmp_path: Path, registry: Registry, store: Store
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMOKE + "generator_training:\n  joint: true\n")
    with pytest.raises(UserError) as found:
        make_plan_with(load_ablation(path, registry), Workspace(store), ())
    start = (
        f"{path}:15: variant 'prologue_tokens=0': generator_training.joint: "
        "tokenizer 'prologue' with"
    )
    assert str(found.value).startswith(start)


def test_a_card_names_its_line(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "own.yaml").write_text("summary: mine\noffer: {}\n")
    monkeypatch.setattr(registry, "card_folders", [*registry.card_folders, tmp_path])
    found = refused(
        tmp_path / "tiny.yaml", registry, SMOKE.replace("profile: smoke", "profile: own")
    )
    assert (
        found == f"{tmp_path}/profiles/own.yaml:2: offer: unknown setting; did you mean 'offers'?"
    )


@pytest.mark.parametrize(
    "value",
    [
        "tokenizer_training.autoencoder.betas=[.nan, .nan]",
        "tokenizer_training.autoencoder.betas=[5, -1]",
        "tokenizer_training.autoencoder.learning_rate=.inf",
        "generator_training.optimisation.weight_decay=1e400",
        "tokenizer_training.ema_half_life_steps=1.0e-300",
        "generator_training.ema_half_life_steps=1e30",
        "sampling.temperature=.nan",
        "sampling.temperature={default: .inf}",
        "sampling.temperature=1e-45",
        "sampling.guidance={all: {scale: .inf}}",
        "sampling.guidance={all: {scale: 1e38}}",
        "sampling.seed=-1",
        *("sampling.samples=9007199254740991", "sampling.seed=9007199254740992", "data.seed=-1"),
        "tokenizer.encoder.layers=1000000000",
        "tokenizer.encoder.width=1000000000",
        "tokenizer.ce_weight=-.inf",
        "tokenizer.prologue_tokens=1000000000",
        "tokenizer.encoder.ffn_ratio=1e-300",
        "data.train_images=10000000000",
        "generator.transformer.dropout=.nan",
        "metrics=[{use: kid, seed: -1}]",
        "generator_training.steps=1.0",
        "generator_training.steps=true",
        "generator_training.joint=1",
        "tokenizer_training.recipe=[1]",
        "tokenizer={use: [a]}",
        "tokenizer={use: 1}",
        "tokenizer={use: }",
        "plugins=[1]",
        "references=[[]]",
        f"seeds={list(range(501))}",
        f"vary.tokenizer.prologue_tokens={list(range(101))}",
        "seeds=[1e0]",
        f"sampling.search={{grid: {{top_k: {list(range(1, 50))}, seed: {list(range(1, 50))}}}}}",
    ],
)
def test_a_number_that_could_not_work_is_refused_at_once(
    tmp_path: Path, registry: Registry, value: str
) -> None:
    key = value.partition("=")[0]
    found = refused(
        tmp_path / "tiny.yaml",
        registry,
        SMOKE,
        value,
        *([] if key.startswith("vary") else ["vary={}", "baseline="]),
    )
    assert found.startswith((f"--set {key}", str(tmp_path / "tiny.yaml"))), found


@pytest.mark.parametrize(
    ("value", "path", "expected"),
    [
        ("tokenizer_training.losses.0.weight=0.5", "losses.0.settings.weight", 0.5),
        ("metrics.1.subsets=16", "metrics.1.settings.subsets", 16),
        ("metrics.1.use=rfid", "metrics.1.name", "rfid"),
        ("seeds.0=7", "seed", 7),
        (
            "generator_training.optimisation.betas.1=0.5",
            "generator_training.optimisation.betas.1",
            0.5,
        ),
        ("vary.tokenizer.prologue_tokens.0=4", "tokenizer.settings.prologue_tokens", 4),
    ],
)
def test_set_reaches_into_lists(load: Load, value: str, path: str, expected: Any) -> None:
    losses, metrics = (
        "tokenizer_training.losses=[{use: patchgan, layers: 1}]",
        "metrics=[rate, kid]",
    )
    found: Any = load("baseline=", losses, metrics, value).experiments[0]
    for part in path.split("."):
        found = found[int(part)] if part.isdecimal() else getattr(found, part)
    assert found == expected


def test_set_reaches_into_named_variants_by_name_and_number(load: Load) -> None:
    named = ("vary={}", "baseline=", "variants={one: {}, two: {tokenizer.prologue_tokens: 2}}")
    for key in ("variants.two", "variants.1"):
        found = load(*named, f"{key}.tokenizer.prologue_tokens=6")
        assert [each.tokenizer.settings.prologue_tokens for each in found.experiments] == [16, 6]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "metrics.7.images=16",
            "--set metrics[7]: there is no such element; the list has 1, counted from 0",
        ),
        (
            "tokenizer_training.losses.3.weight=1",
            "--set tokenizer_training.losses[3]: there is no such element",
        ),
        (
            "generator_training.optimisation.betas.9=1",
            "betas.9: there is no such element; the list has 2",
        ),
        (
            "variants.5.tokenizer=vq-2d",
            "--set variants.5.tokenizer: there are 1 variants, expected one of 0 to 0",
        ),
        ("metrics.0.imges=16", "--set metrics.0.imges: unknown setting of metric 'rate'"),
        ("seeds.99999999999999999999=1", "there is no such element"),
    ],
)
def test_an_element_that_there_is_not_is_said(
    tmp_path: Path, registry: Registry, value: str, message: str
) -> None:
    first = (
        "vary={}",
        "baseline=",
        "variants={a: {}}",
        "tokenizer_training.losses=[{use: patchgan, layers: 1}]",
    )
    assert message in refused(tmp_path / "tiny.yaml", registry, SMOKE, *first, value)


def test_keys_that_begin_with_x_are_free_for_anchors(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"x-small: &small {{steps: 5}}\n{SMOKE}generator_training: {{<<: *small, batch_size: 3}}\n"
    )
    training = load_ablation(path, registry).experiments[0].generator_training
    assert (training.steps, training.batch_size) == (5, 3)


def test_a_description_looks_at_no_more_than_it_shows() -> None:
    value: Any = ["x"]
    for _ in range(40):
        value = [value] * 10
    assert len(describe(value)) < 100
    assert "about 5000 digits" in describe(10**5000)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3)
    ),
    max_leaves=8,
)
PATHS = [
    *("title", "name", "seeds", "sampling_seeds", "metrics", "vary", "variants", "baseline"),
    *("references", "plugins"),
    *("data", "data.size", "tokenizer", "tokenizer.use", "tokenizer.encoder"),
    *("tokenizer.ce_weight", "generator"),
    "tokenizer_training.losses",
    "tokenizer_training.prior",
    "tokenizer_training.recipe",
    "sampling.temperature",
    "sampling.guidance",
    "sampling.search",
    "generator_training.optimisation.betas",
    "metrics.0",
    "x.y",
    "profile",
]


@given(path=st.sampled_from(PATHS), value=PLAIN)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_stands_at_whatever_place_is_taken_or_refused_in_one_line(
    smoke_file: Path, registry: Registry, path: str, value: Any
) -> None:
    found, message = None, ""
    try:
        found = load_ablation(
            smoke_file, registry, Overrides(values=(f"{path}={json.dumps(value)}",))
        )
    except UserError as error:
        message = str(error)
    assert len(message) < LONGEST
    assert len(message.splitlines()) == (found is None)
    names = [variant.name for variant in found.variants] if found else []
    assert len(set(names)) == len(names)


@given(value=PLAIN.filter(lambda value: "\\ud" not in ascii(value) and "\\x00" not in ascii(value)))
@example({"\x85": ["\x85", "a\u2028b", "\n\u2029"]})
@settings(max_examples=100, deadline=None)
def test_plain_values_survive_a_round_trip(value: Any) -> None:
    def usable(each: Any) -> bool:
        return (
            all(each) and all(map(usable, each.values()))
            if isinstance(each, dict)
            else (all(map(usable, each)) if isinstance(each, list) else True)
        )

    if usable(value):  # a key is never empty
        assert repr(yaml_values.read(yaml_values.dump(value))) == repr(value)
