"""The fields of the demo's page, and where its images stand; nothing happens in them yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
import gradio as gr

from prologue_bench.runs.demo.answers import REDRAWN
from prologue_bench.runs.demo.markup import message
from prologue_bench.runs.demo.studio import MOST_IMAGES, Studio

T = TypeVar("T")
COUNTS = {64: 12, 10**9: 4}
"""Images at first, by their greatest height: large ones take long to draw."""
NARROW, WIDE = 150, 300
"""Least widths in pixels: two galleries stand beside each other on a phone, tokens do not."""
CHOOSING = """
element.addEventListener('change', event => {
  const { type, name, value } = event.target
  if (type !== 'radio') return
  // Images of one number have the same random numbers on both sides: they are chosen together.
  if (name.startsWith('drawn'))
    for (const each of document.querySelectorAll(`input[name^=drawn][value="${value}"]`))
      each.checked = true
  trigger('select', { index: Number(value) })
})
"""


class Fields:
    """All fields, section by section.

    A side is one of the runs that stand beside each other; lists have an entry for each.
    """

    def __init__(self, studio: Studio, opening: Sequence[str]) -> None:
        self.studio, self.opening = studio, opening
        self.sides = range(len(opening))
        self.chosen = gr.State(0)
        """The image that is chosen among those drawn."""
        self.round, self.own_round = gr.State(0), gr.State(0)
        """How often was redrawn: the chosen image, and the user's picture."""
        self._asking()
        self._drawing()
        self._sampling()
        self.form: list[gr.components.Component] = [
            self.label,
            self.seed,
            self.count,
            self.as_measured,
            self.temperature,
            self.guidance,
        ]
        gr.HTML("<h2>The tokens of the chosen image</h2>")
        self.tokens = self._abreast(WIDE, lambda side: _shown("tokens", side))
        self._keeping()
        self._swapping()
        self._picture()

    def _asking(self) -> None:
        classes = self.studio.classes(self.opening)
        self.has_classes = len(classes) > 1
        with gr.Row():
            self.label = gr.Dropdown(
                classes, value=classes[0], label="Class", min_width=NARROW, visible=self.has_classes
            )
            self.seed = gr.Number(
                0, precision=0, minimum=0, label="Seed of the draw", min_width=NARROW
            )
            self.next_seed = gr.Button("Draw the next seed", variant="primary", min_width=NARROW)

    def _drawing(self) -> None:
        gr.HTML("<h2>The same class and seed, side by side</h2>" if self.sides[1:] else "")
        labels = ("Left", "Right") if self.sides[1:] else ("Run",)
        self.names = self._abreast(
            WIDE,
            lambda side: gr.Dropdown(
                self.studio.names, value=self.opening[side], label=labels[side]
            ),
        )
        drawing = message("Drawing ...")
        self.galleries = self._abreast(NARROW, lambda side: _gallery("drawn", side, drawing))

    def _sampling(self) -> None:
        measured = self.studio.measured(self.opening[-1])
        height = self.studio.images_of(self.opening[0]).height
        count = next(number for most, number in COUNTS.items() if height <= most)
        with gr.Row():
            self.temperature = gr.Slider(
                0.1,
                2,
                value=measured.temperature,
                step=0.05,
                label="Temperature",
                min_width=NARROW,
                elem_id="temperature",
            )
            self.guidance = gr.Slider(
                0,
                10,
                value=measured.guidance,
                step=0.25,
                label="Guidance (1 is none)",
                min_width=NARROW,
                visible=self.has_classes,
            )
            self.count = gr.Slider(
                1, MOST_IMAGES, value=count, step=1, label="Images", min_width=NARROW
            )
        self.as_measured = gr.Checkbox(True, label="Temperature and guidance as in the report")

    def _keeping(self) -> None:
        what = "prologue" if self.studio.has_prologues() else "first tokens"
        gr.HTML(
            f"<h2>Keep the {what}, redraw the rest</h2>"
            "<p>The chosen image keeps its first tokens; all behind them are drawn anew.</p>"
        )
        self.redraw = gr.Button(f"Keep the first tokens, redraw {REDRAWN} times", elem_id="redraw")
        both = self._abreast(NARROW, lambda side: (self._kept(side), _gallery("redrawn", side)))
        self.kept, self.redrawn = [each for each, _ in both], [each for _, each in both]
        self.redrawn_tokens = self._abreast(WIDE, lambda side: _shown("redrawn-tokens", side))

    def _kept(self, side: int) -> gr.Slider:
        kept, most = self.studio.kept(self.opening[side])
        return gr.Slider(
            0, most, value=kept, step=1, label="First tokens to keep", elem_id=f"kept-{side}"
        )

    def _swapping(self) -> None:
        gr.HTML("<h2>Swap prologues between two images</h2>")
        offered = self.studio.has_prologues()
        if not offered:
            gr.HTML(message("No run here has a prologue, so there is nothing to swap."))
        else:
            gr.HTML(
                "<p>Each image keeps its class and its random numbers, and is drawn behind the "
                "prologue of the other.</p>"
            )
        with gr.Row(visible=offered):
            self.other = gr.Number(
                2,
                precision=0,
                minimum=1,
                maximum=MOST_IMAGES,
                label="Swap the chosen image's prologue with that of image",
                min_width=WIDE,
            )
            self.swap = gr.Button("Swap prologues", elem_id="swap", min_width=NARROW)
        self.swapped = self._abreast(WIDE, lambda side: _shown("swapped", side), offered)

    def _picture(self) -> None:
        gr.HTML(
            "<h2>A picture of your own</h2>"
            "<p>Its middle is cut out and resized to what the models know. It stays on "
            "the machine that serves this page.</p>"
        )
        with gr.Row():
            self.path = gr.UploadButton(
                "Choose a picture", file_types=["image"], elem_id="picture", min_width=NARROW
            )
            self.inverted = gr.Checkbox(False, label="Swap light and dark", min_width=NARROW)
            self.redraw_own = gr.Button(
                f"Keep its first tokens, redraw {REDRAWN} times",
                elem_id="redraw-own",
                min_width=NARROW,
            )
        self.given = gr.HTML(elem_id="own-given")
        self.own = self._abreast(WIDE, lambda side: _shown("own", side))
        self.own_redrawn = self._abreast(NARROW, lambda side: _gallery("own-redrawn", side))
        self.own_tokens = self._abreast(WIDE, lambda side: _shown("own-redrawn-tokens", side))

    def _abreast(self, width: int, make: Callable[[int], T], visible: bool = True) -> list[T]:
        """Fields of all sides in a row, in columns that are at least so many pixels wide."""
        found = []
        with gr.Row(visible=visible):
            for side in self.sides:
                with gr.Column(min_width=width):
                    found.append(make(side))
        return found


def _gallery(name: str, side: int, value: str = "") -> gr.HTML:
    """Images of which one can be chosen, which is told as `select`."""
    return gr.HTML(value, elem_id=f"{name}-{side}", js_on_load=CHOOSING)


def _shown(name: str, side: int) -> gr.HTML:
    """What is only looked at."""
    return gr.HTML(elem_id=f"{name}-{side}", js_on_load=None)
