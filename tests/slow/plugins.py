"""Plugins that do wrong: each costs itself one line, and never another component or command."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.slow.harness import Campaign, Ending, Fault, Program, faults_of

GOOD = """
name: good
data: {use: shapes, size: 14, train_images: 64, test_images: 32}
profile: smoke
tokenizer: {use: vq-2d}
generator: {use: ar}
metrics: [rate]
tokenizer_training: {steps: 2}
generator_training: {steps: 2}
sampling: {samples: 12, batch_size: 12}
"""
MODULE = """
import os, sys, click, signal
import numpy as np
import torch
from pathlib import Path
from attrs import field, frozen
from prologue_bench.contracts import (
    Command, Component, Measurement, Metric, Procedure, ReconstructionLoss, Segment, TokenLayout,
    hookimpl,
)
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.settings import ArSettings
from prologue_plugins.tokenizers.settings import Vq2dSettings
from prologue_plugins.tokenizers.vq_2d import Vq2d

class Boom(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("even that fails")

def wrong():
    ACT

def at(place, right):
    return wrong() if place == PLACE else right()

at("import", lambda: None)

def component(name, target, **more):
    target = f"{__name__}:{target}"
    return Component(name=name, target=target, summary="one that does wrong", **more)

@hookimpl
def prologue_tokenizers():
    return at("hook", lambda: [component("mine", "Mine", settings=f"{__name__}:MySettings",
                                         builds_on=PLACE == "foundation")])

@hookimpl
def prologue_generators():
    settings = "prologue_plugins.generators.settings:ArSettings"
    return [component("my-generator", "MyGenerator", settings=settings)]

@hookimpl
def prologue_metrics():
    return at("hook of metrics", lambda: [component("my-metric", "MyMetric")])

@hookimpl
def prologue_data_sources():
    settings = "prologue_plugins.datasets.settings:ShapesSettings"
    return [component("my-data", "MyData", settings=settings)]

@hookimpl
def prologue_losses():
    return [component("my-loss", "MyLoss")]

@hookimpl
def prologue_commands():
    target = f"{__name__}:my_command"
    return at("hook of commands", lambda: [Command(name=NAME, target=target, summary="x")])

@hookimpl
def prologue_cards():
    return at("hook of cards", lambda: [Path(__file__).parent / "cards"])

@click.command()
def my_command():
    at("command", lambda: None)

@frozen(kw_only=True)
class Whole(Vq2dSettings):
    def __attrs_post_init__(self):
        at("settings", lambda: None)
    def as_read(self):
        return at("as_read", lambda: self)
    def same_as(self):
        return at("same_as", lambda: None)

MySettings = at("settings class", lambda: Whole)

class Mine(Vq2d):
    def __init__(self, settings, images):
        super().__init__(settings, images)
        at("tokenizer", lambda: None)
        self.layout = at("layout", lambda: self.layout)
        self.prior = at("prior", lambda: None)
        self.reconstructs = at("reconstructs", lambda: True)
    def encode(self, images):
        return at("encode", lambda: super(Mine, self).encode(images))
    def decode(self, ids):
        return at("decode", lambda: super(Mine, self).decode(ids))
    def losses(self, images):
        return at("losses", lambda: super(Mine, self).losses(images))
    @classmethod
    def foundation(cls, settings):
        return at("foundation", lambda: None)

class MyGenerator(Ar):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        at("generator", lambda: None)
    def token_losses(self, *arguments, **more):
        return at("token_losses", lambda: super(MyGenerator, self).token_losses(*arguments, **more))
    def draws(self, count, random, progress):
        return at("draws", lambda: {})
    def losses(self, *arguments, **more):
        return at("generator's losses", lambda: super(MyGenerator, self).losses(*arguments, **more))
    def nll(self, *arguments, **more):
        return at("nll", lambda: super(MyGenerator, self).nll(*arguments, **more))
    def start(self, labels):
        return at("start", lambda: super(MyGenerator, self).start(labels))
    def decode_step(self, state, chosen):
        return at("decode_step", lambda: super(MyGenerator, self).decode_step(state, chosen))

class MyData(Shapes):
    def __init__(self, settings):
        super().__init__(settings)
        at("data", lambda: None)
        self.views = at("views", lambda: 1)
    @property
    def spec(self):
        return at("spec", lambda: super(MyData, self).spec)
    @property
    def fingerprint(self):
        return at("fingerprint", lambda: super(MyData, self).fingerprint)
    @property
    def notes(self):
        return at("notes", lambda: ())
    def images(self, split):
        return at("images", lambda: super(MyData, self).images(split))
    def training_views(self):
        return at("training_views", lambda: super(MyData, self).training_views())
    def labels(self, split):
        return at("labels", lambda: super(MyData, self).labels(split))
    def subset(self, split, count, seed=0):
        return at("subset", lambda: super(MyData, self).subset(split, count, seed))

class MyLoss(ReconstructionLoss):
    learns = at("learns", lambda: False)
    def __init__(self, settings, images):
        super().__init__()
        at("loss", lambda: None)
    @classmethod
    def check(cls, settings, images):
        at("check of loss", lambda: None)
    def forward(self, reconstruction, images, step):
        return at("forward", lambda: {"one": (reconstruction - images).square().mean()})

class MyMetric(Metric):
    needs = at("needs", lambda: ("reconstructions",))
    def __init__(self, settings):
        at("metric", lambda: None)
    def check(self, planned):
        at("check", lambda: None)
    def measure(self, inputs):
        return at("measure", lambda: [self.one()])
    def one(self):
        return Measurement(**{"name": "one", "title": "One", "value": 1.0, "unit": "",
                              "direction": "lower", "count": 3,
                              "protocol": Procedure(name="one", details={"a": 1}),
                              **({FIELD: wrong()} if PLACE == "measurement" else {})})
"""
RAISES = (
    "sys.exit(0)",
    "sys.exit(3)",
    "raise SystemExit('bye')",
    "raise KeyboardInterrupt",
    "raise Boom('boom')",
    "raise Mute",
    "raise GeneratorExit",
    "raise click.exceptions.Exit(0)",
    "raise click.Abort",
    "raise click.UsageError('use it well')",
    "raise ValueError('x' * 100_000)",
    "raise RuntimeError('one\\ntwo \\x1b[31mred')",
    "raise KeyError",
    "raise OSError(5, 'input/output error', 'some/file')",
    "raise MemoryError",
    "raise RecursionError('too deep')",
    "raise StopIteration",
    "1 / 0",
)
VALUES = (
    "None",
    "'a text'",
    "{'a': 1}",
    "3.5",
    "object()",
    "[1, 2]",
    "[[]]",
    "np.float32(2)",
    "float('nan')",
    "float('inf')",
    "(each for each in [1])",
    "iter(lambda: 1, 2)",
    "b'x'",
    "torch.zeros(2)",
    "torch.full((3, 1, 14, 14), float('nan'))",
    "np.zeros(3)",
    "np.zeros((5, 1, 2, 2))",
    "np.array([], dtype=np.int64)",
    "np.array([10**6] * 64)",
    "int",
    "True",
    "-1",
    "0",
    "10**30",
    "'x' * 10_000",
    "'sideways'",
    "'a\\x1b[31m\\n'",
    "('samples', 'nonsense')",
    "('nonsense', {'no': 1})",
    "[Path('/nowhere')]",
    "[Path('a\\0b'), 'x']",
    "[Component(name='Bad Name', target='a:b', summary='')]",
    "[Component(name='x' * 1000, target='a:b', summary='')]",
    "[Component(name='twice', target='a:b', summary='')] * 2",
    "[Component(name='odd', target='nowhere.at.all:B', summary='a\\n\\x1b[31mb')]",
    "[Component(name='odd', target='json:loads', summary='', version=0.5)]",
    "[Component(name='odd', target='json:nothing', summary='x' * 5000)]",
    "[Command(name='odd', target='json:loads', summary='')]",
    "TokenLayout(())",
    "TokenLayout([Segment('a', 2.5, 8)])",
    "TokenLayout([Segment('a', 1, 8)])",
    "TokenLayout(['a'])",
    "lambda *a, **k: None",
)
PLACES: dict[str, str] = {
    "import": "tokenizer: {use: mine}",
    "hook": "tokenizer: {use: mine}",
    "hook of metrics": "metrics: [my-metric]",
    "hook of commands": "",
    "hook of cards": "",
    "command": "",
    **dict.fromkeys(
        (
            *("settings", "as_read", "same_as", "settings class", "tokenizer", "layout", "prior"),
            *("reconstructs", "encode", "decode", "losses", "foundation"),
        ),
        "tokenizer: {use: mine}",
    ),
    **dict.fromkeys(
        (
            *("generator", "token_losses", "draws", "generator's losses", "nll", "start"),
            "decode_step",
        ),
        "generator: {use: my-generator}\nmetrics: [gfid]",
    ),
    **dict.fromkeys(
        (
            *("data", "views", "spec", "fingerprint", "notes", "images", "training_views"),
            *("labels", "subset"),
        ),
        "data: {use: my-data, size: 14, train_images: 64, test_images: 32}",
    ),
    **dict.fromkeys(
        ("learns", "loss", "check of loss", "forward"),
        "tokenizer_training: {steps: 2, losses: [{use: my-loss}]}",
    ),
    **dict.fromkeys(("needs", "metric", "check", "measure", "measurement"), "metrics: [my-metric]"),
}
"""Where a plugin does wrong, and what of an ablation uses it."""
FIELDS = (
    *("name", "title", "value", "unit", "direction", "count", "protocol", "half_width"),
    *("positions", "warning"),
)
NAMES = ("my-command", "run", "plan", "list", "store")
CARDS = (
    *("", "{", "[1]", "summary: 5", "use: nothing\nsummary: x", "\x00"),
    *("summary: &a [*a]", "x: " + "y" * 100_000),
)
CHECKED = {
    "mine": "tokenizer",
    "my-generator": "generator",
    "my-metric": "metric",
    "my-data": "data",
    "my-loss": "loss",
}


@frozen
class Context:
    """A store in which the ablation that uses no plugin is finished."""

    program: Program
    store: Path
    good: Path


def prepare(folder: Path, program: Program) -> Context:
    """Finish the ablation that uses no plugin."""
    good = folder / "good.yaml"
    good.write_text(GOOD)
    done = program.run(
        ["run", good, "--store", folder / "store", "--out", folder / "report"],
        cwd=folder,
        timeout=300,
    )
    assert done.code == 0, done.text
    return Context(program, folder / "store", good)


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """One plugin that does wrong, as a file or installed."""
    if draw.random() < 0.12:
        return _odd_file(context, draw, folder)
    if draw.random() < 0.08:
        return _odd_distribution(context, draw, folder)
    place = draw.choice(list(PLACES))
    act = draw.choice(RAISES) if draw.random() < 0.5 else f"return {draw.choice(VALUES)}"
    command_name = draw.choice(NAMES) if place == "hook of commands" else NAMES[0]
    header = f"PLACE, NAME, FIELD = {place!r}, {command_name!r}, {draw.choice(FIELDS)!r}\n"
    plugin = folder / "plugin" / "wrong_plugin.py"
    plugin.parent.mkdir()
    plugin.write_text(header + MODULE.replace("ACT", act))
    if draw.random() < 0.9:  # else its cards are nowhere
        (plugin.parent / "cards").mkdir()
    for card in ("tokenizers", "profiles", "recipes"):
        if draw.random() < 0.1:
            (plugin.parent / "cards" / card).mkdir(parents=True)
            (plugin.parent / "cards" / card / "my-card.yaml").write_text(draw.choice(CARDS))
    bad = folder / "bad.yaml"
    lines = [
        line
        for line in GOOD.splitlines()
        if line.split(":")[0] not in PLACES[place].replace("\n", ":").split(":")
    ]
    bad.write_text("\n".join([*lines, PLACES[place], ""]))
    installed = draw.random() < 0.5
    if installed:
        _install(plugin.parent, "wrong_plugin")
    used = next((name for name in CHECKED if name in PLACES[place]), "mine")
    said = f"{'installed, ' if installed else ''}{place}: {act[:80]}"
    commands = [
        ["plan", bad, "--store", "store"],
        draw.choice(
            [
                ["list"],
                ["show", "mine"],
                ["show", "my-metric"],
                ["plan", context.good, "--store", "store"],
            ]
        ),
        ["run", bad, "--store", "store", "--out", "report"],
        ["check-plugin", used, "--kind", CHECKED[used]],
    ]
    if place in ("command", "hook of commands"):
        commands = [["my-command"], ["odd"], ["list"], ["plan", context.good, "--store", "store"]]
    commands = draw.sample(commands, 2 if place not in ("command", "hook of commands") else 3)
    shutil.copytree(context.store, folder / "store")
    found: list[Fault] = []
    for command in commands:
        where = [] if installed or command[0] in ("my-command", "odd") else ["--plugin", plugin]
        ending = _run(context, [*command, *where], folder, plugin.parent if installed else None)
        found += _faults(
            ending,
            command,
            f"{said}: {command[0]} {command[1] if len(command) > 1 else ''}",
            installed,
        )
        if (
            command[0] == "run"
            and ending.code == 0
            and not (folder / "report" / "results.json").exists()
        ):
            found.append(Fault("silent", f"{said}: run ends with 0 and wrote no report"))
    if installed:
        ending = _run(context, ["plan", context.good, "--store", "store"], folder, plugin.parent)
        if ending.code != 0:
            found.append(
                Fault(
                    "lost",
                    f"{said}: plan of what uses no plugin: exit {ending.code}, {ending.err[-300:]}",
                )
            )
    return found


def _faults(ending: Ending, command: list[Any], doing: str, installed: bool) -> list[Fault]:
    found = faults_of(ending, doing)
    if not found and ending.code not in (0, 1, 2):
        found.append(
            Fault(
                "silent", f"{doing}: exit {ending.code}, which is the plugin's: {ending.err[-200:]}"
            )
        )
    said = [line for line in ending.err.splitlines() if line.startswith("prologue-bench: ")]
    if not found and len(said) > 2 + installed:
        found.append(Fault("message", f"{doing}: {len(said)} lines: {said}"))
    if not found and any(len(line) > 500 or "\x1b" in line for line in said):
        found.append(
            Fault("message", f"{doing}: a long or coloured line: {max(said, key=len)[:300]!r}")
        )
    if (
        not found
        and installed
        and command == ["list"]
        and (ending.code != 0 or "vq-2d" not in ending.out)
    ):
        found.append(Fault("lost", f"{doing}: exit {ending.code}, {ending.err[-300:]}"))
    return found


def _odd_file(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """Something that is no plugin's file; expected: exit 2 and one line."""
    name = draw.choice(
        [
            *("a.b.py", "json.py", "torch.py", "x.txt", "folder.py", "fifo.py", "huge.py"),
            *("latin.py", "syntax.py", "loop.py", "nothing.py", "~nosuch/x.py", "nul\0.py"),
            *("x" * 300 + ".py", "class.py", "deep.py", "null.py", ""),
        ]
    )
    path = folder / name if name[:1] != "~" and "\0" not in name else Path(name)
    if name == "folder.py":
        path.mkdir()
    elif name == "fifo.py":
        os.mkfifo(path)
    elif name == "loop.py":
        path.symlink_to(path)
    elif name == "huge.py":
        with path.open("wb") as file:
            file.truncate(100_000_000)
    elif name in ("a.b.py", "json.py", "torch.py", "x.txt", "class.py"):
        path.write_text(
            "PLACE, NAME, FIELD = '', 'my-command', ''\n" + MODULE.replace("ACT", "pass")
        )
    elif name in ("latin.py", "syntax.py", "deep.py", "null.py"):
        content = {
            "latin.py": b"x = '\xe9'\n",
            "syntax.py": b"def (",
            "deep.py": b"(" * 100_000,
            "null.py": b"\0" * 99,
        }
        path.write_bytes(content[name])
    if "\0" in name or draw.random() < 0.5:
        bad = folder / "bad.yaml"
        written = str(path).replace("\0", "\\0")
        bad.write_text(f'{GOOD}plugins: ["{written}"]\n')
        ending = _run(context, ["plan", bad, "--store", context.store], folder, None)
    else:
        ending = _run(context, ["list", "--plugin", path], folder, None)
    found = faults_of(ending, f"a plugin file {name[:40]!r}")
    if not found and ending.code != 2:
        found.append(
            Fault("silent", f"a plugin file {name[:40]!r}: exit {ending.code}: {ending.err[-200:]}")
        )
    return found


def _odd_distribution(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """An installed distribution that is broken itself; expected: all else works."""
    site = folder / "site"
    site.mkdir()
    entry = draw.choice(
        [
            *("no_such_module", "json:nothing", "json", ":", "a b c", "json:loads.x", ""),
            *("wrong_\xe9", "os:_exit_not"),
        ]
    )
    _install(site, entry)
    info = site / "wrong_plugin-1.0.dist-info"
    kind = draw.choice(
        ["whole", "no metadata", "empty metadata", "entry points in Latin-1", "broken sections"]
    )
    if kind == "no metadata":
        (info / "METADATA").unlink()
    elif kind == "empty metadata":
        (info / "METADATA").write_text("")
    elif kind == "entry points in Latin-1":
        (info / "entry_points.txt").write_bytes(b"[prologue_bench]\nw\xe9 = json\n")
    elif kind == "broken sections":
        (info / "entry_points.txt").write_text("[prologue_bench\n= = =\nx\n")
    found = []
    for command in (["list"], ["plan", context.good, "--store", context.store]):
        ending = _run(context, command, folder, site)
        found += _faults(
            ending, command, f"a distribution with {kind}, {entry!r}: {command[0]}", True
        )
        if not found and ending.code != 0:
            found.append(
                Fault(
                    "lost",
                    f"a distribution with {kind}, {entry!r}: exit {ending.code}: {ending.err}",
                )
            )
    return found


def _install(site: Path, entry: str) -> None:
    """Make a folder one of installed distributions, with an entry point."""
    info = site / "wrong_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[prologue_bench]\nwrong = {entry}\n", encoding="utf-8")


def _run(context: Context, argv: list[Any], folder: Path, site: Path | None) -> Ending:
    """Run a command, where a folder is given with what is installed there."""
    return context.program.run(
        [str(site or ""), *argv], cwd=folder, timeout=60, call="tests.slow.plugins:with_installed"
    )


def with_installed(argv: list[str]) -> None:
    """In the child: the program, with one more folder of installed distributions."""
    from prologue_bench.cli.endings import main

    if argv[0]:
        sys.path.insert(0, argv[0])
    sys.argv = ["prologue-bench", *argv[1:]]
    main()


CAMPAIGN = Campaign(
    "plugins", "plugins that do wrong, as files and installed", 200, 6, prepare, attempt
)
