"""Weights on disk: safetensors alone.

Those that someone else may have written are taken where every name, shape and type fits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from prologue_bench.errors import UserError, shortened
from prologue_bench.storage.files import checksum, follow_umask
from prologue_bench.storage.giving import giving_weights

M = TypeVar("M", bound=nn.Module)
Shapes = dict[str, tuple[int, ...]]
"""Shapes of tensors by name."""
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
UNREADABLE = (
    SafetensorError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    MemoryError,
)
"""What a damaged file can end in."""
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""As safetensors calls them."""


@frozen
class Header:
    """Shape and type of one tensor."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights; a tensor that has several names, as tied embeddings, is there once.

    The file's metadata leads from each further name to the one that it is written under, as that of
    safetensors' `save_model` does, which would refuse views of larger tensors.
    """
    first: dict[int, str] = {}
    tensors, further = {}, {}
    for name, value in module.state_dict(keep_vars=True).items():
        if (kept := first.setdefault(id(value), name)) != name:
            further[name] = kept
        else:
            tensors[name] = value.detach().cpu().clone().contiguous()
    save_file(tensors, path, metadata=further or None)
    follow_umask(path)


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `save_weights` wrote, each under all of its names."""
    tensors = load_file(path)
    return {**tensors, **{name: tensors[kept] for name, kept in _further_names(path).items()}}


def load_weights(module: M, path: Path, device: torch.device | str = "cpu") -> M:
    """The module with the weights of a file that `save_weights` wrote, in evaluation mode."""
    module.load_state_dict(load_state(path))
    return module.to(device).eval()


def _further_names(path: Path) -> dict[str, str]:
    """Names of tensors that are in a file under another name, by that name."""
    with safe_open(path, framework="pt") as file:
        names, metadata = set(file.keys()), file.metadata() or {}
    return {name: kept for name, kept in metadata.items() if kept in names and name not in names}


def read_headers(path: Path, follow: bool = True) -> dict[str, Header]:
    """Shape and type of each tensor of a file. Raises UserError when it is no safetensors file.

    A link to a file is followed unless `follow` is false: a hub's cache is made of such links.
    """
    _refuse_others(path, follow)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: Header(tuple(each.get_shape()), each.get_dtype())
                for name, each in slices.items()
            }
    except UNREADABLE as error:
        raise _damaged(path, error) from None


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, from its header.

    Raises UserError when it is no safetensors file.
    """
    return {name: header.shape for name, header in read_headers(path).items()}


def read_tensors(path: Path, follow: bool = True) -> dict[str, Tensor]:
    """All tensors of a file. Raises UserError when it is no safetensors file."""
    _refuse_others(path, follow)
    try:
        return load_file(path)
    except UNREADABLE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"{path}: truncated or damaged: {shortened(str(error) or type(error).__name__, 120)}"
    )


def _refuse_others(path: Path, follow: bool) -> None:
    try:
        status = os.stat(path, follow_symlinks=follow)
    except (OSError, ValueError):
        raise UserError(f"{path}: no such file") from None
    if stat.S_ISLNK(status.st_mode):
        raise UserError(f"{path}: a link, which is not followed; put the file itself in its place")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a file; expected a safetensors file")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file starts with the header's length in 8 bytes, any of them possible, then the
    # header's JSON.
    if start[8:] == b"{":
        return
    if start[:2] == b"PK" or start[:1] == b"\x80":
        raise UserError(
            f"{path}: a pickle, which could run code, is never loaded; expected a safetensors file"
        )
    raise UserError(f"{path}: found no safetensors header, expected a safetensors file")


def built_for(
    weights: Path, what: str, build: Callable[[], M], digest: str | None = None, follow: bool = True
) -> M:
    """The module that `build` makes, with the weights of a file, in evaluation mode.

    It is first made without memory, and held against the file's names, shapes and types: settings
    that someone else wrote may ask for a model of any size. Raises UserError where the two do not
    fit, where the file is not that of the SHA-256 `digest`, and where it holds a number that is not
    finite.
    """
    headers = read_headers(weights, follow)
    further = _further_names(weights)
    headers |= {name: headers[kept] for name, kept in further.items()}
    if digest is not None and (found := checksum(weights)) != digest:
        raise UserError(
            f"{weights}: changed since it was written: its checksum is {found[:12]}, "
            f"expected {digest[:12]}"
        )
    with at_most(4 * len(headers) + 1000, what), giving_weights():
        try:
            with torch.device("meta"):
                check_fit(build(), headers, weights)
        except UserError:
            raise
        except Exception:  # such as one that loads weights in its constructor
            check_fit(made(what, build), headers, weights)
        module = made(what, build)
    tensors = read_tensors(weights, follow)
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f"{weights}: {shortened(name, 80)} holds NaN or infinity, expected finite numbers"
            )
    module.load_state_dict({**tensors, **{name: tensors[kept] for name, kept in further.items()}})
    return module.eval()


def check_fit(module: nn.Module, headers: Mapping[str, Header], weights: Path) -> None:
    """Raises UserError with the first tensor missing, left over, or of another shape or type."""
    expected = {
        name: Header(tuple(each.shape), DTYPES.get(each.dtype, "?"))
        for name, each in module.state_dict().items()
    }
    for name in expected.keys() - headers.keys():
        raise UserError(f"{weights}: does not fit the settings: {shortened(name, 80)} is missing")
    for name in headers.keys() - expected.keys():
        raise UserError(
            f"{weights}: does not fit the settings: {shortened(name, 80)} has no place in the model"
        )
    for name, header in headers.items():
        if header != expected[name]:
            raise UserError(
                f"{weights}: does not fit the settings: {shortened(name, 80)} is {header}, "
                f"expected {expected[name]}"
            )


def check_shapes(expected: Shapes, found: Shapes, where: str) -> None:
    """Raises UserError that says what is missing, left over or of another shape."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    wrong = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    problems = []
    if missing:
        problems.append(f"missing {_some(missing)}")
    if extra:
        problems.append(f"left over {_some(extra)}")
    if wrong:
        name = wrong[0]  # one of those expected, so it is short
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        problems.append(
            f"{name} has shape {list(found[name])}, expected {list(expected[name])}{more}"
        )
    if problems:
        raise UserError(f"{where}: does not fit: {'; '.join(problems)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shortened, names[:3])) + more


def made(what: str, build: Callable[[], M]) -> M:
    """What `build` makes. Raises UserError, in one line, where it cannot."""
    try:
        return build()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{what} cannot be made: {type(error).__name__}: {shortened(str(error), 160)}"
        ) from error


class TooLargeError(UserError):
    """A model with more parts than its weights."""


@contextmanager
def at_most(tensors: int, what: str) -> Iterator[None]:
    """Modules that are made inside may not have more weights than that.

    An endless number of layers ends here.
    """
    left = [tensors]

    def count(module: nn.Module, name: str, value: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise TooLargeError(f"{what}: the settings ask for more weights than the file holds")

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
