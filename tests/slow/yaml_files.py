"""YAML that a person or a program got wrong, through `plan`.

It is refused in one line and a moment, or planned.
"""

from __future__ import annotations

import json
import random
import re
import string
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from prologue_bench.config.settings import GeneratorTraining, Sampling, TokenizerTraining
from prologue_bench.documents import yaml_values
from prologue_bench.registry import Registry
from tests.slow.harness import ROOT, Campaign, Fault, Program, faults_of

REFUSED_SECONDS = 1.0
PLANNED_SECONDS = 20.0
"""Of the processor, beyond the start."""
MEMORY = 2_000_000_000
MARK = "code-has-run"
"""A file that only code in a YAML could make."""

TINY = """
name: tiny
data: {use: shapes, size: 28, train_images: 96, test_images: 64}
profile: smoke
tokenizer: {use: prologue, prologue_tokens: 2}
generator: {use: ar}
vary:
  tokenizer.prologue_tokens: [0, 2]
seeds: [0, 1]
baseline: {tokenizer.prologue_tokens: 0}
sampling: {samples: 24, batch_size: 12}
metrics: [rate, psnr]
"""
ALONE = TINY.replace("vary:\n  tokenizer.prologue_tokens: [0, 2]\n", "").replace(
    "baseline: {tokenizer.prologue_tokens: 0}\n", ""
)
"""One variant."""
NAMED = """
x-short: &short {steps: 4, batch_size: 8}
title: Named variants
data:
  use: shapes
  size: 28
profile: smoke
tokenizer: vq-2d
generator: {use: rar, transformer: {width: 32, heads: 2}}
tokenizer_training:
  <<: *short
  losses: [{use: patchgan, layers: 1}]
  autoencoder: {learning_rate: 1e-3, betas: [0.0, 0.9]}
generator_training: {<<: *short, label_dropout: 0.2}
variants:
  plain: {}
  "on": {tokenizer: {use: prologue, prologue_tokens: 2}}
  cold: {sampling.temperature: 0.5, sampling.guidance: {all: {schedule: linear, scale: 2.0}}}
baseline: plain
metrics: [rate, {use: gfid, images: 16, few_samples: shrink}]
sampling:
  samples: 24
  search: {grid: {top_k: [2, 4]}, samples: 16, validation_images: 16, \
metric: {use: gfid, few_samples: shrink}}
"""

SCALARS = [
    *("~", "null", "true", "on", "yes", "off", "''", '""', "=", "<<", "-", "?", ":", "*a", "&a"),
    *("!", "!!str", "@", "`"),
    *("010", "0o17", "0x1f", "0b11", "1_000", "+1", "-0", "1e-4", "1E400", "-1e400", ".inf"),
    *("-.inf", ".nan", ".NaN"),
    *("1.0", "-1", "0", "3.5", "1e-300", "1e-45", "1e30", "3.3e38", "4e38"),
    *("9007199254740991", "9007199254740992"),
    *("18446744073709551616", "-9223372036854775809", "1000000000", "100000", "4096"),
    *("65536", "16777216"),
    *("2001-01-01", "2001-99-99", "2001-01-01 00:00:00 +99", "12:30:45", "0x", "0o9", "1__2"),
    *("١٢٣", "²"),
    *("!!int foo", "!!float abc", "!!bool maybe", "!!timestamp x", "!!binary x", "!!set {a}"),
    *("!!omap [a: b]", "!x y"),
    f"!!python/object/apply:os.system ['touch {MARK}']",
    f'!!python/object/apply:builtins.open ["{MARK}", "w"]',
    "!!python/name:os.system ''",
    "!!python/object/new:type {}",
    "{{ 7 * 7 }}",
    "${HOME}",
    "$(touch code-has-run)",
    *('"\\0"', '"\\ud800"', '"\\udfff\\ud800"', '"\\UFFFFFFFF"', '"\\e[31mred"', '"\\u2028"'),
    *('"a\\nb"', '"\\x9b"'),
    *("[1]", "{}", "[]", "{a: b}", "[[]]", "{use: prologue}", "{use: [a]}", "{use: 1}"),
    *("{use: }", "[{use: lpips}]"),
    *("prologue", "__class__", "{__class__: x}", "../../x", "..", ".", "/etc/passwd", "~nosuch/x"),
    *("a/b", "C:\\x", "💥"),
    "1" * 5000,
    "0x" + "f" * 5000,
    "-" + "9" * 101,
    "0." + "3" * 4000,
    "x" * 5000,
    "'" + "y" * 50_000 + "'",
    *(
        "[" * 60 + "]" * 60,
        "{a: " * 60 + "}" * 60,
        "[" * 5000,
        "{" * 5000,
        "- " * 3000,
        "[&a [*a]]",
        "&a [*a, *a]",
    ),
]
"""What may stand anywhere."""

