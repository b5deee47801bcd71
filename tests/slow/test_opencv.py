"""mmengine trains where OpenCV cannot be imported, as without the system's libGL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="the loader of Linux looks where LD_LIBRARY_PATH says")

TRAINS = """
import sys
before = list(sys.path)
from prologue_bench.training.engine import Runner
import prologue_bench.training.runner
from mmengine.utils.dl_utils.setup_env import set_multi_processing
set_multi_processing()  # as each Runner does
assert [path for path in sys.path if path not in before] == [], sys.path
import cv2, importlib.util
importlib.util.find_spec("cv2")
assert not hasattr(cv2, "__file__")
cv2.imread
"""


@pytest.fixture
def without_libgl(tmp_path: Path) -> dict[str, str]:
    """An environment in which the first libGL that is found is none."""
    (tmp_path / "libGL.so.1").touch()
    return {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )


@pytest.fixture(autouse=True)
def _opencv_needs_libgl(without_libgl: dict[str, str]) -> None:
    if not python(without_libgl, "-c", "import cv2").returncode:
        pytest.skip("OpenCV without a screen, or not on Linux")


def test_the_engine_is_imported_and_who_would_draw_learns_what_is_missing(
    without_libgl: dict[str, str],
) -> None:
    found = python(without_libgl, "-c", TRAINS)
    *_, line = found.stderr.splitlines()
    assert line.startswith("AttributeError: cv2.imread: OpenCV cannot be imported: "), found.stderr
    assert "libGL.so.1" in line
    assert line.endswith("pip install opencv-python-headless needs no libraries of the system")
    assert found.stdout == ""


def test_doctor_finds_nothing_broken(without_libgl: dict[str, str], tmp_path: Path) -> None:
    found = python(without_libgl, "-m", "prologue_bench", "doctor", "--store", str(tmp_path / "s"))
    assert found.returncode == 0, found.stderr
    assert "broken" not in found.stdout
