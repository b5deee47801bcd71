"""The ablations that are installed, found by their names."""

from __future__ import annotations

from pathlib import Path

from prologue_bench.documents.reading import read_document
from prologue_bench.errors import UserError, nearest
from prologue_bench.registry import ABLATIONS, Registry, built_in_ablations
from prologue_bench.storage.files import user_path
from prologue_bench.texts.lines import one_line

SUFFIXES = (".yaml", ".yml")


def ablation_files(registry: Registry) -> dict[str, Path]:
    """The files by name, such as "prologue_count" or "paper/2d"; those that ship here come first.

    Plugins bring theirs in the folder ablations/ of their cards.
    """
    found: dict[str, Path] = {}
    for root in (built_in_ablations(), *(folder / ABLATIONS for folder in registry.card_folders)):
        for path in sorted(root.rglob("*.yaml")):
            found.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)
    return found


def find_ablation(given: str | Path, registry: Registry) -> Path:
    """The file of that path, or the installed one of that name.

    A file that is there comes first. Raises UserError, with the nearest names, where `given` is no
    path of a YAML file and there is no ablation of the name.
    """
    path = user_path(given, "ablation")
    if path.suffix in SUFFIXES or path.is_file():
        return path  # whoever reads it says if it is missing
    known = ablation_files(registry)
    name = path.as_posix()
    if name not in known:
        raise UserError(
            f"{given}: found neither a file nor an installed ablation of that name; "
            f"{nearest(name, known)}"
        )
    return known[name]


def title_of(path: Path) -> str:
    """What an ablation's file says that it asks. Raises UserError for what cannot be read."""
    values = read_document(path, str(path)).values
    return one_line(str(values.get("title") or values.get("name") or path.stem))
