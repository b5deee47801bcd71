"""prologue-bench: a benchmark for image tokenizers and autoregressive generators built on them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prologue_bench.measuring import measure as measure


def __getattr__(name: str) -> Any:
    """`measure`, and `__version__`, which is that of the installed package; both take a moment."""
    if name == "measure":
        from prologue_bench.measuring import measure

        return measure
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("prologue-bench")
    except PackageNotFoundError:  # a checkout on the path that nobody installed
        return "0+unknown"
