"""How much memory is free, and the most that a stage had."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CGROUP_FILES = {
    "memory.max": ("memory.current", "inactive_file"),
    "memory.limit_in_bytes": ("memory.usage_in_bytes", "total_inactive_file"),
}
"""A group's limit, with its use and what of that the system would give up, in both versions of
Linux's control groups."""


def available_memory() -> int:
    """Bytes that processes can still take, by the system's count and any limit set on this one."""
    try:
        text = Path("/proc/meminfo").read_text()
        free = 1024 * int(re.findall(r"MemAvailable: +(\d+)", text)[0])
    except (OSError, IndexError):  # no Linux
        if sys.platform == "win32":
            return _windows_memory()
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return min([free, *_left_in_groups()])


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def _windows_memory() -> int:
    """What Windows can still give, in bytes."""
    windll: Any = vars(ctypes)["windll"]
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available)


def resident_memory(process: int) -> int:
    """Bytes that a process holds now; 0 where that cannot be told."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _left_in_groups() -> list[int]:
    """What each control group around this process leaves, of those that have a limit."""
    left = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root = Path("/sys/fs/cgroup", "memory" if controllers else "")
            group = root / name.lstrip("/")
            for folder in (group, *group.parents):
                if root in (folder, *folder.parents):
                    left += _left_in(folder)
    return left


def _left_in(folder: Path) -> list[int]:
    """What one group leaves; empty where it has no limit."""
    for limit, (used, given_up) in CGROUP_FILES.items():
        with contextlib.suppress(OSError, ValueError):
            most = int((folder / limit).read_text())
            held = int((folder / used).read_text())
            cache = re.findall(rf"^{given_up} (\d+)$", (folder / "memory.stat").read_text(), re.M)
            return [max(0, most - held + sum(map(int, cache)))]
    return []


class PeakMemory:
    """The most memory that this process has held since it was asked to watch.

    The system keeps that as the most since the process began, and forgets it on request. Where it
    does not, as outside of Linux, it is the most since the process began. Processes that read
    images for a training are not counted.
    """

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def bytes(self) -> int | None:
        """In the machine's memory, code of libraries and mapped files included; None on Windows."""
        with contextlib.suppress(OSError, IndexError):
            found = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
            return 1024 * int(found[0])
        if resource is None:
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def gpu_bytes(self) -> int | None:
        """In tensors on the GPU; None without one."""
        return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None
