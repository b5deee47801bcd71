"""Reading safetensors files, and nothing else: a pickle is refused before anything of it is loaded."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from prologue_bench.errors import UserError

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, from its header. Raises UserError when it is no safetensors file."""
    _refuse_others(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or damaged: {str(error).splitlines()[0]}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file. Raises UserError when it is no safetensors file."""
    _refuse_others(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or damaged: {str(error).splitlines()[0]}") from None


def _refuse_others(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file starts with the header's length in 8 bytes, any of them possible, then the header's JSON.
    if start[8:] == b"{" and path.suffix not in PICKLES:
        return
    if start[:2] == b"PK" or start[:1] == b"\x80" or path.suffix in PICKLES:
        raise UserError(f"{path}: a pickle, which could run code, is never loaded; expected a safetensors file")
    raise UserError(f"{path}: found no safetensors header, expected a safetensors file")