KEYS = [
    *("use", "recipe", "seeds", "vary", "variants", "name", "__class__", "__init__", "1", "null"),
    *("true", "''", "x-a"),
    *("<<", "[a]", "{a: b}", "? a", "*a", "a.b", ".", "..", "tokenizer.", ".tokenizer"),
    *("tokenizer..x", "0", "-1", "²"),
    *("metrics.0", "plugins", "profile", "k" * 300, '"\\0"', '"a\\nb"', "data", "data.size", "é"),
    *("💥", "!!str a"),
]


@attrs.frozen
class Context:
    """What tries draw from."""

    program: Program
    texts: list[str]
    paths: list[str]
    """Dotted paths of settings, and of some that there are not."""


def prepare(folder: Path, program: Program) -> Context:
    """The shipped ablations and two small ones, and the settings of all components."""
    shipped = sorted((ROOT / "ablations").glob("*.yaml"))
    # The plans of the shipped ones take seconds.
    texts = [TINY, NAMED] * 3 * len(shipped) + [path.read_text() for path in shipped]
    return Context(program, texts, list(_paths()))


def _paths() -> Iterator[str]:
    sections: list[tuple[str, Any]] = [
        ("tokenizer_training", TokenizerTraining),
        ("generator_training", GeneratorTraining),
        ("sampling", Sampling),
    ]
    for kind, entry in Registry.load():
        place = {"metric": "metrics.0", "loss": "tokenizer_training.losses.0"}.get(kind, kind)
        sections.append((place, entry.component.load_settings()))
    for place, settings in sections:
        yield from _inside(place, settings)
    yield from (
        *("name", "title", "profile", "data", "tokenizer", "generator", "vary", "variants"),
        *("seeds", "plugins"),
    )
    yield from (
        *("sampling_seeds", "baseline", "metrics", "references", "metrics.0", "metrics.9"),
        *("seeds.0", "seeds.-1"),
    )
    yield from (
        "vary.tokenizer",
        "vary.tokenizer.prologue_tokens.0",
        "variants.plain",
        "variants.0",
        "tokenizer.use",
    )
    yield from (
        "variants.0.tokenizer",
        "baseline.tokenizer",
        "tokenizer..",
        "",
        ".",
        "sampling.search.grid.top_k.0",
    )


def _inside(place: str, settings: Any) -> Iterator[str]:
    hints = typing.get_type_hints(settings)
    for field in attrs.fields(settings):
        yield f"{place}.{field.name}"
        if isinstance(hints[field.name], type) and attrs.has(hints[field.name]):
            yield from _inside(f"{place}.{field.name}", hints[field.name])


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """One file, changed in one way or several, through one command."""
    kind = draw.choice(list(CHANGES))
    text, options = CHANGES[kind](context, draw)
    path = folder / "ablation.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    command = draw.choice([["plan"], ["plan", "--json"], ["run", "--dry-run"]])
    data = ["--set", "data={use: shapes, size: 28, train_images: 96, test_images: 64}"]
    small = [*data, "--profile", "smoke"] if draw.random() < 0.5 or "fashion" in str(text) else []
    argv = [*command, path.name, "--store", "store", *small, *options]
    ending = context.program.run(argv, cwd=folder, timeout=60, memory=MEMORY)
    doing = f"{kind} {' '.join(command)} {str(options)[:200]}"
    found = faults_of(ending, doing)
    if (folder / MARK).exists():
        found.append(Fault("silent", f"{doing}: code of the YAML has run"))
    if found:
        return found
    if ending.code not in (0, 2):
        return [Fault("traceback", f"{doing}: exit {ending.code}: {ending.err[-300:]}")]
    limit = PLANNED_SECONDS if ending.code == 0 else REFUSED_SECONDS
    if ending.processor_seconds > limit:
        shown = ending.err.strip()[-200:]
        return [
            Fault(
                "hang",
                f"{doing}: exit {ending.code} after {ending.processor_seconds:.1f} s: {shown}",
            )
        ]
    if ending.code and len(ending.err.strip().splitlines()) != 1:
        return [Fault("message", f"{doing}: not one line: {ending.err[-300:]}")]
    return []


