"""Images and their tokens as HTML: galleries to choose from, and tokens over their patches."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.segments import Segment
from prologue_bench.errors import abridged
from prologue_bench.pipeline.pictures import to_png
from prologue_bench.runs.demo.studio import Drawn
from prologue_bench.runs.demo.words import counted

CELL = 40
"""Edge of a patch in the drawing's own units."""
LARGEST_TEXT = 12
"""Height of an id over its patch, in the same units."""
MOST_COLUMNS = 32
"""Of a grid, beyond which ids could not be read."""
MOST_LINES = 4
"""Ids over one patch, of as many codebooks."""
MOST_CHIPS = 64
"""Tokens of a segment that are shown beside the image."""
COARSE = 16
"""Positions of a coarser grid up to which its tokens are shown there too."""
SHOWN, PATCH = 380, 38
"""Least widths in pixels, where there is room, of the drawing and of a patch in it."""
SMOOTH_FROM = 64
"""Height in pixels from which images are enlarged smoothly, not as squares."""


def message(text: str) -> str:
    """One line in the place of images."""
    return f'<p class="message">{escape(text)}</p>'


def gallery(drawn: Drawn, group: str, about: str, noun: str, chosen: int = 0) -> str:
    """Images of which one is chosen, by a click or the arrow keys.

    They are the radio buttons of one `group`; each is called by the noun and its number. The legend
    is the run's name, and what is said about the images.
    """
    classes = [drawn.class_of(index) for index in range(len(drawn.images))]
    # Of one class, each image would repeat the name.
    names = classes if len(set(classes)) > 1 else [""] * len(classes)
    items = "".join(
        f'<label><input type="radio" name="{group}" value="{index}"'
        f"{' checked' if index == chosen else ''}>{picture(image)}"
        f'<span class="unseen">{noun} </span><span class="number">{index + 1}</span>'
        f'<span class="class">{escape(abridged(name, 40))}</span></label>'
        for index, (image, name) in enumerate(zip(drawn.images, names, strict=True))
    )
    legend = f'<span class="run">{escape(drawn.name)}</span> {escape(about)}'
    return (
        f'<fieldset class="gallery"><legend>{legend}</legend><div class="images">{items}</div>'
        "</fieldset>"
    )


def picture(image: NDArray[Any], alt: str = "") -> str:
    """An image [C, H, W]."""
    smooth = "" if image.shape[1] < SMOOTH_FROM else ' class="smooth"'
    height, width = image.shape[1:]
    return (
        f'<img{smooth} src="{_address(image)}" alt="{escape(alt)}" width="{width}" '
        f'height="{height}">'
    )


def tokens_over(drawn: Drawn, index: int, title: str, before: Tensor | None = None) -> str:
    """An image with its tokens: ids over the patches that they stand for, others beside it.

    Of an image that was made of another, with ids `before` [L], those that differ are marked.
    """
    parts = _parts(drawn.layout, drawn.ids[index], before)
    patches = _finest(drawn.layout)
    beside = "".join(
        _chips(segment, ids, marks) for segment, ids, marks in parts if segment is not patches
    )
    over = next(
        (_over(drawn.images[index], *part, title) for part in parts if part[0] is patches), None
    )
    if over is None:
        over = picture(drawn.images[index], title)
        beside += '<p class="note">No token stands for one patch.</p>'
    tables = "".join(_table(*part) for part in parts)
    return (
        f'<figure class="tokens"><figcaption>{escape(title)}</figcaption>{beside}{over}'
        f'<details><summary>Tokens in a table</summary><div class="scroll" tabindex="0" '
        f'role="group" aria-label="{escape(title)}: table">{tables}</div></details></figure>'
    )


def swapped(before: Drawn, after: Drawn, one: int, other: int) -> str:
    """Two images, and the same two with each other's prologue, as a table."""
    numbers = (one, other)
    heads = "".join(f'<th scope="col">{_called(before, number)}</th>' for number in numbers)
    rows = [
        (
            "Own prologue",
            [picture(before.images[n], f"Image {n + 1}, own prologue") for n in numbers],
        ),
        ("The other's prologue", [_swapped(before, after, n, i) for i, n in enumerate(numbers)]),
    ]
    body = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    return (
        f'<table class="swapped"><caption>{escape(before.name)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table>"
    )


def _called(drawn: Drawn, index: int) -> str:
    name = drawn.class_of(index)
    return f"Image {index + 1}{f': {escape(abridged(name, 40))}' if name else ''}"


def _swapped(before: Drawn, after: Drawn, number: int, index: int) -> str:
    leading = before.layout.leading
    differ = int((before.ids[number, leading:] != after.ids[index, leading:]).sum())
    image = picture(after.images[index], f"Image {number + 1}, the other's prologue")
    behind = before.layout.length - leading
    return f"{image}<small>{differ} of {behind} tokens behind it differ</small>"


Part = tuple[Segment, list[int], list[bool]]
"""A segment, its ids, and which of them are marked."""


