"""What was measured of images: records with their protocols, as a table, JSON or a data frame."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from prologue_bench.errors import UserError, nearest
from prologue_bench.results.caveats import caveats
from prologue_bench.results.plain import plain
from prologue_bench.results.protocols import protocol_hash
from prologue_bench.results.schema import MeasurementRecord, ProtocolRecord
from prologue_bench.storage.files import user_path, write_text
from prologue_bench.texts.numbers import number, short

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("metric", "value", "95% interval", "images", "protocol")


@frozen(kw_only=True)
class ImageMeasurements:
    """Numbers of images against a reference, each with its protocol.

    `result["gfid"]` is one number; a notebook shows all of them as a table.
    """

    images: str
    reference: str
    records: tuple[MeasurementRecord, ...]
    notes: tuple[str, ...] = ()
    """How images were paired, cropped and chosen, and what was left out."""

    def __getitem__(self, name: str) -> float:
        """The value of that name. Raises KeyError with the nearest names."""
        for each in self.records:
            if each.name == name and each.value is not None:
                return each.value
        raise KeyError(f"no number {name!r}; {nearest(name, (each.name for each in self.records))}")

    def frame(self) -> pd.DataFrame:
        """One row per number."""
        import pandas as pd

        names = ("name", "title", "value", "half_width", "unit", "direction", "count")
        rows = [
            [*(getattr(each, name) for name in names), protocol_hash(each.protocol)]
            for each in self.records
        ]
        return pd.DataFrame(rows, columns=[*names, "protocol"])

    def save(self, path: str | Path) -> Path:
        """Write what `as_json` gives, and so each number with its protocol. Returns the path.

        Raises UserError where it cannot be written.
        """
        place = user_path(path, "path")
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
        try:
            write_text(place, text + "\n")
        except OSError as error:
            raise UserError(f"{place}: cannot be written: {error.strerror}") from None
        return place

    def __str__(self) -> str:
        """A small table, as wide as its cells need, with the notes below."""
        rows = [COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if index in (0, 4) else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([f"{self.images} against {self.reference}", *lines, *self.sentences()])

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `--json` prints them."""
        return {
            "images": self.images,
            "reference": self.reference,
            "measurements": [
                {**plain(each), "protocol_hash": protocol_hash(each.protocol)}
                for each in self.records
            ],
            "notes": list(self.sentences()),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of a table of `COLUMNS`."""
        return [
            (
                f"{each.title}{f' ({each.unit})' if each.unit else ''}",
                "" if each.value is None else number(each.value),
                "" if each.half_width is None else f"± {short(each.half_width)}",
                f"{each.count:,}",
                protocol_hash(each.protocol),
            )
            for each in self.records
        ]

    def sentences(self) -> tuple[str, ...]:
        """The notes, and in what numbers differ from published ones."""
        return tuple(dict.fromkeys((*self.notes, *caveats(self.records))))

    def protocols(self) -> dict[str, str]:
        """Each protocol in words, by its hash."""
        return {protocol_hash(each.protocol): _words(each.protocol) for each in self.records}

    def _repr_html_(self) -> str:
        """A table for notebooks, with its notes and protocols below."""

        def row(cells: tuple[str, ...], tag: str) -> str:
            return f"<tr>{''.join(f'<{tag}>{escape(each)}</{tag}>' for each in cells)}</tr>"

        below = [*self.sentences(), *(f"{key}: {text}" for key, text in self.protocols().items())]
        return (
            f"<table><caption>{escape(self.images)} against {escape(self.reference)}</caption>"
            f"<thead>{row(COLUMNS, 'th')}</thead>"
            f"<tbody>{''.join(row(each, 'td') for each in self.rows())}</tbody></table>"
            f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in below)}</ul>"
        )


def _words(protocol: ProtocolRecord) -> str:
    details = (
        f"{key} {'none' if value is None else value}" for key, value in protocol.details.items()
    )
    return ", ".join([protocol.name, *details])
