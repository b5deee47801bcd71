"""The demo's page, made with Gradio; nothing of it is fetched from elsewhere."""

from __future__ import annotations

import math
import os
from html import escape
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
import gradio as gr

from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.runs.demo.studio import MOST_IMAGES, Drawn, Studio, tokens_table

SANS = ["system-ui", "sans-serif"]
MONO = ["ui-monospace", "monospace"]
CSS = """
img { image-rendering: pixelated; }
table.tokens { border-collapse: collapse; font: 13px ui-monospace, monospace; margin: 0 0 12px; }
table.tokens caption { text-align: left; padding-bottom: 4px; white-space: nowrap; }
#drawn .grid-container, #redrawn .grid-container { \
grid-template-columns: repeat(auto-fill, minmax(56px, 1fr)); }
#drawn .thumbnail-item, #redrawn .thumbnail-item { aspect-ratio: 1; height: auto; }
table.tokens td { padding: 2px 6px; text-align: right; }
"""
COUNTS = (1, MOST_IMAGES, 20)
"""Images per draw: fewest, most, and at first."""


def build_page(studio: Studio) -> gr.Blocks:
    """The page, not yet served."""
    title = studio.results.title
    variant, seed = studio.first
    kept, most = studio.kept(variant, seed)
    with gr.Blocks(title=f"{title} · prologue-bench", analytics_enabled=False) as page:
        # As it is: Markdown of others could name images and links.
        gr.HTML(f"<h1>{escape(title)}</h1>")
        drawn: Any = gr.State(None)
        redrawn: Any = gr.State(None)
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                variants = gr.Dropdown(studio.variants, value=variant, label="Variant")
                seeds = gr.Dropdown(studio.seeds_of(variant), value=seed, label="Training seed")
                label = gr.Dropdown(studio.classes, value=studio.classes[0], label="Class")
                count = gr.Slider(*COUNTS[:2], value=COUNTS[2], step=1, label="Images")
                sampling_seed = gr.Number(0, precision=0, minimum=0, label="Seed of the next draw")
                draw = gr.Button("Draw", variant="primary", elem_id="draw")
                keep = gr.Slider(0, most, value=kept, step=1, label="First tokens to keep")
                redraw = gr.Button(
                    "Keep the first tokens, redraw the rest", elem_id="redraw", interactive=False
                )
            with gr.Column(scale=3, min_width=320):
                gr.Markdown("### Drawn")
                gallery = _gallery("Drawn", "drawn")
                gr.Markdown("### Redrawn with the same first tokens")
                again = _gallery("Redrawn", "redrawn")
            with gr.Column(scale=2, min_width=300):
                gr.Markdown(
                    "### Tokens\nClick an image to see them. The redraw changed the marked ones."
                )
                tokens = gr.HTML(elem_id="tokens")

        @_shown
        def on_draw(
            variant: str, seed: int, label: str, count: float, sampling_seed: float | None
        ) -> tuple[Any, ...]:
            new = studio.draw(variant, seed, label, int(count), _whole(sampling_seed))
            ready = gr.update(interactive=True)
            return (
                new,
                None,
                list(new.images),
                [],
                tokens_table(new, 0),
                _whole(sampling_seed) + 1,
                ready,
            )

        @_shown
        def on_redraw(
            variant: str, seed: int, before: Drawn | None, kept: float, sampling_seed: float | None
        ) -> tuple[Any, ...]:
            if before is None:
                raise UserError("nothing is drawn yet, so there are no first tokens to keep")
            new = studio.redraw(variant, seed, before, int(kept), _whole(sampling_seed))
            return new, list(new.images), tokens_table(new, 0, before), _whole(sampling_seed) + 1

        @_shown
        def on_model(variant: str, seed: int, label: str) -> tuple[Any, ...]:
            seeds, classes = studio.seeds_of(variant), studio.classes_of(variant)
            seed = seed if seed in seeds else seeds[0]
            kept, most = studio.kept(variant, seed)
            return (
                gr.update(choices=seeds, value=seed),
                gr.update(choices=classes, value=label if label in classes else classes[0]),
                gr.update(maximum=most, value=kept),
                None,
                None,
                [],
                [],
                "",
                gr.update(interactive=False),
            )

        def on_select(event: gr.SelectData, drawn: Drawn) -> str:
            return tokens_table(drawn, event.index)

        def on_select_again(event: gr.SelectData, redrawn: Drawn, drawn: Drawn) -> str:
            return tokens_table(redrawn, event.index, drawn)

        model = [variants, seeds]
        draw.click(
            on_draw,
            [*model, label, count, sampling_seed],
            [drawn, redrawn, gallery, again, tokens, sampling_seed, redraw],
        )
        redraw.click(
            on_redraw, [*model, drawn, keep, sampling_seed], [redrawn, again, tokens, sampling_seed]
        )
        gr.on(
            [each.change for each in model],
            on_model,
            [*model, label],
            [seeds, label, keep, drawn, redrawn, gallery, again, tokens, redraw],
        )
        gallery.select(on_select, [drawn], [tokens])
        again.select(on_select_again, [redrawn, drawn], [tokens])
    found: gr.Blocks = page
    return found


def serve(page: gr.Blocks, host: str, port: int | None, show: bool, wait: bool = True) -> str:
    """Serve the page until the user stops it, or in the background; returns its address.

    Raises UserError when the port is taken.
    """
    theme = gr.themes.Default(font=SANS, font_mono=MONO)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=show,
            prevent_thread_lock=not wait,
            theme=theme,
            css=CSS,
            footer_links=[],
            ssr_mode=False,
        )
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: {error}; name another port, or none"
        ) from None
    found: str = address
    return found


def _whole(number: float | None) -> int:
    """The number of a field. Raises UserError for an empty one."""
    if number is None or not math.isfinite(number):
        raise UserError("give a whole number as the seed of the next draw")
    return int(number)


def _gallery(label: str, name: str) -> gr.Gallery:
    return gr.Gallery(
        label=label,
        show_label=False,
        elem_id=name,
        columns=5,
        height="auto",
        object_fit="contain",
        allow_preview=False,
        format="png",
        interactive=False,
    )


def _shown(action: Any) -> Any:
    """The action, whose errors of the project's own are shown on the page."""

    def attempt(*arguments: Any) -> Any:
        try:
            return action(*arguments)
        except PrologueBenchError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return attempt
