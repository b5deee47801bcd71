"""What the page shows when something is asked of it, as HTML; a refusal is one line in its place.

Arguments are as fields of a form hold them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from attrs import evolve, frozen

from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.runs.demo.markup import gallery, message, picture, swapped, tokens_over
from prologue_bench.runs.demo.picture import read_picture
from prologue_bench.runs.demo.studio import ALL_CLASSES, ByHand, Drawn, Request, Studio
from prologue_bench.runs.demo.words import kept_words, sampling_words

REDRAWN = 8
"""Images that share first tokens."""

Given = ParamSpec("Given")


@frozen(kw_only=True)
class Form:
    """The settings of draws, which all runs share."""

    label: str
    seed: float | None
    count: float | None
    as_measured: bool
    temperature: float | None
    guidance: float | None

    def request(self) -> Request:
        """What is asked for. Raises UserError for empty fields."""
        by_hand = None
        if not self.as_measured:
            by_hand = ByHand(
                _number(self.temperature, "temperature"), _number(self.guidance, "guidance")
            )
        return Request(
            label=self.label,
            seed=int(_number(self.seed, "seed")),
            count=int(_number(self.count, "images")),
            by_hand=by_hand,
        )


def _number(value: float | None, what: str) -> float:
    if value is None or not math.isfinite(value):
        raise UserError(f"{what}: found no number; give one")
    return value


@frozen
class Redraw:
    """Which images with the same first tokens are meant."""

    kept: int
    """First tokens."""
    round_: int
    """Each has other random numbers."""
    index: int
    """The image whose tokens are shown."""
    group: str
    """The name of the gallery."""


def _or_why(answer: Callable[Given, tuple[str, str]]) -> Callable[Given, tuple[str, str]]:
    """The answer of two parts, or in place of the first why there is none."""

    def attempt(*args: Given.args, **kwargs: Given.kwargs) -> tuple[str, str]:
        try:
            return answer(*args, **kwargs)
        except PrologueBenchError as error:
            return message(str(error)), ""

    return attempt


def _line_or_why(answer: Callable[Given, str]) -> Callable[Given, str]:
    """As `_or_why`, of an answer of one part."""
    return lambda *args, **kwargs: _or_why(lambda: (answer(*args, **kwargs), ""))()[0]


@frozen
class Answers:
    """Galleries and tokens of one run each.

    The group of a gallery is a name that no other on the page has.
    """

    studio: Studio

    @_or_why
    def drawn(self, name: str, form: Form, chosen: int, group: str) -> tuple[str, str]:
        """The images of a draw, and the tokens of the chosen one."""
        drawn = self.studio.draw(name, form.request())
        chosen = min(chosen, len(drawn.images) - 1)
        return gallery(drawn, group, self._how(drawn), "Image", chosen), _of(drawn, chosen)

    @_or_why
    def redrawn(self, name: str, form: Form, chosen: int, redraw: Redraw) -> tuple[str, str]:
        """The chosen image's first tokens with others behind them, and the tokens of one redraw."""
        before = self.studio.draw(name, form.request())
        chosen = min(chosen, len(before.images) - 1)
        return self._again(before, chosen, f"Image {chosen + 1}", form, redraw)

    @_line_or_why
    def swapped(self, name: str, form: Form, one: int, other: float | None) -> str:
        """The chosen image and another, which is counted from 1, with each other's prologue."""
        before = self.studio.draw(name, form.request())
        one = min(one, len(before.images) - 1)
        second = int(_number(other, "the image to swap with")) - 1
        after = self.studio.swap(before, one, second)
        return swapped(before, after, one, second)

    @_line_or_why
    def own(self, name: str, path: str | None, inverted: bool) -> str:
        """The user's picture as a run's tokenizer keeps it."""
        decoded = self._own(name, path, inverted)
        title = f"{name}: your picture, decoded from its tokens"
        return tokens_over(decoded, 0, title)

    @_line_or_why
    def own_as_given(self, name: str, path: str | None, inverted: bool) -> str:
        """The user's picture as the models are given it."""
        image = read_picture(_chosen(path), self.studio.images_of(name), inverted)[0]
        given = picture(image, "Your picture, as the models are given it")
        size = f"{image.shape[2]} x {image.shape[1]} pixels"
        return f'<div class="own">{given}<p>As the models are given it: {size}.</p></div>'

    @_or_why
    def own_redrawn(
        self, name: str, path: str | None, inverted: bool, form: Form, redraw: Redraw
    ) -> tuple[str, str]:
        """As `redrawn`, of the user's picture."""
        return self._again(self._own(name, path, inverted), 0, "Your picture", form, redraw)

    def kept(self, name: str) -> tuple[int, int]:
        """How many first tokens are kept by default, and how many can be; 0 where none is there."""
        try:
            return self.studio.kept(name)
        except PrologueBenchError:  # said in the place of its images
            return 0, 0

    def _own(self, name: str, path: str | None, inverted: bool) -> Drawn:
        found = read_picture(_chosen(path), self.studio.images_of(name), inverted)
        return self.studio.encode(name, found)

    def _again(
        self, before: Drawn, chosen: int, what: str, form: Form, redraw: Redraw
    ) -> tuple[str, str]:
        kept, index = int(redraw.kept), redraw.index
        request = evolve(form.request(), count=REDRAWN)
        after = self.studio.redraw(before, chosen, kept, redraw.round_, request)
        about = f"{what} with {kept_words(before.layout, kept)} kept"
        if before.labels is None and after.classes:
            about += (
                f", drawn for {form.label}" if form.label != ALL_CLASSES else ", class by class"
            )
        title = f"{before.name}: redraw {index + 1} of {what[0].lower()}{what[1:]}"
        return (
            gallery(after, redraw.group, about, "Redraw", index),
            tokens_over(after, index, title, before.ids[chosen]),
        )

    def _how(self, drawn: Drawn) -> str:
        """How the images were drawn."""
        how = sampling_words(drawn.sampling, drawn.layout)
        if drawn.request.by_hand and self.studio.draws_its_own_way(drawn.name):
            how += "; this generator draws in its own way and may leave them unread"
        return how


def _of(drawn: Drawn, index: int) -> str:
    label = drawn.class_of(index)
    return tokens_over(
        drawn, index, f"{drawn.name}: image {index + 1}{f', {label}' if label else ''}"
    )


def _chosen(path: str | None) -> Path:
    if path is None:
        raise UserError("no picture is chosen yet")
    return Path(path)
