"""The demo's page, made with Gradio; nothing of it is fetched from elsewhere.

What it shows depends on its fields alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
import gradio as gr
from attrs import evolve

from prologue_bench.errors import UserError
from prologue_bench.runs.demo.answers import Answers, Form, Redraw
from prologue_bench.runs.demo.fields import Fields
from prologue_bench.runs.demo.studio import Studio
from prologue_bench.runs.demo.words import PROLOGUE

SANS = ["system-ui", "sans-serif"]
MONO = ["ui-monospace", "monospace"]
CSS = Path(__file__).with_name("page.css").read_text()
LARGEST_FILE = "20mb"

Values = Sequence[Any]
"""Of fields."""
Changes = dict[Any, Any]
"""New values of components."""


def build_page(studio: Studio) -> gr.Blocks:
    """The page, not yet served. Raises PrologueBenchError when nothing can be drawn."""
    opening = studio.opening()
    title = studio.results.title
    with gr.Blocks(title=f"{title} · prologue-bench", analytics_enabled=False) as page:
        # As it is: Markdown of others could name images and links.
        gr.HTML(
            f"<h1>{escape(title)}</h1><p class='lead'>{PROLOGUE}</p>{_remarks(studio, opening)}"
        )
        fields = Fields(studio, opening)
        _Wiring(fields, Answers(studio)).wire(page)
    found: gr.Blocks = page
    return found


def serve(page: gr.Blocks, host: str, port: int | None, show: bool, wait: bool = True) -> str:
    """Serve the page until the user stops it, or in the background; returns its address.

    Raises UserError when the port is taken.
    """
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=show,
            prevent_thread_lock=not wait,
            theme=_theme(),
            css=CSS,
            footer_links=[],
            ssr_mode=False,
            max_file_size=LARGEST_FILE,
        )
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: {error}; name another port, or none"
        ) from None
    found: str = address
    return found


def _theme() -> gr.themes.Base:
    """Gradio's, in colours whose texts are dark enough to be read."""
    theme = gr.themes.Default(primary_hue="blue", font=SANS, font_mono=MONO)
    found: gr.themes.Base = theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )
    return found


def _remarks(studio: Studio, opening: Sequence[str]) -> str:
    """What these runs cannot show, a line each."""
    found = []
    if not studio.has_prologues():
        found.append("No run here has a prologue; in its place, the first tokens can be kept.")
    if len(studio.names) == 1:
        found.append("These results have one run, so none stands beside it.")
    elif len(opening) == 1:
        found.append("One run can be drawn from; choose another to see what it lacks.")
    return "".join(f"<p class='note'>{each}</p>" for each in found)


