"""The command `demo`."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import click

from prologue_bench.cli.options import (
    PATH,
    open_store,
    plugin_option,
    remote_option,
    store_option,
    the_registry,
)
from prologue_bench.errors import UserError


@click.command()
@click.argument("results", type=PATH)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve on; 0.0.0.0 for all interfaces.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to serve on  [the first free one from 7860]"
)
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@store_option
@remote_option
@plugin_option
def demo(
    results: Path,
    host: str,
    port: int | None,
    show: bool,
    store: Path | None,
    remote: str | None,
) -> None:
    """Draw samples from the finished runs in RESULTS on a web page.

    Two variants stand side by side. On the page you can keep or swap prologues, redraw the rest,
    see the tokens over their patches, and try a picture of your own.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError(
            "the demo needs gradio, which is not installed; pip install 'prologue-bench[demo]'"
        )
    from prologue_bench.cli.console.transfers import elsewhere
    from prologue_bench.results.loading import load_results
    from prologue_bench.runs.demo.page import build_page, serve
    from prologue_bench.runs.demo.studio import Studio

    opened = open_store(store)
    studio = Studio(load_results(results), opened, the_registry(), elsewhere(remote))
    with contextlib.suppress(KeyboardInterrupt):  # to be stopped is the regular end of a server
        serve(build_page(studio), host, port, show)
