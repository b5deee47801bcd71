"""prologue-bench: a benchmark for image tokenizers and autoregressive generators built on them.

In Python, `evaluate` measures a tokenizer, `measure` images, and `run` runs an ablation. Nothing is
imported until it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prologue_bench.measuring.evaluate import evaluate as evaluate
    from prologue_bench.measuring.measure import measure as measure
    from prologue_bench.results.loading import load_results as load_results
    from prologue_bench.runs.running import run as run

INTERFACE = {
    "evaluate": "measuring",
    "load_results": "results.loading",
    "measure": "measuring",
    "run": "runs.running",
}
"""The functions, and the parts of the package that they are in."""


def __getattr__(name: str) -> Any:
    """The functions, and `__version__`, which is that of the installed package."""
    if name in INTERFACE:
        from importlib import import_module

        return getattr(import_module(f"prologue_bench.{INTERFACE[name]}"), name)
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("prologue-bench")
    except PackageNotFoundError:  # a checkout on the path that nobody installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*globals(), *INTERFACE, "__version__"])