def _bytes(context: Context, draw: random.Random) -> tuple[bytes, list[str]]:
    data = bytearray(draw.choice(context.texts).encode())
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        at = draw.randrange(len(data) + 1)
        what = draw.randrange(5)
        if what == 0:
            data[at : at + 1] = bytes([draw.randrange(256)])
        elif what == 1:
            data[at:at] = draw.choice(
                [
                    *(b"\0", b"\xff", b"\t", b"\r", b"\n", b"\xef\xbb\xbf", b"\x85", b"\x1b"),
                    *(b"%", b"---\n"),
                ]
            )
        elif what == 2:
            del data[at : at + draw.choice([1, 2, 10, 100])]
        elif what == 3:
            end = at + draw.randrange(1, 200)
            data[at:at] = data[at:end]
        else:
            data[at:at] = draw.choice(string.punctuation).encode()
    coding = draw.random()
    if coding < 0.05:
        return bytes(data).decode("utf-8", "replace").encode(
            draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"])
        ), []
    return bytes(data[: draw.randrange(len(data) + 1)] if coding < 0.1 else data), []


def _tokens(context: Context, draw: random.Random) -> tuple[str, list[str]]:
    parts = re.split(r"([\s:,{}\[\]]+)", draw.choice(context.texts))
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        at = draw.randrange(len(parts))
        parts[at] = draw.choice([draw.choice(SCALARS), draw.choice(KEYS), draw.choice(parts), ""])
    return "".join(parts), []


def _structure(context: Context, draw: random.Random) -> tuple[str, list[str]]:
    values = yaml_values.read(draw.choice(context.texts))
    for _ in range(draw.choice([1, 1, 2, 3])):
        holder = values
        while True:
            inside = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not inside:
                break
            key = draw.choice(inside)
            if isinstance(holder[key], dict | list) and draw.random() < 0.6:
                holder = holder[key]
                continue
            what = draw.randrange(5)
            if what == 0:
                del holder[key]
            elif what == 1:
                holder[key] = [holder[key]] * draw.choice([1, 2, 50])
            elif what == 2:
                holder[key] = {draw.choice(KEYS): holder[key]}
            elif what == 3 and isinstance(holder, dict):
                holder[draw.choice([*KEYS, *context.paths])] = holder.pop(key)
            else:
                holder[key] = draw.choice(
                    [
                        *(None, True, 0, -1, 1.5, "", "x", 10**30, float("nan"), [], {}),
                        *([None], {"use": 1}),
                    ]
                )
            break
    return json.dumps(values), []


def _aliases(context: Context, draw: random.Random) -> tuple[str, list[str]]:
    levels, width = draw.randrange(1, 12), draw.choice([1, 2, 10, 30])
    opened, closed = draw.choice(["[]", "{}"])
    parts = [f"&a0 {draw.choice(['x', '{use: prologue}', '[1, 2]', repr('y' * 2000)])}"]
    for level in range(1, levels):
        items = [
            f"*a{level - 1}" if opened == "[" else f"k{n}: *a{level - 1}" for n in range(width)
        ]
        if draw.random() < 0.1:
            items.append(f"*a{level}" if opened == "[" else f"<<: *a{level}")
        parts.append(f"&a{level} {opened}{', '.join(items)}{closed}")
    bomb = f"[{', '.join(parts)}]"
    key = draw.choice(
        [
            *("title", "x-bomb", "vary", "variants", "metrics", "seeds", "tokenizer", "data"),
            *("baseline", "'<<'", "<<"),
        ]
    )
    merged = draw.choice(
        ["", "", "generator_training: {<<: *a0}\n", "x-m: {<<: [*a0, *a0]}\n", "*a0 : 1\n"]
    )
    return f"{key}: {bomb}\n{merged}{draw.choice(context.texts)}", []


