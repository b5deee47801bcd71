"""Flags of `os.open` that Windows lacks: 0 there, where they count for nothing."""

from __future__ import annotations

import os

CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""A pipe that nobody writes to would never open."""
