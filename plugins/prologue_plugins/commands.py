"""The commands for the paper's and others' models: `import-checkpoint` and `check-golden`.

Each kind of model is imported and checked by the plugin that knows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from prologue_bench.cli import completion
from prologue_bench.cli.options import FOLDER, PATH
from prologue_bench.errors import PrologueBenchError, listed

TOLERANCE = 1e-4


@click.command(name="import-checkpoint")
@click.argument("checkpoint", metavar="PATH")
@click.option(
    "--preset",
    required=True,
    shell_complete=completion.presets,
    help="What the checkpoint is, such as prologue-b or llamagen-vq16; see `list preset`.",
)
@click.option("--name", help="Its name in settings  [the preset's name]")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["tokenizer", "generator"]),
    help="Import only this part, which the preset has to have; repeatable.",
)
@click.option(
    "--weights",
    type=click.Choice(["average", "raw"]),
    help=(
        "The moving average or the raw weights  [those that the published numbers are of: for "
        "the paper's models average for tokenizers, raw for generators]"
    ),
)
@click.option(
    "--out",
    "store_folder",
    type=FOLDER,
    help="The store  [$PROLOGUE_BENCH_STORE or the user's cache]",
)
def import_checkpoint(
    checkpoint: str,
    preset: str,
    name: str | None,
    parts: tuple[str, ...],
    weights: Literal["average", "raw"] | None,
    store_folder: Path | None,
) -> None:
    """Import the checkpoint at PATH; with `imported: NAME`, it is used as if trained here.

    PATH is the folder with the safetensors files of a model of the paper, or the released file of
    another published model, which may be on the hub: hf:ORG/NAME@REVISION/FILE. Every name and
    shape is checked; what could run code is refused.
    """
    from prologue_bench.registry import Registry
    from prologue_bench.storage.files import user_path
    from prologue_bench.storage.names import named_path
    from prologue_bench.storage.store import Store, default_store
    from prologue_plugins.importing import check_parts
    from prologue_plugins.official.checkpoint import Importer
    from prologue_plugins.zoo.importing import import_released, published

    store = Store((store_folder or default_store()).resolve())
    named_path(store.root, name or preset, "--name" if name else "--preset")
    registry = Registry.load()
    if released := published(preset, registry):
        check_parts(parts, preset, [released.part])
        found = iter([import_released(checkpoint, released, name or preset, store, weights)])
    else:
        importer = Importer(
            folder=user_path(checkpoint),
            name=name or preset,
            store=store,
            registry=registry,
            weights=weights,
        )
        found = importer.run(preset, parts)
    for done in found:
        files = ", ".join(path.name for path in done.files)
        click.echo(f"{done.part} {done.name}: {done.parameters:,} parameters from {files}")
        click.echo(f"  artifact {done.artifact.folder}")
        click.echo(f"  to use it: --set {done.part}_training.imported={done.name}")


@click.command(name="check-golden")
@click.argument("folder", metavar="DIR", type=PATH)
@click.option(
    "--tolerance", default=TOLERANCE, show_default=True, help="Largest absolute error allowed."
)
def check_golden(folder: Path, tolerance: float) -> None:
    """Recompute every tensor of the golden folder DIR and compare; exit code 0 if all agree.

    DIR holds config.json, the state dicts and io.safetensors of a model of the paper's
    implementation, or of a published tokenizer.
    """
    if (folder / "weights.safetensors").exists():  # the paper's models have a file for each part
        from prologue_plugins.zoo.golden import check_zoo_folder

        comparisons = check_zoo_folder(folder, tolerance)
    else:
        from prologue_plugins.official.golden import check_folder

        comparisons = check_folder(folder)
    width = max(len(comparison.name) for comparison in comparisons)
    click.echo(f"{'tensor':<{width}}  {'largest error':>13}  ids    verdict")
    for each in comparisons:
        error = f"{each.error:.2e}" if each.error is not None else ""
        ids = "" if each.equal is None else ("equal" if each.equal else "differ")
        verdict = "ok" if each.holds(tolerance) else f"FAILS {each.problem}".strip()
        click.echo(f"{each.name:<{width}}  {error:>13}  {ids:<6} {verdict}")
    failed = [each.name for each in comparisons if not each.holds(tolerance)]
    if failed:
        raise PrologueBenchError(
            f"{folder}: {len(failed)} of {len(comparisons)} tensors differ: {listed(failed)}"
        )
    click.echo(f"all {len(comparisons)} tensors agree to {tolerance:g}")
