"""The command `measure`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.options import open_store, plugin_option, store_option, the_registry

if TYPE_CHECKING:
    from prologue_bench.measuring import ImageMeasurements


@click.command()
@click.argument("images")
@click.option(
    "--against",
    "reference",
    required=True,
    metavar="REFERENCE",
    help="A path such as IMAGES, the name of a data set, whose test images are taken, or an .npz "
    "with mu and sigma, such as ADM's reference batches.",
)
@click.option(
    "--metrics",
    metavar="NAMES",
    help="Names with commas between, such as rfid,psnr  [of reconstructions, if files of both have "
    "the same names, else of samples]",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Measure at most so many images, class-balanced where classes are known.",
)
@click.option(
    "--size",
    type=click.IntRange(1),
    help="Crop all images at their centre and resize them to this edge in pixels, as ADM does.",
)
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of all metrics that have it, such as few_samples=shrink; of one, such as "
    "kid.subset_size=100; or of the reference's data set, such as data.root=PATH.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@store_option
@plugin_option
def measure(
    images: str,
    reference: str,
    metrics: str | None,
    limit: int | None,
    size: int | None,
    values: tuple[str, ...],
    as_json: bool,
    store: Path | None,
) -> None:
    """Measure IMAGES against a reference, without an ablation.

    IMAGES is a folder with all that is below it, a zip, a tar of webdataset, or an .npz of uint8.
    """
    import json

    from prologue_bench.cli.console.terminal import say_at_once
    from prologue_bench.config.sections import parse_override

    say_at_once(f"Measuring {images}")
    settings = dict(map(parse_override, values))
    from prologue_bench import measuring

    found = measuring.measure(
        images,
        reference,
        None if metrics is None else [each.strip() for each in metrics.split(",")],
        limit=limit,
        size=size,
        settings=settings,
        registry=the_registry(),
        cache=open_store(store).cache,
        advance=_advance if sys.stderr.isatty() else None,
    )
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    else:
        _show(found)


def _show(found: ImageMeasurements) -> None:
    from prologue_bench.cli.console.tables import cell, plain_table, show
    from prologue_bench.measuring.result import COLUMNS

    table = plain_table(COLUMNS[:1], COLUMNS[1:4])
    table.add_column(COLUMNS[4])
    for name, *others in found.rows():
        table.add_row(cell(name, "bold"), *others)
    click.echo(f"{found.images} against {found.reference}")
    show(table)
    for sentence in found.sentences():
        click.echo(sentence)
    for key, text in found.protocols().items():
        click.echo(f"{key}: {text}")


def _advance(name: str, done: int, total: int) -> None:
    """One line at a terminal, written over until it is done."""
    click.echo(f"\r{name}: {done:,} of {total:,}", nl=done >= total, err=True)