def _set(context: Context, draw: random.Random) -> tuple[str, list[str]]:
    options = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        key = draw.choice(context.paths)
        if draw.random() < 0.2:
            key += draw.choice(
                [".0", ".99999999999999999999", ".x", ".", ".use", ".0.0", ".²", " ", "\n"]
            )
        value = draw.choice(SCALARS)
        if draw.random() < 0.1:
            value = f"[{', '.join(draw.choices(SCALARS, k=3))}]"
        options += ["--set", f"{key}={value}".replace("\0", "")]
    return draw.choice([TINY, NAMED]), options


def _numbers(context: Context, draw: random.Random) -> tuple[str, list[str]]:
    """A setting of a component that is chosen for it, or of a training, at the ends of numbers."""
    path = draw.choice([each for each in context.paths if each.count(".")])
    value = draw.choice(
        [
            str(draw.choice([-1, 0, 1, 2, 3]) + 10 ** draw.randrange(20)),
            str(2 ** draw.randrange(80)),
            f"{draw.uniform(-2, 2):.3g}",
            f"{draw.uniform(1, 9):.2f}e{draw.randrange(-330, 330)}",
            f"[{draw.uniform(-2, 2):.3g}, {10.0 ** draw.randrange(-50, 50):g}]",
            ".nan",
            ".inf",
            "1.0",
            "true",
        ]
    )
    use = [f"{path.split('.')[0]}={draw.choice(list('xy'))}"] if draw.random() < 0.02 else []
    component = draw.choice(
        {
            "tokenizer": [
                "tokenizer=prologue",
                "tokenizer=vq-1d",
                "tokenizer=fsq",
                "tokenizer=residual-vq",
                "tokenizer=prologue-post",
            ],
            "generator": ["generator=ar", "generator=rar"],
            "metrics": [
                f"metrics=[{name}]"
                for name in ("rfid", "kid", "probe", "precision-recall", "elbo", "rate")
            ],
        }.get(path.split(".")[0], ["title=x"])
    )
    losses = "tokenizer_training.losses=[{use: patchgan}]"
    sets = [component, losses, *use, f"{path}={value}"]
    return ALONE, [part for each in sets for part in ("--set", each)]


def _names(context: Context, draw: random.Random) -> tuple[str, list[str]]:
    """Variants, seeds and lists: strange names, and far too many."""
    many = draw.choice([2, 3, 3, 3, 10, 101, 501, 3000, 20_000])
    what = draw.randrange(4)
    if what == 0:
        keys = draw.sample(KEYS, 3)
        return NAMED.replace(
            "  plain: {}\n",
            "  plain: {}\n" + "".join(f"  {key}: {{sampling.top_k: 3}}\n" for key in keys),
        ), []
    if what == 1:
        return TINY.replace("seeds: [0, 1]", f"seeds: {list(range(many))}"), []
    if what == 2:
        return TINY.replace("[0, 2]", str(list(range(many)))), []
    name = draw.choice(SCALARS)
    return (
        (
            f"{TINY.replace('name: tiny', f'name: {name}')}sampling_seeds: "
            f"{list(range(draw.choice([1, 2, many])))}\n"
        ),
        [],
    )


CHANGES: dict[str, Callable[[Context, random.Random], tuple[str | bytes, list[str]]]] = {
    "bytes": _bytes,
    "tokens": _tokens,
    "structure": _structure,
    "aliases": _aliases,
    "set": _set,
    "numbers": _numbers,
    "names": _names,
}

CAMPAIGN = Campaign(
    name="yaml",
    title="YAML files and --set values through plan",
    tries=5000,
    share=30,
    prepare=prepare,
    attempt=attempt,
)
