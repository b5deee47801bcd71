"""prologue-bench: a benchmark for image tokenizers and autoregressive generators built on them."""


def __getattr__(name: str) -> str:
    """`__version__`, which is that of the installed package and takes a moment to look up."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("prologue-bench")
    except PackageNotFoundError:  # a checkout on the path that nobody installed
        return "0+unknown"
