"""OpenCV, which mmengine imports to draw pictures, and which nothing here uses.

Its wheel needs the system's libGL, which machines without a screen seldom have.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

NAME = "cv2"


class _Absent(ModuleType):
    """Stands for OpenCV, and says why it is not there to whoever would draw after all."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(NAME)
        self.__spec__ = ModuleSpec(NAME, None)
        self._reason = reason
        self.setNumThreads = lambda count: None  # all that a training calls

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"{NAME}.{name}: OpenCV cannot be imported: {self._reason}; "
            "pip install opencv-python-headless needs no libraries of the system"
        )


def import_opencv_or_none() -> None:
    """Import OpenCV, or put an empty module in its place where it cannot be imported."""
    path = sys.path.copy()
    try:
        importlib.import_module(NAME)
    except Exception as error:
        sys.path[:] = path  # it leaves its folder there, whose modules have names of others
        sys.modules[NAME] = _Absent(error)
