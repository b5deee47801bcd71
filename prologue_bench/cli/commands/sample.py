"""The command `sample`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prologue_bench.cli.options import (
    FILE,
    PATH,
    force_option,
    open_store,
    plugin_option,
    remote_option,
    store_option,
    the_registry,
)
from prologue_bench.errors import UserError, nearest, shortened
from prologue_bench.numbers import LARGEST_INTEGER

if TYPE_CHECKING:
    from torch import Tensor

    from prologue_bench.results.schema import DataRecord
    from prologue_bench.runs.finished import FinishedRun
    from prologue_bench.runs.shared_tokens import GivenImage

MOST_IMAGES = 2000
"""Of one grid: they are drawn at once."""

SUFFIX = ".png"
SOFTWARE = "prologue-bench sample"
"""In the pictures, by which the command knows its own."""


@click.command()
@click.argument("results", type=PATH)
@click.option("--variant", help="The variant  [the last one of the results]")
@click.option("--training-seed", type=int, help="The seed of its training  [the first one]")
@click.option(
    "--class", "label", help="One class, by name or number  [all in turn, one per column]"
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, LARGEST_INTEGER),
    help="Seed of the draws.",
)
@click.option(
    "--fix-prologue",
    is_flag=True,
    help="Each row shares the tokens of its first segment; the last row shares none.",
)
@click.option(
    "--fix",
    "fixed",
    multiple=True,
    metavar="TOKENS",
    help="Each row shares these tokens: a segment, or some tokens of it, counted from 0, such as "
    "prologue:0,3-5; may be given several times. The last row shares none.",
)
@click.option(
    "--of",
    "given",
    metavar="IMAGE",
    help="The image whose tokens are shared, and which stands first in each row: its number in the "
    "grid that is drawn without --fix, counted from 0 row by row, test:NUMBER, or a file.  "
    "[one per row, not shown]",
)
@click.option("--rows", default=6, show_default=True, type=click.IntRange(1, MOST_IMAGES))
@click.option("--columns", default=10, show_default=True, type=click.IntRange(1, MOST_IMAGES))
@click.option(
    "--out",
    type=FILE,
    default=Path("samples.png"),
    show_default=True,
)
@force_option
@store_option
@remote_option
@plugin_option
def sample(
    results: Path,
    variant: str | None,
    training_seed: int | None,
    label: str | None,
    seed: int,
    fix_prologue: bool,
    fixed: tuple[str, ...],
    given: str | None,
    rows: int,
    columns: int,
    out: Path,
    force: bool,
    store: Path | None,
    remote: str | None,
) -> None:
    """Draw a grid of images from a finished run in RESULTS, a folder of `run` or `export`."""
    from prologue_bench.cli.console.transfers import elsewhere
    from prologue_bench.pipeline.pictures import sheet, to_png
    from prologue_bench.results.documents import read_export
    from prologue_bench.results.loading import load_results
    from prologue_bench.results.sources import source_of
    from prologue_bench.runs.exports import CONFIG, is_export, load_export
    from prologue_bench.runs.loading import chosen_run, load_run
    from prologue_bench.runs.shared_tokens import shared_places
    from prologue_bench.sampling.grids import row_labels, sharing_tokens
    from prologue_bench.storage.files import write_bytes

    _check_place(out, force)
    if is_export(results):
        if variant is not None or training_seed is not None:
            raise UserError(
                f"{results} is an export of one run; leave out --variant and --training-seed"
            )
        run = load_export(results, the_registry())
        record = read_export(results / CONFIG).data
    else:
        found = load_results(results)
        chosen_one = chosen_run(found, variant, training_seed)
        run = load_run(
            found, open_store(store), the_registry(), *chosen_one, elsewhere=elsewhere(remote)
        )
        record = source_of(found, run.variant).data
    classes = run.images.class_names
    chosen = _class(label, classes)
    count = rows * columns
    if count > MOST_IMAGES:
        raise UserError(
            f"--rows {rows} --columns {columns}: {count:,} images, expected at most {MOST_IMAGES:,}"
        )
    labels = _labels(rows, columns, chosen, len(classes))
    if fix_prologue and not run.leading:
        raise UserError(
            f"--fix-prologue: tokens of {run.variant!r} are of one segment; "
            "choose another --variant"
        )
    texts = (*fixed, *(run.tokenizer.layout.names[:1] if fix_prologue else ()))
    if given is not None and not texts:
        raise UserError("--of: says whose tokens are shared; say which ones with --fix")
    about = ""
    if texts:
        places = shared_places(texts, run.tokenizer.layout, "--fix")
        if rows == 1:
            raise UserError("--rows 1: the last row shares no tokens; expected at least 2 rows")
        source = None
        if given is not None:
            source = _given(given, run, labels, seed, record, store)
            chosen = source.label if chosen is None else chosen
            labels = _labels(rows, columns, chosen, len(classes))
        elif chosen is None:
            labels = row_labels(rows, columns, len(classes))
        ids = sharing_tokens(
            run.draw,
            labels,
            columns,
            [places] * (rows - 1),
            seed,
            None if source is None else source.ids,
        )
        about = (
            f"; rows but the last share {' '.join(texts)}{f' of {source.title}' if source else ''}"
        )
    else:
        ids = run.draw(labels, seed)
    images = run.decode(ids)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, to_png(sheet(images, columns), software=SOFTWARE))
    what = (
        "all classes in turn"
        if chosen is None
        else f"class {classes[chosen] if classes else chosen}"
    )
    click.echo(f"{out}: {run.variant}, training seed {run.seed}, {what}, seed {seed}{about}")


def _labels(rows: int, columns: int, chosen: int | None, classes: int) -> Tensor:
    """Labels [rows * columns]: of one class, or of all in turn, one per column."""
    import torch

    if chosen is None:
        return torch.arange(rows * columns) % columns % max(1, classes)
    return torch.full((rows * columns,), chosen)


def _given(
    text: str,
    run: FinishedRun,
    labels: Tensor,
    seed: int,
    record: DataRecord,
    store: Path | None,
) -> GivenImage:
    """The image that --of names. Raises UserError where there is none."""
    from prologue_bench.runs.shared_tokens import TEST_IMAGE, GivenImage, encoded_image, test_image
    from prologue_bench.storage.files import user_path

    if match := TEST_IMAGE.fullmatch(text):
        opened = open_store(store)
        return test_image(run, int(match[1]), record, the_registry(), opened, "--of")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return encoded_image(run, user_path(text, "--of"), "--of")
    number = int(text)
    if number >= len(labels):
        raise UserError(f"--of {number}: the grid has {len(labels)} images, counted from 0")
    return GivenImage(run.draw(labels, seed)[number], int(labels[number]), f"image {number}")


def _check_place(path: Path, force: bool) -> None:
    """Raises UserError for a name of another kind, and for a file that this command did not write.

    Its own are drawn again by the same options.
    """
    from PIL import Image

    if path.suffix.lower() != SUFFIX:
        raise UserError(
            f"--out {path}: found no picture's name, expected one that ends in {SUFFIX}"
        )
    if force or not os.path.lexists(path):
        return
    try:
        with Image.open(path) as image:
            if image.info.get("Software") == SOFTWARE:
                return
    except Exception:  # whatever there is, it is no picture of ours
        pass
    raise UserError(
        f"{path}: is not as this command wrote it; name another file with --out, "
        "or overwrite it with --force"
    )


def _class(label: str | None, classes: tuple[str, ...]) -> int | None:
    """The number of a class given by name or number. Raises UserError."""
    if label is None:
        return None
    if label in classes:
        return classes.index(label)
    if re.fullmatch(r"[0-9]{1,9}", label) and int(label) < len(classes):
        return int(label)
    known = f"{nearest(label, classes)}, or a number below {len(classes)}"
    raise UserError(f"--class {shortened(label)}: no such class; {known}")
