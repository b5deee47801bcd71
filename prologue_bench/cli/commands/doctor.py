"""The command `doctor`."""

from __future__ import annotations

import importlib
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal
from rich.text import Text

from prologue_bench import __version__
from prologue_bench.cli.console.tables import new_table, show
from prologue_bench.cli.console.terminal import style
from prologue_bench.cli.options import open_store, store_option, the_registry
from prologue_bench.contracts import Component, PublishedFile
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.guard import brief, left_out
from prologue_bench.texts.lines import one_line

LIBRARIES = (
    "torch",
    "torchvision",
    "mmengine",
    "torch-fidelity",
    "attrs",
    "pluggy",
    "pandas",
    "jinja2",
)
OPTIONAL = {
    "tensorboard": "training curves in TensorBoard: pip install 'prologue-bench[trackers]'",
    "mlflow": "training curves in MLflow: pip install 'prologue-bench[trackers]'",
    "wandb": "training curves in Weights & Biases: pip install 'prologue-bench[trackers]'",
    "gradio": "prologue-bench demo: pip install 'prologue-bench[demo]'",
    "s3fs": "stores at s3://: pip install 'prologue-bench[s3]'",
    "gcsfs": "stores at gs://: pip install 'prologue-bench[gcs]'",
    "sshfs": "stores at ssh://: pip install 'prologue-bench[ssh]'",
    "aiohttp": "reading stores at https://: pip install 'prologue-bench[http]'",
    "ray": "run --executor ray, on a cluster: pip install 'prologue-bench[ray]'",
    "pyarrow": "results as Parquet: pip install 'prologue-bench[parquet]'",
}

COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@store_option
def doctor(as_json: bool, store: Path | None) -> None:
    """Check what is installed, found and missing.

    Exit code 1 if something that every run needs is missing.
    """
    import json

    sections = {
        "installation": list(_installation()),
        "plugins": list(_plugins()),
        "data": list(_data()),
        "weights": list(_weights()),
        "machine": list(_machine(store)),
    }
    if as_json:
        click.echo(json.dumps(sections, indent=1))
    else:
        for name, lines in sections.items():
            click.echo(style(name, "bold"))
            table = new_table()
            for line in lines:
                state = Text(f"  {line['state']}", COLOURS[line["state"]])
                table.add_row(state, one_line(line["what"]), one_line(line["says"]))
            show(table)
    broken = [
        line["what"] for lines in sections.values() for line in lines if line["state"] == "broken"
    ]
    if broken:
        raise PrologueBenchError(f"does not work: {', '.join(broken)}")


def _line(state: str, what: str, says: str) -> dict[str, str]:
    return {"state": state, "what": what, "says": says}


def _installation() -> Iterator[dict[str, str]]:
    yield _line("ok", "prologue-bench", f"{__version__}, Python {platform.python_version()}")
    for name in LIBRARIES:
        try:
            yield _line("ok", name, version(name))
        except PackageNotFoundError:
            yield _line("broken", name, "not installed; install prologue-bench again")
    for name, what in OPTIONAL.items():
        try:
            yield _line("ok", name, version(name))
        except PackageNotFoundError:
            yield _line("missing", name, what)
    yield from _requirements()
    try:
        importlib.import_module("prologue_bench.training.engine")
    except Exception as error:
        yield _line("broken", "mmengine", f"{brief(error)}; install prologue-bench again")


def _requirements() -> Iterator[dict[str, str]]:
    """What components ask to be installed."""
    needed: dict[str, list[tuple[str, str]]] = defaultdict(list)
    components: dict[str, Component] = {}
    for kind, entry in the_registry():
        if requirement := entry.component.requires:
            needed[requirement].append((kind, entry.component.name))
            components.setdefault(requirement, entry.component)
    for requirement, of in needed.items():
        try:
            components[requirement].load()
            yield _line("ok", requirement, _named(of))
        except UserError:
            yield _line("missing", requirement, f"{_named(of)}: pip install '{requirement}'")


def _named(components: Iterable[tuple[str, str]]) -> str:
    """Kinds and names in few words: "tokenizer fsq, lfq; loss lpips"."""
    names: dict[str, list[str]] = defaultdict(list)
    for kind, name in components:
        names[kind].append(name)
    return "; ".join(f"{kind} {', '.join(of)}" for kind, of in names.items())


def _plugins() -> Iterator[dict[str, str]]:
    from prologue_bench.config.files import load_profile

    registry = the_registry()
    for origin, brought in registry.brought.items():
        yield _line("ok", origin, _named(brought))
    for problem in registry.problems:
        yield _line("missing", "left out", problem)
    for name in registry.cards("profiles"):
        try:
            load_profile(name, registry, "profile")
        except UserError as error:
            yield _line("missing", "left out", f"profile {name}: {brief(error)}")


def _data() -> Iterator[dict[str, str]]:
    from prologue_bench.contracts.fetching import nothing_fetched

    for name, entry in the_registry().entries["data"].items():
        try:
            with nothing_fetched():
                source: Any = entry.component.load()(entry.component.load_settings()()).outline()
                counts = [f"{len(source.labels(split)):,}" for split in ("train", "test")]
                shape = f"{source.spec.channels} x {source.spec.height} x {source.spec.width}"
            yield _line("ok", name, f"{counts[0]} + {counts[1]} images of {shape}")
        except PrologueBenchError as error:
            yield _line("missing", name, str(error))
        except Exception as error:  # whatever a plugin does
            yield _line("missing", name, brief(error))


def _weights() -> Iterator[dict[str, str]]:
    """The files that components fetch into torch's cache when they need them."""
    needed: dict[PublishedFile, list[tuple[str, str]]] = defaultdict(list)
    for kind, entry in the_registry():
        with left_out(
            entry.component.called(kind),
            lambda line: click.echo(f"prologue-bench: {line}", err=True),
        ):
            for file in entry.component.load_weights():
                needed[file].append((kind, entry.component.name))
    for file, of in needed.items():
        try:
            path = file.path()
        except UserError as error:
            yield _line("missing", file.name, f"{_named(of)}; {error}")
            continue
        if path.is_file():
            yield _line("ok", file.name, _named(of))
        else:
            yield _line(
                "missing",
                file.name,
                f"{_named(of)}; fetched when it is needed, or put it into {path.parent}",
            )


def _machine(store: Path | None) -> Iterator[dict[str, str]]:
    import torch

    yield _line(
        "ok", "processor", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"
    )
    if torch.cuda.is_available():
        names = ", ".join(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
        yield _line(
            "ok",
            "GPU",
            f"{names}; bfloat16 {'is' if torch.cuda.is_bf16_supported() else 'is not'} supported",
        )
    else:
        yield _line(
            "missing",
            "GPU",
            "none found; everything runs on the CPU, and profiles up to micro take minutes",
        )
    from prologue_bench.storage.files import free_disk
    from prologue_bench.training.compiling import compiler as find_compiler

    compiler = find_compiler()
    yield _line(
        "ok" if compiler else "missing",
        "compiler",
        compiler or "none; trainings run without torch.compile",
    )
    root = open_store(store).root
    try:
        yield _line("ok", "store", f"{root}, {decimal(free_disk(root))} free")
    except OSError as error:
        yield _line("missing", "store", f"{root}: {error.strerror}")