class _Wiring:
    """What happens in fields.

    Every answer is made from the values of all fields at that time: `names` are the runs, by side,
    and `form` is the settings of draws.
    """

    def __init__(self, fields: Fields, answers: Answers) -> None:
        self.fields, self.answers = fields, answers

    def wire(self, page: gr.Blocks) -> None:
        """Have fields and buttons change what depends on them."""
        fields = self.fields
        redrawn = [*fields.redrawn, *fields.redrawn_tokens]
        own_redrawn = [*fields.own_redrawn, *fields.own_tokens]
        made = [*fields.tokens, *redrawn, *fields.swapped]
        drawn = [*fields.galleries, *made, *own_redrawn]

        plain = _inputs(fields.label, fields.seed, fields.count, fields.as_measured)
        by_hand = _inputs(fields.temperature, fields.guidance)
        self._on([page.load, *plain], self._draw, drawn)
        self._on(by_hand, self._draw_by_hand, [fields.as_measured, *drawn])
        self._on([fields.next_seed.click], self._draw_next, [fields.seed, *drawn])
        runs = [fields.label, *fields.kept, *drawn]
        self._on(_inputs(*fields.names), self._change_runs, runs)
        chosen = [each.select for each in fields.galleries]
        self._on(chosen, self._choose, [fields.chosen, *made])

        kept = [fields.round, *fields.kept]
        self._on([fields.redraw.click], self._redraw_anew, [fields.round, *redrawn], kept)
        self._on(_inputs(*fields.kept), self._redraw, [*redrawn, *own_redrawn], kept)
        swap = [fields.swap.click, fields.other.input]
        self._on(swap, self._swap, fields.swapped, [fields.other])

        own = [fields.path, fields.inverted]
        shown = [fields.given, *fields.own, *own_redrawn]
        changed = [fields.path.upload, *_inputs(fields.inverted, *fields.names)]
        self._on(changed, self._show_own, shown, own)
        kept_of_own = [*own, fields.own_round, *fields.kept]
        self._on(
            [fields.redraw_own.click],
            self._redraw_own,
            [fields.own_round, *own_redrawn],
            kept_of_own,
        )
        for side in range(len(fields.names)):
            chosen, tokens = [fields.redrawn[side].select], [fields.redrawn_tokens[side]]
            self._on(chosen, partial(self._choose_redrawn, side), tokens, kept)
            chosen, tokens = [fields.own_redrawn[side].select], [fields.own_tokens[side]]
            self._on(chosen, partial(self._choose_own, side), tokens, kept_of_own)

    def _on(
        self,
        events: Sequence[Any],
        action: Callable[..., Changes],
        outputs: Sequence[Any],
        more: Sequence[Any] = (),
    ) -> None:
        """Answer events with an action, which is given the fields that `_read` reads, and more.

        Of many events in a row, the last one counts. What the action does not change of the outputs
        stays.
        """

        def answer(event: gr.EventData, *values: Any) -> Changes:
            return action(values, _index(event))

        fields = self.fields
        gr.on(
            list(events),
            answer,
            [*fields.names, *fields.form, fields.chosen, *more],
            list(outputs),
            trigger_mode="always_last",
            show_progress="minimal",
        )

    def _read(self, values: Sequence[Any]) -> tuple[list[str], Form, int, list[Any]]:
        """The runs' names, the form, the chosen image, and what else was asked for."""
        sides = len(self.fields.names)
        label, seed, count, as_measured, temperature, guidance, chosen, *more = values[sides:]
        form = Form(
            label=label,
            seed=seed,
            count=count,
            as_measured=as_measured,
            temperature=temperature,
            guidance=guidance,
        )
        return list(values[:sides]), form, chosen, more

    def _draw(self, values: Values, _: int | None) -> Changes:
        names, form, chosen, _more = self._read(values)
        return self._drawn(names, form, chosen)

    def _draw_by_hand(self, values: Values, _: int | None) -> Changes:
        names, form, chosen, _more = self._read(values)
        changes = self._drawn(names, evolve(form, as_measured=False), chosen)
        return {self.fields.as_measured: False, **changes}

    def _draw_next(self, values: Values, _: int | None) -> Changes:
        names, form, chosen, _more = self._read(values)
        seed = 0 if form.seed is None else form.seed + 1
        return {self.fields.seed: seed, **self._drawn(names, evolve(form, seed=seed), chosen)}

    def _change_runs(self, values: Values, _: int | None) -> Changes:
        names, form, chosen, _more = self._read(values)
        classes = self.answers.studio.classes(names)
        label = form.label if form.label in classes else classes[0]
        limits = zip(self.fields.kept, map(self.answers.kept, names), strict=True)
        return {
            self.fields.label: gr.update(choices=classes, value=label),
            **{field: gr.update(value=kept, maximum=most) for field, (kept, most) in limits},
            **self._drawn(names, evolve(form, label=label), chosen),
        }

    def _choose(self, values: Values, index: int | None) -> Changes:
        names, form, chosen, _ = self._read(values)
        chosen = chosen if index is None else index
        changes = self._drawn(names, form, chosen)
        # Those stay as they are: to replace them would take the focus from the image.
        fields = self.fields
        for each in (*fields.galleries, *fields.own_redrawn, *fields.own_tokens):
            del changes[each]
        return {fields.chosen: chosen, **changes}

    def _drawn(self, names: Sequence[str], form: Form, chosen: int) -> Changes:
        """New images; those that were made of the old ones are gone."""
        fields = self.fields
        made = [*fields.redrawn, *fields.redrawn_tokens, *fields.swapped]
        found = dict.fromkeys([*made, *fields.own_redrawn, *fields.own_tokens], "")
        for side, name in enumerate(names):
            shown = self.answers.drawn(name, form, chosen, f"drawn-{side}")
            found[fields.galleries[side]], found[fields.tokens[side]] = shown
        return found

    def _redraw(self, values: Values, _: int | None) -> Changes:
        fields = self.fields
        gone = dict.fromkeys([*fields.own_redrawn, *fields.own_tokens], "")
        return {**gone, **self._redrawn(values, 0)}

    def _redraw_anew(self, values: Values, _: int | None) -> Changes:
        *_others, (round_, *_kept) = self._read(values)
        return {self.fields.round: round_ + 1, **self._redrawn(values, 1)}

    def _redrawn(self, values: Values, more: int) -> Changes:
        found: Changes = {}
        for side in range(len(self.fields.names)):
            shown = self._redrawn_of(side, values, more, 0)
            found[self.fields.redrawn[side]], found[self.fields.redrawn_tokens[side]] = shown
        return found

    def _redrawn_of(self, side: int, values: Values, more: int, index: int) -> tuple[str, str]:
        names, form, chosen, (round_, *kept) = self._read(values)
        redraw = Redraw(kept[side], round_ + more, index, f"redrawn-{side}")
        return self.answers.redrawn(names[side], form, chosen, redraw)

    def _choose_redrawn(self, side: int, values: Values, index: int | None) -> Changes:
        _, tokens = self._redrawn_of(side, values, 0, index or 0)
        return {self.fields.redrawn_tokens[side]: tokens}

    def _swap(self, values: Values, _: int | None) -> Changes:
        names, form, chosen, (other,) = self._read(values)
        shown = [self.answers.swapped(name, form, chosen, other) for name in names]
        return dict(zip(self.fields.swapped, shown, strict=True))

    def _show_own(self, values: Values, _: int | None) -> Changes:
        names, *_others, (path, inverted) = self._read(values)
        fields = self.fields
        found: Changes = dict.fromkeys([*fields.own_redrawn, *fields.own_tokens], "")
        if path is not None:
            found[fields.given] = self.answers.own_as_given(names[0], path, inverted)
            for field, name in zip(fields.own, names, strict=True):
                found[field] = self.answers.own(name, path, inverted)
        return found

    def _redraw_own(self, values: Values, _: int | None) -> Changes:
        *_others, (_path, _inverted, round_, *_kept) = self._read(values)
        found: Changes = {self.fields.own_round: round_ + 1}
        for side in range(len(self.fields.names)):
            shown = self._own_redrawn_of(side, values, 1, 0)
            found[self.fields.own_redrawn[side]], found[self.fields.own_tokens[side]] = shown
        return found

    def _own_redrawn_of(self, side: int, values: Values, more: int, index: int) -> tuple[str, str]:
        names, form, _, (path, inverted, round_, *kept) = self._read(values)
        redraw = Redraw(kept[side], round_ + more, index, f"own-redrawn-{side}")
        return self.answers.own_redrawn(names[side], path, inverted, form, redraw)

    def _choose_own(self, side: int, values: Values, index: int | None) -> Changes:
        _, tokens = self._own_redrawn_of(side, values, 0, index or 0)
        return {self.fields.own_tokens[side]: tokens}


def _inputs(*fields: Any) -> list[Any]:
    """The events of fields that a user changes."""
    return [each.input for each in fields]


def _index(event: gr.EventData) -> int | None:
    """The number of the image that was chosen, of events that have one."""
    try:
        return int(event.index)
    except (AttributeError, TypeError, ValueError):  # without data, or with others
        return None