def _parts(layout: TokenLayout, ids: Tensor, before: Tensor | None) -> list[Part]:
    differ = (ids != ids if before is None else ids != before).tolist()
    return [
        (segment, ids[layout.span(segment.name)].tolist(), differ[layout.span(segment.name)])
        for segment in layout
    ]


def _finest(layout: TokenLayout) -> Segment | None:
    """The segment whose tokens stand for patches, the smallest ones where several do."""
    grids = [segment for segment in layout if segment.grid is not None and segment.positions > 1]
    return max(grids, key=lambda segment: segment.positions, default=None)


def _about(segment: Segment, marks: Sequence[bool]) -> str:
    """What a segment is, and how many of its tokens are marked."""
    changed = f", {sum(marks)} changed" if any(marks) else ""
    return (
        f"{escape(segment.name)}: {counted(segment.length, 'token')} of "
        f"{segment.vocabulary:,} codes{changed}"
    )


def _chips(segment: Segment, ids: Sequence[int], marks: Sequence[bool]) -> str:
    if segment.grid is not None and segment.positions > COARSE:
        return f'<p class="about">{_about(segment, marks)}; in the table</p>'
    chips = "".join(f"<li>{cell}</li>" for cell in _cells(ids[:MOST_CHIPS], marks[:MOST_CHIPS]))
    more = len(ids) - MOST_CHIPS
    rest = f"<li>and {more:,} more in the table</li>" if more > 0 else ""
    return f'<p class="about">{_about(segment, marks)}</p><ol class="chips">{chips}{rest}</ol>'


def _over(
    image: NDArray[Any], segment: Segment, ids: Sequence[int], marks: Sequence[bool], title: str
) -> str:
    """The image with a segment's ids over its patches."""
    rows, columns = segment.grid or (1, 1)
    # The patches of an image that is not square are not square either.
    width, height = columns * CELL, columns * CELL * image.shape[1] / image.shape[2]
    step = height / rows
    each = segment.codebooks
    drawn = []
    for place in range(segment.positions):
        x, y = place % columns * CELL, place // columns * step
        part = slice(place * each, (place + 1) * each)
        if any(marks[part]):
            drawn.append(
                f'<rect class="changed" x="{x + 1}" y="{y + 1:g}" width="{CELL - 2}" '
                f'height="{step - 2:g}"/>'
            )
        if columns <= MOST_COLUMNS:
            longest = len(str(segment.vocabulary - 1))
            drawn += _texts(ids[part], x + CELL / 2, y + step / 2, step, longest)
    lines = "".join(f"M{x * CELL} 0V{height:g}" for x in range(columns + 1))
    lines += "".join(f"M0 {y * step:g}H{width}" for y in range(rows + 1))
    smooth = "smooth" if image.shape[1] >= SMOOTH_FROM else "squares"
    about = _about(segment, marks)
    return (
        f'<p class="about">{about}; each over its patch</p>'
        f'<svg role="img" aria-label="{escape(title)}, {about}" viewBox="0 0 {width} {height:g}" '
        f'style="max-width: {max(SHOWN, PATCH * columns)}px">'
        f'<image class="{smooth}" href="{_address(image)}" width="{width}" height="{height:g}" '
        f'preserveAspectRatio="none"/><path d="{lines}"/>{"".join(drawn)}</svg>'
    )


def _texts(ids: Sequence[int], x: float, y: float, height: float, longest: int) -> Iterator[str]:
    """Ids under each other around a middle; of many, the first and a sign that there are more.

    No id has more digits than the `longest`.
    """
    lines = [str(each) for each in ids]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], "…"]
    size = min(LARGEST_TEXT, 1.5 * CELL / longest, 0.9 * height / len(lines))
    for number, line in enumerate(lines):
        middle = y + (number - (len(lines) - 1) / 2) * size
        yield f'<text x="{x:g}" y="{middle:.1f}" font-size="{size:.1f}">{line}</text>'


def _table(segment: Segment, ids: Sequence[int], marks: Sequence[bool]) -> str:
    columns = segment.grid[1] * segment.codebooks if segment.grid else min(segment.length, 16)
    cells = [f"<td>{cell}</td>" for cell in _cells(ids, marks)]
    rows = "".join(
        f"<tr>{''.join(cells[i : i + columns])}</tr>" for i in range(0, len(cells), columns)
    )
    return f"<table><caption>{_about(segment, marks)}</caption><tbody>{rows}</tbody></table>"


def _cells(ids: Sequence[int], marks: Sequence[bool]) -> list[str]:
    return [
        f"<mark>{each}</mark>" if marked else str(each)
        for each, marked in zip(ids, marks, strict=True)
    ]


def _address(image: NDArray[Any]) -> str:
    """The image [C, H, W] itself, as an address."""
    png = to_png(image.transpose(1, 2, 0)[..., : 3 if image.shape[0] >= 3 else 1])
    return "data:image/png;base64," + base64.b64encode(png).decode()
