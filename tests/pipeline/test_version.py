"""The version is that of the installed package, which tags give when it is built."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import prologue_bench
from prologue_bench import __version__


def test_the_version_is_that_of_the_installed_package() -> None:
    assert __version__ == version("prologue-bench")


def test_a_checkout_that_nobody_installed_has_a_version_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", not_installed)
    assert prologue_bench.__version__ == "0+unknown"


def test_the_package_alone_imports_next_to_nothing() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import sys, prologue_bench; print('email' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False"


def test_other_names_are_missing_as_in_any_module() -> None:
    assert not hasattr(prologue_bench, "nonsense")
